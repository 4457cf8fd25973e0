"""``dlr redis``: where Redis is, for who pushes jobs."""

from enum import StrEnum
from typing import Annotated

import typer

from worker.settings import get_settings

app = typer.Typer(no_args_is_help=True)


class Role(StrEnum):
    """Whose address is wanted."""

    SENDER = "sender"
    WORKER = "worker"


@app.callback()
def redis() -> None:
    """Where Redis is."""


@app.command()
def url(role: Annotated[Role, typer.Option(help="sender pushes jobs, and can not read them")] = Role.SENDER) -> None:
    """Print the address of the embedded Redis, password included, for a program that pushes jobs."""
    from worker.services.home import redis_url_of

    typer.echo(redis_url_of(get_settings(), role.value))
