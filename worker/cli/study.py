"""``dlr submit``, ``dlr worklist`` and ``dlr show``: studies, for people and for programs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from db import queries
from db.records import LesionDetail, StudyDetail
from db.vocabulary import ENDED_STATES
from worker.cli.output import Format, FormatOption, print_json, print_rows, stderr, stdout
from worker.cli.progress import counting_bar
from worker.clinical.categories import Priority
from worker.clinical.restratify import UNCERTAIN
from worker.errors import Code, SetupRefused, Unavailable
from worker.intake.lesions_file import read_lesions
from worker.intake.submit import Overrides, Submission, hand_in, plan
from worker.settings import get_settings

EXIT_NOT_DONE = 3
POLL_S = 0.25

SUBMITTED_COLUMNS = ("submitted", "study_id", "change", "state", "code", "reason")
WORKLIST_COLUMNS = (
    "position", "study_id", "study_instance_uid", "accession_number", "revision", "priority", "worklist_class", "state",
    "highest_birads", "lesions", "lesions_scored", "upgraded", "maintained", "downgraded", "not_applicable",
    "malignant_probability", "high_risk_probability", "error_code", "error_reason", "received_at", "finished_at",
    "notice", "uncertain",
)  # fmt: skip
WORKLIST_COLUMNS_FOR_PEOPLE = (
    "position", "study_id", "accession_number", "priority", "class", "state", "birads", "4A_lesions", "malignant",
    "error_code", "notice",
)  # fmt: skip
LESION_COLUMNS = (
    "lesion_id", "state", "birads", "outcome", "recommended", "uncertain", "high_risk_probability",
    "malignant_probability", "age_years", "age_source", "region_source", "gate", "width_mm", "height_mm",
    "aspect_ratio", "error_code", "error_reason", "models", "notice",
)  # fmt: skip


def submit(
    paths: Annotated[list[Path], typer.Argument(help="Job files (*.json), DICOM files, or folders of DICOM files")],
    lesions: Annotated[
        Path | None,
        typer.Option(
            help="The lesions of the DICOM files: a JSON list, or an object with `lesions` and other fields; "
            "without it, a DICOM SR, SEG or GSPS among the files marks them"
        ),
    ] = None,
    age: Annotated[float | None, typer.Option(help="Age at the study in years; wins over the files")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Wins over the files; default routine")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until each study has ended")] = False,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait at most")] = 600.0,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Hand in studies. What can not be a study is kept too, with the reason (`dlr failed list`).

    Files outside DLR_STORAGE_ROOT are copied into it. Exit status 3: something was refused or, with --wait, did not end
    `done`.
    """
    from worker.app import give_up_soon

    give_up_soon()
    overrides = Overrides(age, priority.value if priority else None)
    marked = read_lesions(lesions) if lesions else None
    settings = get_settings()
    rows = [_hand_in(one) for one in plan(paths, marked, overrides, settings.storage_root, settings.limits)]
    if wait:
        _await(rows, timeout)
    for row in rows:
        if row["note"]:
            stderr.print(f"{row['submitted']}: {row['note']}", markup=False, highlight=False)
    print_rows(rows, SUBMITTED_COLUMNS, fmt, title="submitted")
    good = ("done",) if wait else ("done", "queued", "running")
    raise typer.Exit(0 if all(row["state"] in good for row in rows) else EXIT_NOT_DONE)


def _hand_in(submission: Submission) -> dict[str, Any]:
    from worker.runtime import intake

    row: dict[str, Any] = {"submitted": submission.name, "note": submission.note}
    handed = hand_in(intake(), submission, "submit")
    row |= {"study_id": handed.study_id, "change": handed.change, "state": handed.state}
    if handed.refused is not None:
        return row | {"code": handed.refused.code.value, "reason": handed.refused.reason}
    if handed.change == "earlier_revision":
        row["note"] = "a later revision has replaced this content, so nothing changed; to go back, change a field of it"
    return row | {"revision": handed.revision}


def _await(rows: Sequence[dict[str, Any]], timeout: float) -> None:
    from worker.runtime import sessions

    ids = {row["study_id"] for row in rows}
    deadline = time.monotonic() + timeout
    with counting_bar("studies", len(ids)) as advance:
        while True:
            with sessions()() as session:
                states = queries.states(session, ids)
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
            for study in queries.study_details(session, row["study_id"]):
                row.update(state=study.state, code=study.error_code, reason=study.error_reason)


def worklist(
    limit: Annotated[int, typer.Option(min=1, help="Studies at most")] = 50, fmt: FormatOption = Format.TABLE
) -> None:
    """Show who is read first: upgraded, then what needs a person's eyes, then the others. A recommendation only."""
    from worker.runtime import sessions

    with sessions()() as session:
        rows = [asdict(row) for row in queries.worklist(session, limit)]
        counts = queries.counts_by_state(session)
    if fmt is Format.TABLE:
        print_rows([row | _short(row) for row in rows], WORKLIST_COLUMNS_FOR_PEOPLE, fmt, title="worklist")
    else:
        print_rows(rows, WORKLIST_COLUMNS, fmt)
    waiting = counts["queued"] + counts["running"]
    if waiting:
        stderr.print(f"{waiting} more studies are queued or running and not on the list yet")


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    arms = ("upgraded", "maintained", "downgraded")
    counts = [f"{row[arm]} {arm}" for arm in arms if row[arm]]
    if row["uncertain"]:
        counts.append(f"models not certain of {row['uncertain']}")
    return {
        "class": row["worklist_class"],
        "birads": row["highest_birads"],
        "4A_lesions": ", ".join(counts),
        "malignant": row["malignant_probability"],
    }


def show(
    study: Annotated[str, typer.Argument(help="The study's id, its Study Instance UID or its accession number")],
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show one study: its lesions, scores and recommendations, and all that happened to it."""
    from worker.runtime import sessions

    with sessions()() as session:
        found = queries.study_details(session, study)
    if not found:
        raise SetupRefused(Code.STUDY_NOT_FOUND)
    if fmt is Format.JSON:
        print_json([asdict(item) for item in found])
    else:
        for item in found:
            _show(item, fmt)


def _show(study: StudyDetail, fmt: Format) -> None:
    rows = [_lesion_row(lesion) for lesion in study.lesions]
    if fmt is Format.CSV:
        print_rows(rows, LESION_COLUMNS, fmt)
        return
    head = asdict(study) | {"lesions": len(study.lesions)}
    for name in ("study_id", "study_instance_uid", "accession_number", "revision", "is_current", "priority", "state",
                 "worklist_class", "malignant_probability", "error_code", "error_reason", "attempts", "source",
                 "received_at", "finished_at"):  # fmt: skip
        if head[name] is not None:
            stdout.print(f"{name.replace('_', ' '):22} {head[name]}", markup=False, highlight=False)
    said = [row | {"uncertain": UNCERTAIN if row["uncertain"] else None} for row in rows]
    print_rows(said, LESION_COLUMNS, fmt, title="lesions")
    events = [{"at": event.at, "actor": event.actor, "event": event.event, "detail": dict(event.detail)}
              for event in study.events]  # fmt: skip
    print_rows(events, ("at", "actor", "event", "detail"), fmt, title="history")


def _lesion_row(lesion: LesionDetail) -> dict[str, Any]:
    serving = {prediction.model_name: prediction for prediction in lesion.predictions if prediction.in_service}
    lh, bm = serving.get("DLR_LH"), serving.get("DLR_BM")
    return asdict(lesion) | {
        "gate": ", ".join(lesion.gate),
        "high_risk_probability": lh and lh.positive_probability,
        "malignant_probability": bm and bm.positive_probability,
        "models": ", ".join(f"{name} {prediction.model_version}" for name, prediction in sorted(serving.items())),
        "notice": "; ".join(sorted({prediction.notice for prediction in serving.values() if prediction.notice})),
    }
