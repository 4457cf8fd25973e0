"""``dlr show``: a study, for people and for programs."""

from dataclasses import asdict
from typing import Any

from db.reads import study_queries
from db.reads.study_records import ImageDetail, LesionDetail, StudyDetail
from db.schema.worklist_records import StudyPlace
from worker.cli.output import Card, Format, FormatOption, print_json, print_rows, stdout
from worker.cli.study_arguments import StudyArgument
from worker.clinical.restratify import UNCERTAIN
from worker.reporting.lookup import look_up

LESION_COLUMNS = (
    "lesion_id", "state", "birads", "outcome", "recommended", "uncertain", "high_risk_probability",
    "malignant_probability", "age_years", "age_source", "region_source", "gate", "width_mm", "height_mm",
    "aspect_ratio", "error_code", "error_reason", "models", "notice", "laterality", "clock_position",
    "distance_to_nipple_mm", "depth_mm", "images_refused",
)  # fmt: skip


OF_FIRST_IMAGE = ("frame", "roi", "region", "region_source", "width_mm", "height_mm", "aspect_ratio")
LESION_CARD = Card(("lesion_id", "outcome"), [name for name in LESION_COLUMNS[1:] if name != "outcome"])
IMAGE_COLUMNS = (
    "lesion_id", "image", "plane", "state", "high_risk_probability", "malignant_probability", "frame", "region_source",
    "gate", "width_mm", "height_mm", "error_code", "error_reason",
)  # fmt: skip
IMAGE_CARD = Card(("lesion_id", "image"), IMAGE_COLUMNS[2:])
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
        print_json([asdict(item) | {"lesions": [_lesion(lesion) for lesion in item.lesions]} for item in found])
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
    if any(len(lesion.images) > 1 for lesion in study.lesions):
        images = [_image_row(lesion, image) for lesion in study.lesions for image in lesion.images]
        print_rows(images, IMAGE_COLUMNS, Format.TABLE, "images", IMAGE_CARD)
    events = [{"at": event.at, "actor": event.actor, "event": event.event, "detail": dict(event.detail)}
              for event in study.events]  # fmt: skip
    print_rows(events, EVENT_COLUMNS, Format.TABLE, "history", EVENT_CARD)


def _place(place: StudyPlace | None) -> dict[str, Any]:
    names = ("tier", "place_reason", "marks", "read_at", "read_by")
    if place is None:
        return dict.fromkeys(names)
    return {name: getattr(place, name) for name in names} | {"marks": ", ".join(place.marks) or None}


def _lesion(lesion: LesionDetail) -> dict[str, Any]:
    """Return a lesion with what is known of its first image beside its own, as when it had one image alone."""
    first = asdict(lesion.images[0])
    return {
        **asdict(lesion),
        **{name: first[name] for name in OF_FIRST_IMAGE},
        "gate": list(dict.fromkeys(finding for image in lesion.images for finding in image.gate)),
        "images": [
            asdict(image) | {"predictions": [said._asdict() for said in image.predictions]} for image in lesion.images
        ],
        "images_refused": sum(image.state == "failed" for image in lesion.images),
    }


def _image_row(lesion: LesionDetail, image: ImageDetail) -> dict[str, Any]:
    serving = {one.model_name: one.model_version for one in lesion.predictions if one.in_service}
    said = {
        one.model_name: one.positive_probability
        for one in image.predictions
        if image.state == "scored" and serving.get(one.model_name) == one.model_version
    }
    return asdict(image) | {
        "lesion_id": lesion.lesion_id,
        "image": image.ordinal,
        "gate": ", ".join(image.gate),
        "high_risk_probability": said.get("DLR_LH"),
        "malignant_probability": said.get("DLR_BM"),
    }


def _lesion_row(lesion: LesionDetail) -> dict[str, Any]:
    serving = {prediction.model_name: prediction for prediction in lesion.predictions if prediction.in_service}
    lh, bm = serving.get("DLR_LH"), serving.get("DLR_BM")
    said = _lesion(lesion)
    return said | {
        "gate": ", ".join(said["gate"]),
        "high_risk_probability": lh and lh.positive_probability,
        "malignant_probability": bm and bm.positive_probability,
        "models": ", ".join(f"{name} {prediction.model_version}" for name, prediction in sorted(serving.items())),
        "notice": "; ".join(sorted({prediction.notice for prediction in serving.values() if prediction.notice})),
    }
