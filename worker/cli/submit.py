"""``dlr submit``: studies that a person submits."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from db.reads import study_queries
from db.schema.vocabulary import ENDED_STATES
from worker.cli.output import Format, FormatOption, print_rows, say
from worker.clinical.categories import Priority
from worker.errors import Code, Unavailable
from worker.intake.lesions_file import read_lesions
from worker.intake.submit import Overrides, Submission, Submitted, plan, submit_one
from worker.logs import configure_logging
from worker.runtime import intake, sessions
from worker.settings import get_settings

EXIT_NOT_DONE = 3
POLL_S = 0.25

COLUMNS = ("submitted", "study_id", "change", "state", "code", "reason")


def submit(
    paths: Annotated[list[Path], typer.Argument(help="Job files (*.json), DICOM files, or folders of DICOM files")],
    lesions: Annotated[
        Path | None,
        typer.Option(
            help="Lesions of the DICOM files: a JSON list, or an object with `lesions` and other fields "
            "(default: a folder's lesions.json, else a DICOM SR, SEG or GSPS among the files)"
        ),
    ] = None,
    age: Annotated[
        float | None,
        typer.Option(help="Age at the study in years, overriding the files; must be within a year of the header's"),
    ] = None,
    priority: Annotated[
        Priority | None,
        typer.Option(help="Overrides the files (default: routine); raises a study's priority, never lowers it"),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every study has ended")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Maximum seconds to wait")] = 600.0,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Submit studies. Anything that cannot be read as a study is recorded with the reason (`dlr failed list`).

    Files outside DLR_STORAGE_ROOT are copied into it. Exit status 3: something was refused or, with --wait, did not end
    `done`.
    """
    configure_logging("WARNING", "text")  # what libraries log may quote a header
    overrides = Overrides(age, priority.value if priority else None)
    marked = read_lesions(lesions) if lesions else None
    settings = get_settings()
    rows = [_hand_in(one) for one in plan(paths, marked, overrides, settings.storage_root, settings.limits)]
    for row in rows:
        if row["note"]:
            say(f"{row['submitted']}: {row['note']}")
    if wait:
        _await(rows, timeout)
    print_rows(rows, COLUMNS, fmt, title="submitted")
    good = ("done",) if wait else ("done", "queued", "running")
    raise typer.Exit(0 if all(row["state"] in good for row in rows) else EXIT_NOT_DONE)


def _hand_in(submission: Submission) -> dict[str, Any]:
    handed = submit_one(intake(), submission, "submit")
    row: dict[str, Any] = {"submitted": submission.name, "note": "; ".join((*submission.notes, *_notes(handed)))}
    row |= {"study_id": handed.study_id, "change": handed.change, "state": handed.state}
    if handed.refused is not None:
        return row | {"code": handed.refused.code.value, "reason": handed.refused.reason}
    return row | {"revision": handed.revision, "priority": handed.priority}


def _notes(handed: Submitted) -> Iterator[str]:
    if handed.change == "earlier_revision":
        yield "a later revision has replaced this content, so nothing changed; to go back, change one of its fields"
    elif handed.priority != handed.asked:
        yield f"its priority stays {handed.priority}, not {handed.asked}: submitting a study again never lowers it"


def _await(rows: Sequence[dict[str, Any]], timeout: float) -> None:
    from worker.cli.progress import counting_bar

    ids = {row["study_id"] for row in rows}
    deadline = time.monotonic() + timeout
    with counting_bar("studies", len(ids)) as advance:
        while True:
            with sessions()() as session:
                states = study_queries.states(session, ids)
            ended = sum(state in ENDED_STATES for state in states.values())
            advance(ended)
            if ended == len(ids):
                break
            if time.monotonic() > deadline:
                raise Unavailable(
                    Code.SERVICE_UNAVAILABLE,
                    f"{len(ids) - ended} of {len(ids)} studies have not ended after {timeout:.0f} s; they stay queued. "
                    "Is an inference worker running?",
                )
            time.sleep(POLL_S)
    with sessions()() as session:
        for row in rows:
            for study in study_queries.study_details(session, row["study_id"]):
                row.update(state=study.state, code=study.error_code, reason=study.error_reason)
