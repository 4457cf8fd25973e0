"""``dlr db``: the database's schema and URLs."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.output import Format, FormatOption, Report, print_json, print_rows, say, stderr
from worker.cli.progress import counting_bar
from worker.settings import get_settings

if TYPE_CHECKING:
    from db.upgrade_plan import Plan

app = typer.Typer(no_args_is_help=True)


class Role(StrEnum):
    """Whose URL is wanted."""

    READER = "reader"
    WRITER = "writer"
    OWNER = "owner"


@app.command()
def upgrade(
    plan: Annotated[bool, typer.Option("--plan", help="say what would be done, and change nothing")] = False,
    fmt: Annotated[Report | None, typer.Option("--format", "-f", help="of --plan: table, or json")] = None,
) -> None:
    """Upgrade the schema to this version. Several machines may run it at once.

    Each migration is a transaction, and tried again where others hold what it has to lock. With --plan, exit status 0:
    it may be done now, or there is nothing to do. 3: programs of an earlier version are connected, and have to be
    stopped first.
    """
    if plan:
        _tell_the_plan(fmt or Report.TABLE)
        return
    if fmt is not None:
        raise typer.BadParameter("--format is of --plan")
    from db.migrate import upgrade as migrate

    url = get_settings().require_owner_url()
    migrate(url, say=say)
    _complete_places(url)
    stderr.print("the schema is up to date")


def _tell_the_plan(fmt: Report) -> None:
    from db.schema.impact import REVISION
    from db.upgrade_plan import plan

    found = plan(get_settings().require_owner_url())
    steps = [
        {
            "revision": step.revision,
            "kind": step.impact.kind.value,
            "locks": list(step.impact.locks),
            "workers_go_on": step.impact.workers_go_on,
            "does": step.does,
            "grows_with": step.impact.grows_with or None,
        }
        for step in found.steps
    ]
    connected = [{"schema": one.revision, "connections": one.connections} for one in found.connected]
    if fmt is Report.JSON:
        print_json(
            {
                "current": found.current,
                "expected": REVISION,
                "steps": steps,
                "connected": connected,
                "workers_go_on": found.workers_go_on,
                "may_be_done_now": found.may_be_done_now,
            }
        )
    else:
        rows = [
            line
            | {"locks": ", ".join(step.impact.locks), "workers_go_on": "yes" if step.impact.workers_go_on else "no"}
            for line, step in zip(steps, found.steps, strict=True)
        ]
        print_rows(rows, list(steps[0]) if steps else [], Format.TABLE, title=f"from {found.current} to {REVISION}")
        print_rows(connected, ["schema", "connections"], Format.TABLE, title="programs connected now")
        say(_advice(found))
    raise typer.Exit(0 if found.may_be_done_now else 3)


def _advice(found: "Plan") -> str:
    if not found.steps:
        return "the schema is up to date"
    if found.workers_go_on:
        return "`dlr db upgrade` may be run now; workers of the version before go on"
    if found.may_be_done_now:
        return "`dlr db upgrade` may be run now; no program of an earlier version is connected. Start none meanwhile"
    return (
        f"programs of an earlier version are connected ({found.earlier} of the connections), and cannot work on the "
        "new schema: stop workers, receivers, senders and pages first. What arrives meanwhile waits in Redis"
    )


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
