"""``dlr failed``: studies without a full result, and messages that were refused."""

import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from db.reads import study_queries
from db.reads.study_records import FailedRow
from db.writes import ledger
from worker.cli.confirmation import make_sure, who_asks
from worker.cli.output import Card, Format, FormatOption, print_rows, stderr
from worker.cli.study import show as show_study
from worker.cli.study_arguments import StudiesArgument, StudyArgument
from worker.errors import MEANINGS, Code
from worker.reporting.lookup import look_up

app = typer.Typer(no_args_is_help=True)

COLUMNS = (
    "study_id", "state", "error_code", "error_reason", "lesions_failed", "source", "received_at", "what_to_do",
    "accession_number", "study_instance_uid", "refused",
)  # fmt: skip
COLUMNS_FOR_PEOPLE = (
    "study_id", "accession_number", "state", "error_code", "error_reason", "lesions_failed", "source", "received_at",
    "what_to_do",
)  # fmt: skip
CARD = Card(
    ("study_id", "state", "error_code"),
    ("error_reason", "what_to_do", "accession_number", "lesions_failed", "source", "received_at"),
)
CHANGED_COLUMNS = ("study_id", "state", "error_code", "result")
_NOT_QUEUED = (
    "not queued again: only a failed or partial study can be, or one of which an image was not scored; submit a "
    "refused message again"
)
_AGO = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def moment(value: str) -> datetime:
    """Read a time: ISO 8601 (UTC where it names no zone), or how long ago, such as 90m, 12h or 7d."""
    ago = re.fullmatch(r"(\d+)([smhd])", value)
    if ago:
        return datetime.now(UTC) - timedelta(**{_AGO[ago[2]]: int(ago[1])})
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise typer.BadParameter("give a time such as 2026-11-24T08:00 or 12h (ago)") from None
    return read if read.tzinfo else read.replace(tzinfo=UTC)


CodeOption = Annotated[
    Code | None, typer.Option(metavar="CODE", help="Only studies with this code, their own or a lesion's")
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Only studies that ended since then: ISO 8601, or 12h (ago)"),
]
UntilOption = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Only studies that ended by then: ISO 8601, or 7d (ago)"),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation")]


@app.command("list")
def list_failed(
    code: CodeOption = None, since: SinceOption = None, until: UntilOption = None, fmt: FormatOption = Format.TABLE
) -> None:
    """List failed and partial studies and refused messages, each with its code, its reason and what to do."""
    rows = [asdict(row) for row in _chosen(code, since, until)]
    columns = COLUMNS_FOR_PEOPLE if fmt is Format.TABLE else COLUMNS
    title = "failed and partial studies, and refused messages"
    print_rows([row | {"what_to_do": _advice(row)} for row in rows], columns, fmt, title, CARD)


@app.command("show")
def show_failed(
    study: StudyArgument,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show a failed study and its history."""
    show_study(study, fmt)


@app.command()
def requeue(
    studies: StudiesArgument = None,
    code: CodeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Requeue failed or partial studies, with all their attempts, once the cause is fixed.

    A study of which an image was not scored is requeued too, if it is named. A refused message has to be submitted
    again instead; it leaves this list once its study is accepted. Each study's history notes who requeued it. Exit
    status 1: a study could not be requeued.
    """
    from worker.app import enqueue
    from worker.runtime import sessions
    from worker.scoring.worklist_place import place_studies

    rows = []
    for study_id, state, error_code in _targets("requeue", studies, code, since, until, yes=yes):
        with sessions().begin() as session:
            queued = ledger.requeue(session, study_id, who_asks())
            if queued:
                place_studies(session, [study_id])
        if queued:
            enqueue(queued)
        result = "queued again" if queued else _NOT_QUEUED
        rows.append(
            {"study_id": study_id, "state": state, "error_code": error_code, "result": result, "done": bool(queued)}
        )
    _report(rows, fmt, "requeued")


@app.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why nothing more needs to be done; kept with the study")],
    studies: StudiesArgument = None,
    code: CodeOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    yes: YesOption = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Discard failed or partial studies and refused messages that a person has dealt with.

    They leave this list, and failed studies leave the worklist. They stay on record and can be requeued.
    """
    from worker.runtime import sessions
    from worker.scoring.worklist_place import place_studies

    rows = []
    for study_id, state, error_code in _targets("discard", studies, code, since, until, yes=yes):
        with sessions().begin() as session:
            done = ledger.discard(session, study_id, reason, who_asks())
            if done:
                place_studies(session, [study_id])
        result = "discarded" if done else "not discarded: it is not failed or partial, or is discarded already"
        rows.append({"study_id": study_id, "state": state, "error_code": error_code, "result": result, "done": done})
    _report(rows, fmt, "discarded")


def _report(rows: list[dict[str, Any]], fmt: Format, done: str) -> None:
    title = f"{done}: {sum(row['done'] for row in rows)} of {len(rows)}" if rows else done
    print_rows(rows, CHANGED_COLUMNS, fmt, title=title)
    raise typer.Exit(0 if all(row["done"] for row in rows) else 1)


def _chosen(code: Code | None, since: datetime | None, until: datetime | None) -> list[FailedRow]:
    from worker.runtime import sessions

    with sessions()() as session:
        return study_queries.failed(session, code and code.value, since, until)


def _targets(
    what: str,
    studies: list[str] | None,
    code: Code | None,
    since: datetime | None,
    until: datetime | None,
    *,
    yes: bool,
) -> list[tuple[UUID, str, str | None]]:
    """Find the studies that a command is about, by name or by the options: id, state and code of each."""
    by_options = (code, since, until) != (None, None, None)
    if bool(studies) == by_options:
        raise typer.BadParameter("name studies, or choose them with --code, --since and --until")
    if studies:
        return [one for key in studies for one in _named(key)]
    chosen = _chosen(code, since, until)
    if chosen and not yes:
        make_sure(f"{what} {len(chosen)} studies?", f"this would {what} {len(chosen)} studies: confirm with --yes")
    if not chosen:
        stderr.print("no failed or partial study matches", highlight=False)
    return [(row.study_id, row.state, row.error_code) for row in chosen]


def _named(key: str) -> list[tuple[UUID, str, str | None]]:
    from worker.runtime import sessions

    with sessions()() as session:
        found = look_up(session, key, study_queries.study_details)
    return [(study.study_id, study.state, study.error_code) for study in found]


def _advice(row: Mapping[str, Any]) -> str:
    code, reason = row["error_code"], row["error_reason"] or ""
    meaning = MEANINGS[Code(code)] if code in set(Code) else ""
    return "" if meaning in reason else meaning
