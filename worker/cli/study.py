"""``dlr show``: a study, for people and for programs."""

from dataclasses import asdict
from typing import Any

from db.reads import study_queries
from db.reads.study_records import LesionDetail, StudyDetail
from db.schema.worklist_records import StudyPlace
from worker.cli.output import Card, Format, FormatOption, print_json, print_rows, stdout
from worker.cli.study_arguments import StudyArgument
from worker.clinical.restratify import UNCERTAIN
from worker.reporting.lookup import look_up

LESION_COLUMNS = (
    "lesion_id", "state", "birads", "outcome", "recommended", "uncertain", "high_risk_probability",
    "malignant_probability", "age_years", "age_source", "region_source", "gate", "width_mm", "height_mm",
    "aspect_ratio", "error_code", "error_reason", "models", "notice",
)  # fmt: skip


LESION_CARD = Card(("lesion_id", "outcome"), [name for name in LESION_COLUMNS[1:] if name != "outcome"])
EVENT_COLUMNS = ("at", "actor", "event", "detail")
EVENT_CARD = Card(("at", "event"), ("actor", "detail"))


def show(
    study: StudyArgument,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show a study: its lesions, scores, recommendations and history.

    Messages refused under its Study Instance UID or accession number are shown too, until somebody deals with them.
    """
    from worker.runtime import sessions

    with sessions()() as session:
        found = look_up(session, study, study_queries.study_details)
    if fmt is Format.JSON:
        print_json([asdict(item) for item in found])
    elif fmt is Format.CSV:
        rows = [_lesion_row(lesion) | {"study_id": item.study_id} for item in found for lesion in item.lesions]
        print_rows(rows, (*LESION_COLUMNS, "study_id"), fmt)
    else:
        for item in found:
            _show(item)


def _show(study: StudyDetail) -> None:
    rows = [_lesion_row(lesion) for lesion in study.lesions]
    head = asdict(study) | {"lesions": len(study.lesions)} | _place(study.place)
    if study.refused:
        stdout.print("a message that was refused: it is not a study until it is submitted again", markup=False)
    for name in ("study_id", "study_instance_uid", "accession_number", "revision", "is_current", "priority", "state",
                 "tier", "place_reason", "marks", "read_at", "read_by", "worklist_class", "malignant_probability",
                 "error_code", "error_reason", "attempts", "source", "received_at", "finished_at"):  # fmt: skip
        if head[name] is not None:
            stdout.print(f"{name.replace('_', ' '):22} {head[name]}", markup=False, highlight=False)
    said = [row | {"uncertain": UNCERTAIN if row["uncertain"] else None} for row in rows]
    print_rows(said, LESION_COLUMNS, Format.TABLE, "lesions", LESION_CARD)
    events = [{"at": event.at, "actor": event.actor, "event": event.event, "detail": dict(event.detail)}
              for event in study.events]  # fmt: skip
    print_rows(events, EVENT_COLUMNS, Format.TABLE, "history", EVENT_CARD)


def _place(place: StudyPlace | None) -> dict[str, Any]:
    names = ("tier", "place_reason", "marks", "read_at", "read_by")
    if place is None:
        return dict.fromkeys(names)
    return {name: getattr(place, name) for name in names} | {"marks": ", ".join(place.marks) or None}


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
