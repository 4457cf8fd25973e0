"""The inference engine: both models on one device, fed by all waiting studies."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from typing import Self, cast

import numpy as np

from worker.batcher import Batcher, Joined
from worker.clinical.categories import Priority
from worker.errors import Code, ImagesRefused, LesionRefused, ModelRefused, Unavailable
from worker.inference.ensemble import by_model
from worker.inference.lesion_score import ImageAnswers, answers_of, joined, lesion_scores
from worker.inference.model_card import ModelCard
from worker.inference.preprocess import pixels_for_each
from worker.inference.runner import Logits, Pixels, Runner, probabilities
from worker.study import LesionImage, Scores, site_of
from worker.telemetry.measures import Measures

logger = logging.getLogger(__name__)

LOST_AFTER_S = 30.0
"""How long a device may fail on everything until its process is given up, in seconds."""

RANKS = {Priority.STAT: 0, Priority.URGENT: 1, Priority.ROUTINE: 2}


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image, as a batch takes it: the age, and pixels for each model (the same where the cards agree)."""

    lh: Pixels
    bm: Pixels
    age_years: float


@dataclass(frozen=True, slots=True)
class _Part:
    """Images of one lesion that go in one batch: all of them, unless it has more than a batch takes; and its site."""

    images: Sequence[Prepared]
    is_whole: bool
    site: str | None

    def weight(self) -> int:
        return len(self.images)


_Answer = Scores | ImageAnswers
"""Of a whole lesion, and of a part of one."""


class Engine:
    """Scores lesions with both models, in batches across studies.

    Args:
        cards: of DLR_LH and DLR_BM.
        runner: both models on their device.
        batch_max: the most images in one batch; ``None``: what suits the device.
        wait_s: the longest wait for more, while more is arriving, in seconds.
        measures: is told of each batch.
        lost: is called, on any thread, once the device has failed on blank images too for ``lost_after_s`` seconds, and
            on everything else meanwhile: after some errors CUDA does nothing more for a process.
        lost_after_s: longer than a card may be out of memory because of others on it.
    """

    def __init__(
        self,
        cards: tuple[ModelCard, ModelCard],
        runner: Runner,
        batch_max: int | None,
        wait_s: float,
        measures: Measures | None = None,
        lost: Callable[[], object] = lambda: None,
        lost_after_s: float = LOST_AFTER_S,
    ) -> None:
        self._cards = cards
        self._lost, self._lost_after_s = lost, lost_after_s
        self._failing_since: float | None = None
        self._measures = measures or Measures()
        self._runner = runner
        self._preprocessing = tuple(card.preprocessing for card in cards)
        self._batch_max = batch_max or runner.batch_max
        self._min_images = max(card.min_images for card in cards)
        self._batcher: Batcher[_Part, _Answer] = Batcher(
            self._answers,
            batch_max=self._batch_max,
            wait_s=wait_s,
            threads=runner.threads,
            nobodys=(Unavailable,),
            weigh=_Part.weight,
        )

    @property
    def studies(self) -> int:
        """So many studies at hand keep the device busy."""
        return self._runner.studies

    @property
    def gather_s(self) -> float:
        """How long a result may wait for others', to be written with them, in seconds."""
        return self._runner.gather_s

    @property
    def cards(self) -> tuple[ModelCard, ModelCard]:
        """The cards of DLR_LH and DLR_BM."""
        return self._cards

    @property
    def min_images(self) -> int:
        """So many images of a lesion have to have scores: as many as the stricter of both cards asks for."""
        return self._min_images

    def submit(self, images: Sequence[LesionImage], priority: Priority) -> Future[Scores]:
        """Queue one lesion for both models. Its pixels are cropped and resized on the caller's thread.

        Its images travel in one batch, unless they are more than a batch takes.

        Args:
            images: of the lesion, one at least.
            priority: the study's; ``stat`` is batched before ``urgent`` before ``routine``.

        Returns:
            The scores to come, with what became of each image. The future fails with ImagesRefused when fewer images
            than ``min_images`` have scores: with the code of the first, ``scores_not_finite`` or ``inference_failed``,
            where none has, ``images_too_few`` else; or with Unavailable, ``device_unavailable``, when the device scores
            nothing at all.

        Raises:
            Unavailable: ``device_unavailable``, when the engine is closed.
        """
        prepared = [self._prepared(image) for image in images]
        rank, most, site = RANKS[priority], self._batch_max, site_of(images)
        if len(prepared) <= most:
            return cast("Future[Scores]", self._batcher.submit(_Part(prepared, is_whole=True, site=site), rank))
        firsts = range(0, len(prepared), most)
        parts = [_Part(prepared[first : first + most], is_whole=False, site=site) for first in firsts]
        return Joined([self._batcher.submit(part, rank) for part in parts], partial(self._joined, site))

    def _prepared(self, image: LesionImage) -> Prepared:
        lh, bm = pixels_for_each(image.frame, image.region, self._preprocessing)
        return Prepared(lh, bm, image.age.years)

    def _joined(self, site: str | None, parts: Sequence[_Answer]) -> Scores:
        return lesion_scores(self._cards, joined(cast("Sequence[ImageAnswers]", parts)), self._min_images, site)

    @contextmanager
    def arriving(self, _study_instance_uid: str | None = None, /) -> Iterator[Self]:
        """Say that a study's lesions are on their way, to this engine: a batch that is not full may wait for them."""
        with self._batcher.arriving():
            yield self

    def close(self, timeout_s: float | None = None) -> None:
        """Score what is waiting, take no more, and end the thread (see ``Batcher.close``)."""
        self._batcher.close(timeout_s)

    def _answers(self, batch: Sequence[_Part]) -> list[_Answer | Exception]:
        """Answer a batch. A lesion of which too few images can be scored is refused, and its neighbours are not."""
        images = [image for part in batch for image in part.images]
        refused: dict[int, LesionRefused] = {}
        logits = self._logits(images, 0, refused)
        answers = answers_of(self._cards, logits, refused)
        ends = accumulate(map(_Part.weight, batch))
        return [self._answer(part, answers.at(end - part.weight(), end)) for part, end in zip(batch, ends, strict=True)]

    def _answer(self, part: _Part, images: ImageAnswers) -> _Answer | Exception:
        if not part.is_whole:
            return images
        try:
            return lesion_scores(self._cards, images, self._min_images, part.site)
        except ImagesRefused as refused:
            return refused

    def _logits(self, images: Sequence[Prepared], first: int, refused: dict[int, LesionRefused]) -> Logits:
        """Score images. Those that the device fails on are halved until the bad one is alone: it alone is refused.

        Args:
            images: of any lesions.
            first: the place of the first of them.
            refused: takes those that the device fails on, by place; their logits are not finite.
        """
        try:
            with self._measures.timing_batch(len(images)):
                logits = self._forward(images)
        except (RuntimeError, MemoryError) as error:
            failed = type(error).__qualname__
        else:
            self._failing_since = None
            # Some devices' ReLU makes a number of what is none, so that the scores alone do not tell.
            of_an_age = np.isfinite([image.age_years for image in images])
            return logits if of_an_age.all() else np.where(of_an_age[:, None, None], logits, np.float32(np.nan))
        if len(images) == 1:
            # The device's own message is not repeated: it may be of any length and hold anything.
            logger.error("the device failed on an image of a lesion: %s", failed)
            self._probe_again()
            refused[first] = LesionRefused(Code.INFERENCE_FAILED)
            return np.full((1, 2, 2), np.nan, np.float32)
        middle = len(images) // 2
        halves = (images[:middle], first), (images[middle:], first + middle)
        return np.concatenate([self._logits(half, place, refused) for half, place in halves])

    def _forward(self, images: Sequence[Prepared]) -> Logits:
        lh, bm, ages = [one.lh for one in images], [one.bm for one in images], [one.age_years for one in images]
        return by_model(self._cards, self._runner.run(lh, bm, ages))

    def _probe_again(self) -> None:
        """Probe a device that has failed, and give it up where it has failed on everything for too long."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        try:
            self.probe()
        except Unavailable:
            if now - self._failing_since >= self._lost_after_s:
                logger.critical("the device has failed for %.0f s: this worker exits", now - self._failing_since)
                self._lost()
            raise
        self._failing_since = None

    def probe(self) -> None:
        """Score a blank image, which no healthy device refuses.

        Raises:
            Unavailable: ``device_unavailable``: the device is at fault, and no lesion.
            ModelRefused: ``weights_shape_mismatch``: the weights give scores that are not finite.
        """
        lh, bm = (np.zeros((_channels(card), card.input_size, card.input_size), np.uint8) for card in self._cards)
        try:
            (scores,) = probabilities(self._forward([Prepared(lh, bm, self._cards[0].age_mean)]))
        except (RuntimeError, MemoryError):
            raise Unavailable(Code.DEVICE_UNAVAILABLE, "the device fails on a blank image too") from None
        for card, row in zip(self._cards, scores, strict=True):
            if not np.isfinite(row).all():
                reason = f"{card.name} {card.version}: the scores of a blank image are not finite"
                raise ModelRefused(Code.WEIGHTS_SHAPE_MISMATCH, reason)


def _channels(card: ModelCard) -> int:
    return 1 if card.channels == "gray" else 3
