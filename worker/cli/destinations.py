"""``dlr send show``, ``test`` and ``check``: the destinations themselves, rather than what goes to them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.output import Card, Format, FormatOption, print_rows
from worker.errors import Code, DlrError, SetupRefused
from worker.settings import Settings, get_settings

if TYPE_CHECKING:
    from worker.sending.destination import Opens, Route

SHOWN = ("destination", "kind", "where", "documents", "takes", "order", "quiet", "commitment",
         "waiting", "failed", "oldest", "looked_at")  # fmt: skip
CARD = Card(("destination", "kind", "where"), SHOWN[3:])
TESTED = ("destination", "answers", "says")
CHECKED = SHOWN[:8]

_AT_ONCE = 8
"""Destinations that are asked at the same time."""


def show(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this destination")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show destinations: what each takes and when, and how many deliveries wait or were refused."""
    from db.writes.outbox import outbox_states
    from worker.runtime import sessions

    routes = _routes(get_settings(), name)
    with sessions()() as session:
        states = {state.destination: asdict(state) for state in outbox_states(session)}
    rows = [_described(route) | states.get(route.destination.name, {}) for route in routes]
    print_rows(rows, SHOWN, fmt, "destinations", CARD)


def ask(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Default: all destinations")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Ask destinations whether they would take results; sends none. Exit status 1: one would not."""
    from worker.logs import configure_logging

    settings = get_settings()
    configure_logging("ERROR", "text")  # what libraries log may quote an answer
    wanted = [route.destination for name in names or (None,) for route in _routes(settings, name)]
    with ThreadPoolExecutor(min(len(wanted), _AT_ONCE)) as pool:
        rows = list(pool.map(_answer, wanted))
    print_rows(rows, TESTED, fmt, "destinations asked")
    raise typer.Exit(0 if all(row["answers"] for row in rows) else 1)


def check(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default: DLR_SEND_DESTINATIONS")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Check a file of destinations, and the files that it names; connects to nobody."""
    settings = get_settings()
    path = file or settings.send_destinations
    if path is None:
        raise SetupRefused(Code.SETTING_INVALID, "name a file, or set DLR_SEND_DESTINATIONS")
    only = {"send_pacs": None, "send_ups": None, "send_webhook_url": None, "send_destinations": path}
    rows = [_described(route) for route in _routes(settings.model_copy(update=only), None)]
    print_rows(rows, CHECKED, fmt, "destinations", Card(CHECKED[:3], CHECKED[3:]))


def _routes(settings: Settings, name: str | None) -> "Sequence[Route]":
    from worker.sending.from_settings import routes

    found = routes(settings)
    if name is None:
        return found
    named = [route for route in found if route.destination.name == name]
    if not named:
        names = ", ".join(route.destination.name for route in found)
        raise SetupRefused(Code.SETTING_INVALID, f"there is no destination {name}: there are {names}")
    return named


def _answer(destination: "Opens") -> dict[str, object]:
    try:
        said = destination.test()
    except DlrError as why:
        return {"destination": destination.name, "answers": False, "says": why.reason}
    return {"destination": destination.name, "answers": True, "says": said}


def _described(route: "Route") -> dict[str, object]:
    from worker.sending.rules import in_words

    terms = route.terms
    quiet = terms.quiet
    return {
        "destination": route.destination.name,
        "kind": route.kind,
        "where": route.destination.where,
        "documents": ", ".join(route.documents) or None,
        "takes": in_words(terms.rules),
        "order": "priority" if terms.by_priority else "oldest",
        "quiet": None if quiet is None else f"{quiet.start:%H:%M} to {quiet.end:%H:%M} {quiet.zone.key}",
        "commitment": None if terms.commitment_wait_s is None else f"within {terms.commitment_wait_s:g} s",
    }
