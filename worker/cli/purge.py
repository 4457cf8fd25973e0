"""``dlr purge``: what has ended long ago keeps its counts and its history, and loses its identifiers."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from db.writes import ledger
from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.cli.person import make_sure, who_asks
from worker.cli.progress import counting_bar
from worker.intake.inbox import is_received, with_their_studies
from worker.intake.storage_copy import is_copy
from worker.settings import get_settings

BATCH = 500
COLUMNS = ("ended_before", "studies", "purged", "files_removed", "files_left")


def _age(value: str) -> timedelta:
    days = re.fullmatch(r"(\d+)d", value)
    if not days:
        raise typer.BadParameter("days with their unit, such as 365d: what is purged can not be had back")
    return timedelta(days=int(days[1]))


def purge(
    older_than: Annotated[timedelta, typer.Option(parser=_age, metavar="DAYS", help="Days since a study ended: 365d")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many studies that would be, and stop")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask")] = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Remove the identifiers of studies and refused messages that ended long ago. It can not be undone.

    Scores, recommendations, counts and the history stay, without UIDs, accession numbers, jobs, lesion ids and reasons.
    Copies that `dlr submit` made of their files are removed too, and what `dlr receive` received of a study, once no
    study on record names any of it; files of your own are left alone.
    """
    from worker.runtime import sessions

    before = datetime.now(UTC) - older_than
    with sessions()() as session:
        studies = ledger.purgeable(session, before)
    row = {"ended_before": before.isoformat(timespec="seconds"), "studies": studies, "purged": 0}
    if studies and not dry_run:
        if not yes:
            otherwise = f"this would purge {studies} studies: say --yes, or --dry-run"
            make_sure(f"remove the identifiers of {studies} studies?", otherwise)
        row |= _purge(before, studies)
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
