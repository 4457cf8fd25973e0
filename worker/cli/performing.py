"""``dlr perform``: work items of a UPS manager, performed."""

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.incoming import ready
from worker.cli.output import Card, Format, FormatOption, print_rows, say
from worker.settings import Settings, get_settings

if TYPE_CHECKING:
    from worker.performing.claims import Claims

app = typer.Typer()

COLUMNS = ("claim", "work_item", "state", "claimed_at", "study", "error_code", "error_reason")
CARD = Card(("claim", "state"), ("work_item", "claimed_at", "study", "error_code", "error_reason"))


@app.callback(invoke_without_command=True)
def perform(context: typer.Context) -> None:
    """Perform work items of the UPS manager DLR_PERFORM_MANAGER (UPS Pull), until SIGTERM or Ctrl-C.

    Items that are scheduled and ready, and ours by DLR_PERFORM_STATIONS, DLR_PERFORM_STATION_CLASSES and
    DLR_PERFORM_WORKITEMS, are claimed. Each one's study is fetched from DLR_PERFORM_SERVER, with its report, and
    queued. The item is completed with its result, or canceled with the reason, which is in `dlr failed list` too. What
    is held when this ends is gone on with at the next start.
    """
    if context.invoked_subcommand is not None:
        return
    from worker.outages.retry import Stopping, retry_while_away, stopping
    from worker.performing.claims import Claims
    from worker.performing.from_settings import manager_of, terms_of
    from worker.performing.performer import Performer
    from worker.runtime import fetcher, intake, measures, sessions

    settings = get_settings()
    manager, terms = manager_of(settings), terms_of(settings)
    settings.require_database_url()
    settings.require_redis_url()
    ready()
    with suppress(Stopping), Claims.held(settings.storage_root, manager.where) as claims:
        performer = Performer(manager, claims, terms, fetcher(), intake(), sessions(), measures().refused)
        say(f"performing work items of {manager.where}")
        performer.run(settings.perform_look_s, retry_while_away, stopping)


@app.command("list")
def list_claims(fmt: FormatOption = Format.TABLE) -> None:
    """List the work items that are held, and those that were given up. Exit status 3: some were given up."""
    from worker.performing.claims import State

    found = _claims(get_settings()).all()
    rows = [
        {
            "claim": claim.name,
            "work_item": claim.uid,
            "state": claim.state.value,
            "claimed_at": claim.claimed_at,
            "study": claim.study_instance_uid,
            "error_code": claim.code and claim.code.value,
            "error_reason": claim.reason,
        }
        for claim in found
    ]
    print_rows(rows, COLUMNS, fmt, "work items", CARD)
    raise typer.Exit(3 if any(claim.state is State.GIVEN_UP for claim in found) else 0)


@app.command()
def forget(
    claim: Annotated[str, typer.Argument(help="the claim, as `dlr perform list` names it")],
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Forget a work item that was given up, once it was ended at its manager by hand."""
    from worker.performing.claims import State

    claims = _claims(get_settings())
    given_up = [one for one in claims.all() if one.name == claim and one.state is State.GIVEN_UP]
    if not given_up:
        raise typer.BadParameter("no work item of that name was given up; `dlr perform list` shows those that were")
    claims.drop(given_up[0])
    print_rows([{"claim": claim, "state": "forgotten"}], ("claim", "state"), fmt, "work items")


@app.command()
def check(fmt: FormatOption = Format.TABLE) -> None:
    """Ask the manager, and say how many of its work items are ours. Claims none. Exit status 1: it is away.

    With DLR_PERFORM_DESTINATION, which needs PostgreSQL: is it a destination that `dlr send` delivers to?
    """
    from worker.performing.from_settings import manager_of, require_delivered_to, terms_of
    from worker.runtime import sessions

    settings = get_settings()
    manager, terms = manager_of(settings), terms_of(settings)
    if terms.reports is not None:
        settings.require_database_url()
        require_delivered_to(terms.reports.destination, sessions())
    answer = manager.test()
    with manager.opened() as worklist:
        found = worklist.scheduled(terms.ours)
    ours = sum(map(terms.ours.includes, found))
    row = {"manager": manager.where, "answer": answer, "found": len(found), "ours": ours}
    print_rows([row], tuple(row), fmt, "manager")


@app.command()
def health(fmt: FormatOption = Format.TABLE) -> None:
    """Health check. Exit status 0: the performer has worked within three minutes and the time of a fetch."""
    settings = get_settings()
    claims = _claims(settings)
    silent_s, is_well = claims.silent_s(), claims.is_at_work(settings.fetch_timeout_s)
    row = {"is_served": is_well, "silent_s": None if silent_s is None else round(silent_s, 1)}
    print_rows([row], tuple(row), fmt, "performer")
    raise typer.Exit(0 if is_well else 1)


def _claims(settings: Settings) -> "Claims":
    from worker.performing.claims import Claims
    from worker.performing.from_settings import manager_of

    return Claims.of(settings.storage_root, manager_of(settings).where)
