"""``dlr db``: the database's schema and URLs."""

from enum import StrEnum
from typing import Annotated

import typer

from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.cli.progress import counting_bar
from worker.settings import get_settings

app = typer.Typer(no_args_is_help=True)


class Role(StrEnum):
    """Whose URL is wanted."""

    READER = "reader"
    WRITER = "writer"
    OWNER = "owner"


@app.command()
def upgrade() -> None:
    """Upgrade the schema to this version. Several machines may run it at once."""
    from db.migrate import upgrade as migrate

    url = get_settings().require_owner_url()
    migrate(url)
    _complete_places(url)
    stderr.print("the schema is up to date")


def _complete_places(url: str) -> None:
    """Place the studies that were on record before the reading order was a policy: once, minutes for millions."""
    from db.schema.roles import OWNER
    from db.session import make_engine, session_factory
    from worker.scoring.reading_policy import complete_places

    with counting_bar("places on the worklist", None) as advance:
        complete_places(session_factory(make_engine(url, role=OWNER)), advance)


@app.command()
def check(fmt: FormatOption = Format.TABLE) -> None:
    """Check that the schema is this version's. Exit status 1: it is not."""
    from db.migrate import check as differences

    found = differences(get_settings().require_owner_url())
    print_rows([{"difference": item} for item in found], ["difference"], fmt, title="schema differences")
    raise typer.Exit(1 if found else 0)


@app.command()
def url(role: Annotated[Role, typer.Option(help="reader sees only the views")] = Role.READER) -> None:
    """Print the database's URL, including the password, for psql and other programs.

    For the embedded database, every role's; for your own, those that the settings name.
    """
    from worker.services.home import database_url_of

    typer.echo(database_url_of(get_settings(), role.value))
