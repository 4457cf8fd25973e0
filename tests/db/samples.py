"""Records as a worker would write them, with what a test says made different."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy.orm import Session, sessionmaker

from db.reads.verdicts import shown_advice
from db.schema.records import (
    AssessmentRecord,
    Claim,
    ImagePrediction,
    ImageResultRecord,
    LesionImageRecord,
    LesionRecord,
    LesionResultRecord,
    ModelRecord,
    PredictionRecord,
    Recorded,
    StudyRecord,
    StudyResultRecord,
)
from db.schema.vocabulary import ReadingSource
from db.session import make_engine, session_factory
from db.writes import ledger
from db.writes.verdicts import LesionVerdict, Reading, record_reading
from tests.conftest import Database
from worker.clinical.categories import Birads, Outcome
from worker.clinical.reading_order.outcome_class import worklist_class
from worker.clinical.restratify import restratify
from worker.scoring.worklist_place import place_studies

DEMO = "demo, synthetic, not for clinical use"


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def lesion(name: str = "L1", birads: str = "4A", **changes: Any) -> LesionRecord:
    """A lesion on one image: what is said of that is changed in it."""
    of_image = {part: changes.pop(part) for part in ("sop_instance_uid", "frame", "roi", "plane") if part in changes}
    image = replace(LesionImageRecord(f"1.2.3.{sum(map(ord, name))}", 1, (10, 20, 30, 40)), **of_image)
    return replace(LesionRecord(name, (image,), birads, {"shape": "oval"}), **changes)


def study(uid: str = "1.2.3", content: str = "a", *, lesions: Any = None, **changes: Any) -> StudyRecord:
    whole = StudyRecord(uid, digest(content), "A1", "routine", {"content": content}, "queue", lesions or (lesion(),))
    return replace(whole, **changes)


def model(name: str, version: str = "1.0", notice: str | None = DEMO, weights: str = "") -> ModelRecord:
    return ModelRecord(name, version, digest(f"{name} {version} {weights}"), notice, {"name": name})


def register(session: Session, version: str = "1.0", notice: str | None = DEMO) -> None:
    for name in ("DLR_LH", "DLR_BM"):
        ledger.register_model(session, model(name, version, notice))


@contextmanager
def writing(database: Database, *, newer: bool = False) -> Iterator[sessionmaker[Session]]:
    """Sessions of dlr_writer, on a ledger that knows both models: 1.0, a demo, and with ``newer`` 2.0 besides."""
    engine = make_engine(database.writer_url)
    sessions = session_factory(engine)
    with sessions.begin() as session:
        register(session)
        if newer:
            register(session, "2.0", notice=None)
    yield sessions
    engine.dispose()


def prediction(name: str, positive_probability: float, version: str = "1.0") -> PredictionRecord:
    classes = {"DLR_LH": ("low risk", "high risk"), "DLR_BM": ("benign", "malignant")}[name]
    positive = positive_probability >= 0.5
    return PredictionRecord(
        model_name=name,
        model_version=version,
        probabilities=((classes[0], 1 - positive_probability), (classes[1], positive_probability)),
        positive_probability=positive_probability,
        predicted_class=classes[positive],
        positive=positive,
        threshold=0.5,
    )


ConformalSet = tuple[str, ...] | None


def scored(
    name: str = "L1",
    lh: float = 0.9,
    bm: float = 0.8,
    birads: str = "4A",
    version: str = "1.0",
    *,
    lh_set: ConformalSet = None,
    bm_set: ConformalSet = None,
) -> LesionResultRecord:
    advice = restratify(Birads(birads), high_risk=lh >= 0.5, malignant=bm >= 0.5, lh_set=lh_set, bm_set=bm_set)
    predictions = (
        replace(prediction("DLR_LH", lh, version), conformal_set=lh_set),
        replace(prediction("DLR_BM", bm, version), conformal_set=bm_set),
    )
    return LesionResultRecord(
        lesion_id=name,
        state="scored",
        age_years=47.0,
        age_source="job",
        scanner_model="Acme Sono 1",
        site="Example Hospital",
        images=(scored_image(lh, bm, version),),
        predictions=predictions,
        assessment=AssessmentRecord(
            advice.outcome, advice.original, advice.recommended, advice.rule_version, advice.uncertain
        ),
    )


def scored_image(lh: float = 0.9, bm: float = 0.8, version: str = "1.0", **changes: Any) -> ImageResultRecord:
    whole = ImageResultRecord(
        state="scored",
        region=(10, 20, 30, 40),
        region_source="job",
        gate=("overlay_in_roi", "roi_saturated"),
        size_mm=(8.0, 10.0),
        predictions=(ImagePrediction("DLR_LH", version, lh), ImagePrediction("DLR_BM", version, bm)),
    )
    return replace(whole, **changes)


def refused(name: str = "L1", code: str = "age_missing") -> LesionResultRecord:
    return LesionResultRecord(name, "failed", code, "no age")


def result(claim: Claim, *lesions: LesionResultRecord, **changes: Any) -> StudyResultRecord:
    done = [part for part in lesions if part.state == "scored"]
    complete = len(done) == len(lesions)
    highest = max((part.predictions[1].positive_probability for part in done), default=None)
    outcomes = [Outcome(part.assessment.outcome) for part in done if part.assessment]
    whole = StudyResultRecord(
        study_id=claim.study_id,
        attempt=claim.attempt,
        state="failed" if not done else "done" if complete else "partial",
        error_code=None if complete else "age_missing",
        error_reason=None,
        worklist_class=worklist_class(outcomes, complete=complete).name.lower(),
        malignant_probability=highest,
        lesions=lesions,
    )
    return replace(whole, **changes)


def arrived(session: Session, record: StudyRecord) -> Recorded:
    """Record a study and place it, as the intake does."""
    recorded = ledger.record_study(session, record)
    place_studies(session, [recorded.study_id])
    return recorded


def claimed(session: Session, study_id: UUID, max_attempts: int = 3) -> Claim:
    claim = claim_one(session, study_id, max_attempts)
    assert claim is not None
    return claim


def claim_one(
    session: Session, study_id: UUID, max_attempts: int = 3, lease_s: float = -1, **options: Any
) -> Claim | None:
    claimed = ledger.claim(session, [study_id], max_attempts, lease_s=lease_s, **options)
    assert not claimed.suspects
    place_studies(session, claimed.exhausted)
    return claimed.claims.get(study_id)


def finish_one(session: Session, record: StudyResultRecord) -> bool:
    written = ledger.finish(session, [record])
    place_studies(session, written)
    return bool(written)


def ended(session: Session, record: StudyRecord, *lesions: LesionResultRecord) -> Recorded:
    """Record a study, give it its result, and place it."""
    recorded = arrived(session, record)
    assert finish_one(session, result(claimed(session, recorded.study_id), *lesions))
    return recorded


def read(
    session: Session, study_id: UUID, reader: str, final: str, *, agrees: bool | None = None, at: datetime | None = None
) -> None:
    """Mark a study as read, with the same verdict on each of its scored lesions."""
    shown = shown_advice(session, [study_id])
    advice = [one.advice for one in shown.values()]
    verdicts = [LesionVerdict(lesion, agrees, final) for lesion in shown]
    assert record_reading(session, Reading(uuid4(), study_id, reader, ReadingSource.IMPORT, advice, verdicts, at))
