"""``dlr purge``: old studies keep their counts and history, and lose their identifiers."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from db.writes import audit, ledger
from worker.cli.confirmation import make_sure, who_asks
from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.cli.progress import counting_bar
from worker.intake.inbox import is_received, with_their_studies
from worker.intake.storage_copy import is_copy
from worker.settings import get_settings

BATCH = 500
EVENTS_AT_ONCE = 10_000
COLUMNS = ("ended_before", "studies", "purged", "files_removed", "files_left", "audit_events", "audit_events_removed")


def _age(value: str) -> timedelta:
    days = re.fullmatch(r"(\d+)d", value)
    if not days:
        raise typer.BadParameter("give days with their unit, such as 365d: a purge cannot be undone")
    return timedelta(days=int(days[1]))


def purge(
    older_than: Annotated[
        timedelta, typer.Option(parser=_age, metavar="DAYS", help="Days since the study ended, for example 365d")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show how many studies would be purged")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation")] = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Remove the identifiers of studies and refused messages that ended long ago. This cannot be undone.

    Scores, recommendations, counts and history stay; UIDs, accession numbers, jobs, lesion ids and reasons go. So do
    the files that `dlr submit` copied or `dlr receive` received, once no study on record uses them. Your own files are
    left alone. Audit events of that age are removed, also those that wait for a collector.
    """
    from worker.runtime import sessions

    before = datetime.now(UTC) - older_than
    with sessions()() as session:
        studies, events = ledger.purgeable(session, before), audit.removable(session, before)
    row = {"ended_before": before.isoformat(timespec="seconds"), "studies": studies, "purged": 0}
    row |= {"audit_events": events, "audit_events_removed": 0}
    if (studies or events) and not dry_run:
        what = f"{studies} studies" + (f" and {events} audit events" if events else "")
        if not yes:
            otherwise = f"this would purge {what}: confirm with --yes, or use --dry-run"
            make_sure(f"remove the identifiers of {what}?", otherwise)
        row |= _purge(before, studies) if studies else {}
        row["audit_events_removed"] = _remove_events(before)
    print_rows([row], COLUMNS, fmt, title="what would be purged" if dry_run else "purge")
    raise typer.Exit(1 if row.get("files_left") else 0)


def _purge(before: datetime, studies: int) -> dict[str, int]:
    from worker.runtime import sessions

    purged, removed, left = 0, 0, 0
    with counting_bar("studies", studies) as advance:
        while True:
            with sessions().begin() as session:
                done, unnamed = ledger.purge(session, before, who_asks(), BATCH)
                paths = set(unnamed)
                for study in with_their_studies(get_settings().storage_root, unnamed):
                    if not ledger.on_record(session, study):
                        paths |= study
            if not done:
                return {"purged": purged, "files_removed": removed, "files_left": left}
            purged += done
            gone, kept = _remove(get_settings().storage_root, paths)
            removed, left = removed + gone, left + kept
            advance(purged)


def _remove_events(before: datetime) -> int:
    from worker.runtime import sessions

    removed = 0
    while True:
        with sessions().begin() as session:
            done = audit.remove(session, before, EVENTS_AT_ONCE)
        if not done:
            return removed
        removed += done


def _remove(storage_root: Path, paths: Iterable[str]) -> tuple[int, int]:
    """Remove files that are ours; count what is gone and what could not be removed."""
    removed = left = 0
    for path in paths:
        if not is_copy(path) and not is_received(path):
            continue
        try:
            (storage_root / path).unlink(missing_ok=True)
            removed += 1
        except OSError as error:
            left += 1
            stderr.print(f"{path} could not be removed: {error.strerror}", markup=False, highlight=False)
    return removed, left
