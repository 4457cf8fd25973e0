"""``dlr db``: the schema, and where the database is."""

from enum import StrEnum
from typing import Annotated

import typer

from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.settings import get_settings

app = typer.Typer(no_args_is_help=True)


class Role(StrEnum):
    """Whose address is wanted."""

    READER = "reader"
    WRITER = "writer"
    OWNER = "owner"


@app.command()
def upgrade() -> None:
    """Bring the schema to this version. Safe to run from several machines at once."""
    from db.migrate import upgrade as migrate

    migrate(get_settings().require_owner_url())
    stderr.print("the schema is up to date")


@app.command()
def check(fmt: FormatOption = Format.TABLE) -> None:
    """Say whether the schema is this version's; exit status 1 when it is not."""
    from db.migrate import check as differences

    found = differences(get_settings().require_owner_url())
    print_rows([{"difference": item} for item in found], ["difference"], fmt, title="schema differences")
    raise typer.Exit(1 if found else 0)


@app.command()
def url(role: Annotated[Role, typer.Option(help="reader sees the views alone")] = Role.READER) -> None:
    """Print the database's address, password included, for psql and other programs.

    Of the embedded database it knows all; of one of your own, those that the settings name.
    """
    from worker.services.home import database_url_of

    typer.echo(database_url_of(get_settings(), role.value))
