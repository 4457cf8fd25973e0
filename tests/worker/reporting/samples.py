"""Results of studies as values, and the files that they are about."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from pydicom.uid import UID, ExplicitVRLittleEndian

from db.schema.worklist_records import StudyPlace
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import LesionFacts, StudyFacts, StudyState
from worker.clinical.reading_order.outcome_class import worklist_class
from worker.clinical.reading_order.place import place, place_reason
from worker.clinical.reading_order.policy import DEFAULT, built_in
from worker.demo.dicom import Header, write_ultrasound
from worker.image_access import Limits
from worker.imaging.image_source import Folder
from worker.reporting.result import Ending, ImageResult, LesionResult, ModelScore, StudyResult
from worker.reporting.source_study import Source, read_source

LIMITS = Limits(1 << 30, 1 << 24)
STUDY_UID = "1.2.826.0.1.3680043.8.498.45787841905188114249778619212641212"
STUDY_ID = UUID("0c3b1f0e-7a43-4c70-8b3c-6c1f7cbf3f50")
NAME = "Çelik^Zoë"
AT = datetime(2026, 11, 23, 10, 30, 15, 250000, tzinfo=UTC)
ROWS, COLUMNS = 96, 128
DEMO = "demo, synthetic, not for clinical use"


def write_image(path: Path, frames: int = 1, transfer_syntax: UID = ExplicitVRLittleEndian, **header: Any) -> str:
    """Write an image of the study; return its SOP Instance UID."""
    said = Header(STUDY_UID, "Phantom^One", "P-1", "A1", "20261123", birth_date="19790405")
    images = np.random.default_rng(7).integers(0, 256, (frames, ROWS, COLUMNS), np.uint8)
    return write_ultrasound(path, replace(said, **header), list(images), transfer_syntax)


def score(model: str, positive: float, negative: float | None = None, threshold: float = 0.5) -> ModelScore:
    names = {"DLR_LH": ("low_risk", "high_risk"), "DLR_BM": ("benign", "malignant")}[model]
    return ModelScore(
        model=model,
        version="1.0",
        weights_sha256="a" * 64,
        card_sha256="b" * 64,
        notice=DEMO,
        negative_class=names[0],
        negative_probability=1 - positive if negative is None else negative,
        positive_class=names[1],
        positive_probability=positive,
        threshold=threshold,
        predicted_class=names[positive >= threshold],
    )


def scored(sop: str, ordinal: int = 1, lh: float = 0.9, bm: float = 0.8, **changes: Any) -> LesionResult:
    outcome, recommended = {
        (True, True): ("upgraded", ">4A"),
        (False, False): ("downgraded", "3"),
    }.get((lh >= 0.5, bm >= 0.5), ("maintained", "4A"))
    whole = LesionResult(
        ordinal=ordinal,
        lesion_id=f"L{ordinal}",
        sop_instance_uid=sop,
        frame=1,
        birads="4A",
        roi=(10, 20, 30, 40),
        region=(10, 20, 30, 40),
        region_source="job",
        gate=("overlay_in_roi",),
        width_mm=8.25,
        height_mm=5.5,
        aspect_ratio=5.5 / 8.25,
        age_years=47.3,
        age_source="job",
        outcome=outcome,
        recommended=recommended,
        rule_version="fig-s5/1",
        lh=score("DLR_LH", lh),
        bm=score("DLR_BM", bm),
        restratification_id=ordinal,
        error_code=None,
        error_reason=None,
    )
    return replace(whole, **changes)


def uncertain(sop: str, ordinal: int = 1) -> LesionResult:
    """Low risk and benign, and DLR_BM cannot rule malignant out."""
    return replace(
        scored(sop, ordinal, outcome="maintained", recommended="4A", rule_version="fig-s5/1+conformal/1"),
        lh=replace(score("DLR_LH", 0.1), conformal_set=("low_risk",)),
        bm=replace(score("DLR_BM", 0.45), conformal_set=("benign", "malignant")),
        uncertain=True,
    )


def failed(sop: str, ordinal: int = 1, code: str = "pixels_uniform", **changes: Any) -> LesionResult:
    nothing: dict[str, Any] = dict.fromkeys(
        ("region", "region_source", "age_years", "age_source", "outcome", "recommended", "rule_version", "lh", "bm",
         "width_mm", "height_mm", "aspect_ratio",
         "restratification_id")
    )  # fmt: skip
    said: dict[str, Any] = {"gate": (), "error_code": code, "error_reason": f"because of {code}"}
    return replace(scored(sop, ordinal), **{**nothing, **said, **changes})


def _place(lesions: tuple[LesionResult, ...]) -> StudyPlace:
    scored = [lesion.error_code is None for lesion in lesions]
    facts = [
        LesionFacts(
            lesion.birads,
            "scored" if lesion.error_code is None else "failed",
            None if lesion.outcome is None else Outcome(lesion.outcome),
            *(
                None if score is None else score.predicted_class == score.positive_class
                for score in (lesion.lh, lesion.bm)
            ),
            *(None if score is None else score.positive_probability for score in (lesion.lh, lesion.bm)),
        )
        for lesion in lesions
    ]
    state: StudyState = "done" if all(scored) else "partial" if any(scored) else "failed"
    policy, of_study = built_in(DEFAULT), StudyFacts(Priority.ROUTINE, state, tuple(facts))
    at = place(policy, of_study)
    tier = policy.tiers[at.tier - 1]
    reason = place_reason(policy, at, of_study)
    return StudyPlace(policy.label, tier.name, tier.title, reason, list(at.marks), None, None, tier.step_priority.value)


def study(*lesions: LesionResult, paths: tuple[str, ...] = ("a.dcm",), **changes: Any) -> StudyResult:
    fine = [lesion.error_code is None for lesion in lesions]
    whole = StudyResult(
        study_id=STUDY_ID,
        study_instance_uid=STUDY_UID,
        accession_number="A1",
        revision=1,
        is_current=True,
        priority="routine",
        state="done" if all(fine) else "partial" if any(fine) else "failed",
        place=_place(lesions),
        worklist_class=worklist_class(
            [Outcome(lesion.outcome) for lesion in lesions if lesion.outcome is not None],
            complete=bool(lesions) and all(lesion.outcome is not None for lesion in lesions),
        ).name.lower(),
        error_code=None,
        error_reason=None,
        finished_at=AT,
        paths=paths,
        dicomweb_server=None,
        lesions=lesions,
        endings=(Ending(5, STUDY_ID, 1, AT),),
    )
    return replace(whole, **changes)


def source_of(result: StudyResult, root: Path) -> Source:
    return read_source(result, Folder(root, result.paths), LIMITS)


def mixed(root: Path) -> StudyResult:
    """Three lesions on two images, one of them with frames: upgraded, not applicable, and one that failed."""
    one, many = write_image(root / "a.dcm"), write_image(root / "b.dcm", frames=4)
    return study(
        scored(one, 1),
        scored(
            many, 2, lh=0.2, bm=0.7, frame=3, birads="5", outcome="not_applicable", recommended="5",
            roi=None, region=(0, 0, COLUMNS, ROWS), region_source="whole_image", age_source="birth_date",
        ),
        failed(many, 3, frame=2, birads="4B"),
        paths=("a.dcm", "b.dcm"),
    )  # fmt: skip


def image_of(sop: str, ordinal: int, lh: float | None = 0.9, bm: float | None = 0.8, **changes: Any) -> ImageResult:
    whole = ImageResult(
        ordinal=ordinal,
        sop_instance_uid=sop,
        frame=1,
        plane=None,
        roi=(10, 20, 30, 40),
        region=(10, 20, 30, 40),
        region_source="job",
        gate=(),
        width_mm=8.25,
        height_mm=5.5,
        laterality="left",
        high_risk_probability=lh,
        malignant_probability=bm,
        error_code=None,
        error_reason=None,
    )
    return replace(whole, **changes)


def refused_image(sop: str, ordinal: int, code: str = "pixels_uniform", **changes: Any) -> ImageResult:
    said: dict[str, Any] = {"region": None, "region_source": None, "width_mm": None, "height_mm": None}
    said |= {"error_code": code, "error_reason": f"because of {code}"}
    return image_of(sop, ordinal, None, None, **(said | changes))


def in_several_images(root: Path) -> StudyResult:
    """A lesion in two planes that disagree and on one image that was refused; and another lesion, on one image."""
    one, many = write_image(root / "a.dcm"), write_image(root / "b.dcm", frames=4)
    images = (
        image_of(one, 1, lh=0.75, bm=0.25, plane="radial", gate=("overlay_in_roi",)),
        image_of(many, 2, lh=0.625, bm=0.875, plane="transverse", frame=3, region=(5, 6, 70, 80)),
        refused_image(many, 3, frame=2),
    )
    lesion = scored(
        one, 1, lh=0.6875, bm=0.5625, images=images, laterality="left", clock_position=10,
        distance_to_nipple_mm=40.0, depth_mm=12.5,
    )  # fmt: skip
    return study(lesion, scored(one, 2, lh=0.1, bm=0.2), paths=("a.dcm", "b.dcm"))
