"""``dlr redis``: the embedded Redis's URL, for programs that push jobs."""

from enum import StrEnum
from typing import Annotated

import typer

from worker.settings import get_settings

app = typer.Typer(no_args_is_help=True)


class Role(StrEnum):
    """Whose URL is wanted."""

    SENDER = "sender"
    WORKER = "worker"


@app.callback()
def redis() -> None:
    """Print the embedded Redis's URL."""


@app.command()
def url(role: Annotated[Role, typer.Option(help="sender can push jobs but cannot read them")] = Role.SENDER) -> None:
    """Print the embedded Redis's URL, including the password, for a program that pushes jobs."""
    from worker.services.home import redis_url_of

    typer.echo(redis_url_of(get_settings(), role.value))
