"""``dlr schema``: the message, for programs."""

from worker.cli.output import print_json
from worker.contract import job_schema


def schema() -> None:
    """Print the JSON Schema of a job (contract version 1)."""
    print_json(job_schema())
