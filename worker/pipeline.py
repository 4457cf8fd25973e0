"""The order of the steps from a queued study to its result, and only that."""

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol
from uuid import UUID

from sqlalchemy.orm import Session, sessionmaker

from db import ledger
from db.records import AssessmentRecord, Claim, LesionResultRecord, PredictionRecord, Standing, StudyResultRecord
from worker.clinical.categories import Priority
from worker.clinical.restratify import Assessment, restratify
from worker.contract import LesionJob, parse_job
from worker.errors import Code, DlrError, LesionRefused, Refused, Unavailable
from worker.imaging.reading import StudyFiles
from worker.isolation import Isolation
from worker.logs import story_of
from worker.patience import DATABASE_AWAY, Stopping, patiently
from worker.pulse import Pulse
from worker.study import Lesion, LesionImage, Roi, Score, Scores, Study
from worker.worklist import place_of, place_of_failed

logger = logging.getLogger(__name__)


class ScoringEngine(Protocol):
    """What the pipeline needs of the inference engine, or of a simulated device."""

    def submit(self, image: LesionImage, priority: Priority) -> Future[Scores]:
        """Queue one lesion for both models."""

    def arriving(self) -> AbstractContextManager[None]:
        """Announce that lesions are on their way, until the context ends."""


class Decoders(Protocol):
    """What the pipeline needs of `worker.imaging.decoder_pool.DecoderPool`."""

    def index(self, root: Path, paths: Sequence[str], study_instance_uid: str) -> StudyFiles:
        """Read the headers of a study's files."""

    def load(self, files: StudyFiles, lesion: Lesion, age_years: float | None) -> LesionImage:
        """Load one lesion."""


@dataclass(frozen=True, slots=True)
class LesionOutcome:
    """What became of one lesion: scores and an assessment, or the refusal that says why not."""

    lesion: Lesion
    image: LesionImage | None = None
    scores: Scores | None = None
    assessment: Assessment | None = None
    refused: DlrError | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Scores studies of the ledger, one call a study; any number of threads at once.

    Attributes:
        sessions: the ledger's.
        engine: both models on their device.
        storage_root: the files' folder.
        decoders: read the files.
        max_attempts: starts of a study before it is failed.
        inference_timeout_s: seconds that the device may work on one batch.
        pulse: tells the ledger what is at hand.
        end_worker: ends this process, when its device hangs; its studies are tried again, each alone.
        isolation: who works beside whom.
    """

    sessions: sessionmaker[Session]
    engine: ScoringEngine
    storage_root: Path
    decoders: Decoders
    max_attempts: int
    inference_timeout_s: float
    pulse: Pulse
    end_worker: Callable[[], NoReturn]
    isolation: Isolation = field(default_factory=Isolation)

    def run(self, study_id: UUID) -> str | None:
        """Take a study through all steps and commit its result.

        Args:
            study_id: the ledger's.

        Returns:
            The state that it ended in. ``None`` when there was nothing to do: this process works on it, it has ended
            already, another revision took its place, or its attempts are used up and it is failed.

        Raises:
            Unavailable: a server or the storage is away, or the attempt met a defect, which counts as an attempt; the
                same study can be run again.
        """
        if not self.pulse.take(study_id):
            return None
        try:
            with self.sessions() as session:
                suspect = ledger.was_started(session, study_id)
            with self.isolation.alone() if suspect else self.isolation.together():
                return self._run(study_id)
        finally:
            self.pulse.put_back(study_id)

    def _run(self, study_id: UUID) -> str | None:
        with self.sessions.begin() as session:
            claim = ledger.claim(
                session,
                study_id,
                self.max_attempts,
                lease_s=self.pulse.lease_s,
                failed_place=place_of_failed,
                worker=self.pulse.worker,
            )
        if claim is None:
            return None
        self.pulse.claimed(study_id, claim.attempt)
        try:
            outcomes = self._score(study_of(claim))
            return patiently(lambda: self._finish(claim, outcomes), DATABASE_AWAY)
        except Unavailable:
            with self.sessions.begin() as session:
                ledger.release(session, claim.study_id, claim.attempt)
            raise
        except (*DATABASE_AWAY, Stopping):
            raise
        except Exception as error:  # noqa: BLE001  any defect counts as an attempt, and is told in study_event
            with self.sessions.begin() as session:
                ledger.fail_attempt(session, claim.study_id, claim.attempt, Code.INTERNAL_ERROR.value, story_of(error))
            raise Unavailable(Code.INTERNAL_ERROR) from None

    def _finish(self, claim: Claim, outcomes: Sequence[LesionOutcome]) -> str | None:
        with self.sessions.begin() as session:
            priority = ledger.current_priority(session, claim.study_id, claim.attempt)
            if priority is None:
                return None
            result = result_record(claim, Priority(priority), outcomes)
            return result.state if ledger.finish(session, result) else None

    def _score(self, study: Study) -> list[LesionOutcome]:
        try:
            files = self.decoders.index(self.storage_root, study.paths, study.study_instance_uid)
        except Refused as refused:
            return [LesionOutcome(lesion, refused=refused) for lesion in study.lesions]
        with self.engine.arriving():
            started = [self._start(study, files, lesion) for lesion in study.lesions]
        return [self._end(outcome, future) for outcome, future in started]

    def _start(self, study: Study, files: StudyFiles, lesion: Lesion) -> tuple[LesionOutcome, Future[Scores] | None]:
        try:
            image = self.decoders.load(files, lesion, study.age_years)
            return LesionOutcome(lesion, image), self.engine.submit(image, study.priority)
        except Refused as refused:
            return LesionOutcome(lesion, refused=refused), None
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  a defect met on one lesion is not its neighbours' end
            return LesionOutcome(lesion, refused=_defect(error)), None

    def _end(self, outcome: LesionOutcome, future: Future[Scores] | None) -> LesionOutcome:
        if future is None:
            return outcome
        lesion, image = outcome.lesion, outcome.image
        try:
            scores = self._scores(future)
        except Refused as refused:
            return LesionOutcome(lesion, image, refused=refused)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  the same
            return LesionOutcome(lesion, image, refused=_defect(error))
        assessment = restratify(lesion.birads, high_risk=scores.lh.positive, malignant=scores.bm.positive)
        return LesionOutcome(lesion, image, scores, assessment)

    def _scores(self, future: Future[Scores]) -> Scores:
        """Wait for the device, for as long as it takes on others; one that hangs on these is given up."""
        while True:
            at_work = future.running()
            wait([future], self.inference_timeout_s)
            if future.done():
                return future.result()
            if at_work:
                logger.critical("the device has hung for %.0f s: this worker ends", self.inference_timeout_s)
                self.end_worker()


def study_of(claim: Claim) -> Study:
    """Read the ledger's job back into a study.

    Raises:
        JobRefused: the stored job does not follow the contract.
    """
    job = parse_job(claim.job)
    return Study(
        study_id=claim.study_id,
        study_instance_uid=job.study_instance_uid,
        priority=Priority(claim.priority),
        age_years=job.age_years,
        paths=tuple(job.images.paths),
        lesions=tuple(_lesion_of(lesion) for lesion in job.lesions),
    )


def _lesion_of(job: LesionJob) -> Lesion:
    roi = None if job.roi is None else Roi(job.roi.x, job.roi.y, job.roi.width, job.roi.height)
    return Lesion(job.lesion_id, job.sop_instance_uid, job.frame, roi, job.birads, job.descriptors)


def result_record(claim: Claim, priority: Priority, outcomes: Sequence[LesionOutcome]) -> StudyResultRecord:
    """Sum a study up: its state, its place on the worklist, and one record a lesion."""
    refused = [(outcome.lesion, outcome.refused) for outcome in outcomes if outcome.refused is not None]
    assessed = [outcome.assessment.outcome.value for outcome in outcomes if outcome.assessment is not None]
    malignant = [outcome.scores.bm.positive_probability for outcome in outcomes if outcome.scores is not None]
    highest = max(malignant, default=None)
    worklist_class, order = place_of(Standing(tuple(assessed), not refused, priority.value, highest))
    return StudyResultRecord(
        study_id=claim.study_id,
        attempt=claim.attempt,
        state="done" if not refused else "partial" if assessed else "failed",
        error_code=refused[0][1].code.value if refused else None,
        error_reason="; ".join(f"{lesion.lesion_id}: {error.reason}" for lesion, error in refused) or None,
        worklist_class=worklist_class,
        worklist_order=order,
        malignant_probability=highest,
        lesions=tuple(_lesion_record(outcome) for outcome in outcomes),
        detail=_details(outcomes),
    )


def _lesion_record(outcome: LesionOutcome) -> LesionResultRecord:
    image, scores, assessment, refused = outcome.image, outcome.scores, outcome.assessment, outcome.refused
    region = image.region if image is not None else None
    return LesionResultRecord(
        lesion_id=outcome.lesion.lesion_id,
        state="scored" if refused is None else "failed",
        error_code=None if refused is None else refused.code.value,
        error_reason=None if refused is None else refused.reason,
        age_years=None if image is None else image.age.years,
        age_source=None if image is None else image.age.source.value,
        region=None if region is None else (region.x, region.y, region.width, region.height),
        region_source=None if image is None else image.region_source.value,
        predictions=() if scores is None else (_prediction(scores.lh), _prediction(scores.bm)),
        assessment=None if assessment is None else _assessment(assessment),
    )


def _prediction(score: Score) -> PredictionRecord:
    return PredictionRecord(
        model_name=score.model,
        model_version=score.version,
        probabilities=score.probabilities,
        positive_probability=score.positive_probability,
        predicted_class=score.predicted_class,
        positive=score.positive,
        threshold=score.threshold,
    )


def _assessment(assessment: Assessment) -> AssessmentRecord:
    return AssessmentRecord(
        outcome=assessment.outcome.value,
        original=assessment.original.value,
        recommended=assessment.recommended.value,
        rule_version=assessment.rule_version,
    )


class _Defect(LesionRefused):
    """An unforeseen exception; its traceback goes into the ledger and nowhere else."""

    story = ""


def _defect(error: Exception) -> _Defect:
    logger.error("a lesion met a defect of this software: %s", type(error).__qualname__)
    defect = _Defect(Code.INTERNAL_ERROR, f"unforeseen {type(error).__qualname__}; its place is in study_event")
    defect.story = story_of(error)
    return defect


def _details(outcomes: Sequence[LesionOutcome]) -> dict[str, str]:
    return {
        str(ordinal): outcome.refused.story
        for ordinal, outcome in enumerate(outcomes, start=1)
        if isinstance(outcome.refused, _Defect)
    }
