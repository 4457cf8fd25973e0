"""The order of the steps from a queued study to its result, and only that."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn, Protocol
from uuid import UUID

from db.outages import DATABASE_AWAY
from db.schema.records import Claim, Ended
from worker.batcher import at_work
from worker.clinical.categories import Priority
from worker.clinical.restratify import restratify
from worker.contract import images_of, parse_job
from worker.errors import Code, ImagesRefused, LesionRefused, Refused, Unavailable
from worker.imaging.image_source import Folder, ImageSource
from worker.imaging.study_files import StudyFiles
from worker.outages.retry import Stopping, retry_while_away
from worker.scoring.bookkeeping import Bookkeeper, Suspect
from worker.scoring.isolation import Isolation
from worker.scoring.lesion_images import (
    Gathering,
    ImageOutcome,
    Loaded,
    answered,
    by_frame,
    none_read,
    of_one_age,
    refused_by_models,
    too_few,
    without_pixels,
)
from worker.scoring.lesion_outcome import LesionOutcome, defect_of, tell
from worker.study import Lesion, LesionImage, MarkedImage, Scores, Study
from worker.telemetry.measures import Measures
from worker.telemetry.traces import Span, Tracing

logger = logging.getLogger(__name__)

_Started = tuple[LesionOutcome, "Future[Scores] | None"]


class Submits(Protocol):
    """What takes the lesions of one study, and scores them all by the same versions."""

    def submit(self, images: Sequence[LesionImage], priority: Priority) -> Future[Scores]:
        """Queue one lesion for both models, by its images."""


class ScoringEngine(Protocol):
    """What the pipeline needs of the inference engine, or of a simulated device."""

    def arriving(self, study_instance_uid: str, /) -> "AbstractContextManager[Submits]":
        """Announce that a study's lesions are on their way, until the context ends; give what is to have them all."""


class Decoders(Protocol):
    """What the pipeline needs of `worker.imaging.decoder_pool.DecoderPool`."""

    def index(self, root: Path, paths: Sequence[str], study_instance_uid: str) -> StudyFiles:
        """Read the headers of a study's files."""

    def load(
        self, files: StudyFiles, images: Sequence[MarkedImage], age_years: float | None
    ) -> list[LesionImage | LesionRefused]:
        """Load the lesions of one frame."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Scores studies of the ledger, one call a study; any number of threads at once.

    Attributes:
        books: what is said to the ledger.
        engine: both models on their device.
        source: finds the files.
        decoders: read the files.
        inference_timeout_s: seconds that the device may work on one batch.
        end_worker: ends this process, when its device hangs; its studies are tried again, each alone.
        isolation: who works beside whom.
        measures: is told what became of studies and lesions.
        tracing: traces each study's steps.
    """

    books: Bookkeeper
    engine: ScoringEngine
    source: ImageSource
    decoders: Decoders
    inference_timeout_s: float
    end_worker: Callable[[], NoReturn]
    isolation: Isolation = field(default_factory=Isolation)
    measures: Measures = field(default_factory=Measures)
    tracing: Tracing = field(default_factory=Tracing)

    def run(self, study_id: UUID) -> Ended | None:
        """Take a study through all steps and commit its result.

        Args:
            study_id: the ledger's.

        Returns:
            How it ended: now, or before. ``None`` when it has not, and there was nothing to do: it is at work
            elsewhere, or not in the ledger.

        Raises:
            Unavailable: a server or the storage is away, or the attempt met a defect, which counts as an attempt; the
                same study can be run again.
        """
        if not self.books.lease_keeper.take(study_id):
            return None
        try:
            return self._claimed(study_id) or self.books.ended(study_id)
        finally:
            self.books.lease_keeper.put_back(study_id)

    def _claimed(self, study_id: UUID) -> Ended | None:
        with self.isolation.together():
            claim = self.books.claim(study_id)
            if not isinstance(claim, Suspect):
                return self._work(claim)
        with self.isolation.alone():
            return self._work(self.books.claim_alone(study_id))

    def _work(self, claim: Claim | None) -> Ended | None:
        if claim is None:
            return None
        claimed = time.monotonic()
        with self._traced(claim) as span:
            outcomes, ended = self._attempt(claim)
            span.note(state=ended.state if ended else "superseded")
        if ended is not None:
            waited_s = claim.since_received.total_seconds() + time.monotonic() - claimed
            tell(self.measures, outcomes, ended.state, Priority(claim.priority), waited_s)
        return ended

    @contextmanager
    def _traced(self, claim: Claim) -> Iterator[Span]:
        named = {"study_id": str(claim.study_id), "attempt": str(claim.attempt), "priority": claim.priority}
        waited = claim.since_queued
        with self.tracing.span("study", parent=claim.traceparent, since=waited, **named) as span:
            with self.tracing.span("queue", since=waited):
                pass
            yield span

    def _attempt(self, claim: Claim) -> tuple[list[LesionOutcome], Ended | None]:
        try:
            with self.books.at_work():
                outcomes = self._score(study_of(claim))
            with self.tracing.span("write"):
                return outcomes, retry_while_away(lambda: self.books.finish(claim, outcomes), DATABASE_AWAY)
        except Unavailable:
            self.measures.attempt_failed("away")
            retry_while_away(lambda: self.books.release(claim), DATABASE_AWAY)
            raise
        except (*DATABASE_AWAY, Stopping):
            raise
        except Exception as error:  # noqa: BLE001  any defect counts as an attempt, and is told in study_event
            self.measures.attempt_failed("defect")
            defect = error
        retry_while_away(lambda: self.books.fail_attempt(claim, defect), DATABASE_AWAY)
        raise Unavailable(Code.INTERNAL_ERROR) from None

    def _score(self, study: Study) -> list[LesionOutcome]:
        try:
            with self.tracing.span("decode"), self.source.folder(study) as folder:
                started = self._decode(study, folder)
        except Refused as refused:
            return [LesionOutcome(lesion, refused=refused) for lesion in study.lesions]
        with self.tracing.span("inference"):
            return [self._end(*started[lesion.lesion_id]) for lesion in study.lesions]

    def _decode(self, study: Study, folder: Folder) -> "dict[str, _Started]":
        files = self.decoders.index(folder.root, folder.paths, study.study_instance_uid)
        gathering = Gathering()
        with self.engine.arriving(study.study_instance_uid) as engine:
            return {
                lesion.lesion_id: self._start(engine, lesion, images, study.priority)
                for marks in by_frame(study.lesions)
                for lesion, images in gathering.take(
                    marks, self._load(study, folder, files, [mark.image for mark in marks])
                )
            }

    def _load(
        self, study: Study, folder: Folder, files: StudyFiles, images: Sequence[MarkedImage]
    ) -> Sequence[LesionImage | LesionRefused]:
        refused = folder.refused.get(images[0].sop_instance_uid)
        if refused is not None:
            return [LesionRefused(refused.code, refused.reason) for _ in images]
        try:
            return self.decoders.load(files, images, study.age_years)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  a defect met on one frame is not the others' end
            return [defect_of(error) for _ in images]

    def _start(self, engine: Submits, lesion: Lesion, loaded: Sequence[Loaded], priority: Priority) -> _Started:
        images = tuple(
            ImageOutcome(one) if isinstance(one, LesionImage) else ImageOutcome(refused=one) for one in loaded
        )
        refused = none_read(images)
        if refused is not None:
            return LesionOutcome(lesion, images, refused=refused), None
        try:
            read = of_one_age([one for one in loaded if isinstance(one, LesionImage)])
            future = engine.submit(read, priority)
            return LesionOutcome(lesion, without_pixels(images)), future
        except Refused as refused:
            return LesionOutcome(lesion, images, refused=refused), None
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  a defect met on one lesion is not its neighbours' end
            return LesionOutcome(lesion, images, refused=defect_of(error)), None

    def _end(self, outcome: LesionOutcome, future: Future[Scores] | None) -> LesionOutcome:
        if future is None:
            return outcome
        lesion, images = outcome.lesion, outcome.images
        try:
            scores = self._scores(future)
        except ImagesRefused as refused:
            images = refused_by_models(images, refused)
            return LesionOutcome(lesion, images, refused=too_few(images, refused))
        except Refused as refused:
            return LesionOutcome(lesion, images, refused=refused)
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  the same
            return LesionOutcome(lesion, images, refused=defect_of(error))
        assessment = restratify(
            lesion.birads,
            high_risk=scores.lh.positive,
            malignant=scores.bm.positive,
            lh_set=scores.lh.conformal_set,
            bm_set=scores.bm.conformal_set,
        )
        return LesionOutcome(lesion, answered(images, scores.images), scores, assessment)

    def _scores(self, future: Future[Scores]) -> Scores:
        """Wait for the device, for as long as it takes on others; one that hangs on these is given up."""
        while True:
            working = at_work(future)
            wait([future], self.inference_timeout_s)
            if future.done():
                return future.result()
            if working & at_work(future):
                logger.critical("the device has hung for %.0f s: this worker exits", self.inference_timeout_s)
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
        images=images_of(job),
        lesions=job.marked,
    )
