"""``dlr schema``: the message, for programs."""

from typing import Annotated

import typer

from worker.cli.output import print_json
from worker.contract import VERSIONS, job_schema, request_schema


def schema(
    version: Annotated[
        int, typer.Option("--version", min=min(VERSIONS), max=max(VERSIONS), help="Of the contract; both are read")
    ] = 1,
    request: Annotated[
        bool,
        typer.Option("--request", help="Of a job that leaves its study or its lesions to a server, in any version"),
    ] = False,
) -> None:
    """Print the JSON Schema of a job: contract version 1, or 2, in which a lesion has several images and its place."""
    print_json(request_schema() if request else job_schema(version))
