"""One pass through the stored lesions: those that lack a version's score get it, or the reason why they cannot."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event
from typing import Final, Protocol

from sqlalchemy.orm import Session, sessionmaker

from db.outages import DATABASE_AWAY
from db.schema.records import ImagePrediction
from db.writes import rescoring
from db.writes.rescoring import ScoresWanted, StoredLesion, StoredStudy
from worker.errors import Code, DlrError, Refused, Unavailable
from worker.rescoring.stored_images import Loaded, StoredImages, keys_of
from worker.scoring.lesion_outcome import defect_of, prediction_record
from worker.study import LesionImage, LesionScore

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the ledger is asked whether live work is done, in seconds."""

AWAY_IN_A_ROW: Final = 3
"""So many studies one after the other whose images are away are no matter of a study any more."""


class Model(Protocol):
    """One version of one model (`worker.inference.single_model.SingleModel`)."""

    def score(self, images: Sequence[LesionImage]) -> LesionScore:
        """Score a lesion by its images."""


@dataclass(slots=True)
class Done:
    """What a pass did.

    Attributes:
        scored: scores that were added, by the version's key.
        refused: lesions that a version could not score, by its key and the code.
        away: studies whose images were away; they are tried again at the next pass.
        is_whole: it came to the end.
    """

    scored: Counter[int] = field(default_factory=Counter)
    refused: Counter[tuple[int, str]] = field(default_factory=Counter)
    away: int = 0
    is_whole: bool = False

    @property
    def lesions(self) -> int:
        """Scores that were added and refusals that were written down."""
        return self.scored.total() + self.refused.total()


OnProgress = Callable[[Done, bool], None]
"""Is given what was done so far, and whether live work is waited for."""


@dataclass(frozen=True, slots=True)
class Rescorer:
    """Scores stored lesions while no live study waits. What it has done is committed row by row.

    Attributes:
        sessions: of ``dlr_shadow``.
        images: reads the lesions.
        stopped: ends a pass at the next lesion.
        on_progress: hears of each lesion.
    """

    sessions: sessionmaker[Session]
    images: StoredImages
    stopped: Event = field(default_factory=Event)
    on_progress: OnProgress = lambda _done, _waits: None

    def live_work_waits(self) -> bool:
        """Return whether a study is queued or runs."""
        with self.sessions() as session:
            return rescoring.live_work_waits(session)

    def run(
        self,
        models: Mapping[int, Model],
        wanted: Sequence[ScoresWanted],
        *,
        above: int = 0,
        limit: int | None = None,
        again: bool = False,
    ) -> Done:
        """Go through the lesions once, the latest first.

        Args:
            models: the versions, by their keys.
            wanted: the same versions, and since when.
            above: no lesion whose key is this or less.
            limit: scores and refusals at most.
            again: also lesions that could not be scored before.

        Raises:
            Unavailable: the storage, the DICOMweb server or the device is away.
            DatabaseAway: PostgreSQL is.
        """
        done, in_a_row, below = Done(), 0, None
        while True:
            with self.sessions() as session:
                page = rescoring.page(session, wanted, below=below, above=above, again=again)
            for study in page.studies:
                try:
                    self._study(study, models, done, limit)
                    in_a_row = 0
                except Unavailable:
                    done.away, in_a_row = done.away + 1, in_a_row + 1
                    if in_a_row == AWAY_IN_A_ROW:
                        raise
                if self._is_enough(done, limit):
                    return done
            if page.lowest is None:
                done.is_whole = not done.away
                return done
            below = page.lowest

    def _study(self, study: StoredStudy, models: Mapping[int, Model], done: Done, limit: int | None) -> None:
        self._let_live_work_pass(done)
        if self._is_enough(done, limit):
            return
        images = self._load(study)
        for lesion in study.lesions:
            for key in lesion.model_keys:
                self._let_live_work_pass(done)
                if self._is_enough(done, limit):
                    return
                self._one(lesion, key, models[key], [images[image.key] for image in lesion.images], done)

    def _load(self, study: StoredStudy) -> Mapping[int, Loaded]:
        try:
            return self.images.load(study)
        except (Unavailable, *DATABASE_AWAY):
            raise
        except Exception as error:  # noqa: BLE001  a defect met on one study is not the others' end
            return dict.fromkeys(keys_of(study), defect_of(error))

    def _one(self, lesion: StoredLesion, key: int, model: Model, images: Sequence[Loaded], done: Done) -> None:
        score = self._score(model, images)
        with self.sessions.begin() as session:
            if isinstance(score, DlrError):
                rescoring.add_refusal(session, lesion.key, key, score.code.value)
            else:
                rescoring.add_score(session, lesion.key, key, prediction_record(score.score), _of_images(lesion, score))
        if isinstance(score, DlrError):
            done.refused[key, score.code.value] += 1
        else:
            done.scored[key] += 1
        self.on_progress(done, False)

    def _score(self, model: Model, images: Sequence[Loaded]) -> LesionScore | Refused:
        """Score a lesion by all the images that it was scored by; without one of them it would be another score."""
        read = [image for image in images if isinstance(image, LesionImage)]
        unread = [image for image in images if isinstance(image, Refused)]
        if unread:
            # That some file of the study is another one is said of each image that can be read.
            return next((why for why in unread if why.code is not Code.IMAGE_CHANGED), unread[0])
        try:
            return model.score(read)
        except Unavailable:
            raise
        except Refused as refused:
            return refused
        except Exception as error:  # noqa: BLE001  the same
            return defect_of(error)

    def _let_live_work_pass(self, done: Done) -> None:
        while not self.stopped.is_set() and self.live_work_waits():
            self.on_progress(done, True)
            self.stopped.wait(LOOK_S)

    def _is_enough(self, done: Done, limit: int | None) -> bool:
        return self.stopped.is_set() or (limit is not None and done.lesions >= limit)


def _of_images(lesion: StoredLesion, score: LesionScore) -> dict[int, ImagePrediction]:
    return {
        image.key: ImagePrediction(score.score.model, score.score.version, said)
        for image, said in zip(lesion.images, score.images, strict=True)
        if not isinstance(said, Refused)
    }
