"""The inference engine: both models on one device, fed by all waiting studies."""

import logging
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from worker.batcher import Batcher
from worker.clinical.categories import Priority
from worker.clinical.conformal import conformal_set
from worker.errors import Code, LesionRefused, ModelRefused, Unavailable
from worker.inference.cpu import cpu_runner
from worker.inference.devices import choose_device
from worker.inference.model_card import ModelCard
from worker.inference.model_pair import ModelPair, Pixels, Runner, TorchRunner, probabilities, temperatures_of
from worker.inference.preprocess import pixels_for_each
from worker.inference.registry import Registry
from worker.inference.weights import load_network
from worker.study import LesionImage, Score, Scores
from worker.telemetry.measures import Measures

logger = logging.getLogger(__name__)

_COMPARED = 3
"""Images of noise on which a device is compared with PyTorch."""

RANKS = {Priority.STAT: 0, Priority.URGENT: 1, Priority.ROUTINE: 2}


@dataclass(frozen=True, slots=True)
class Prepared:
    """One lesion, as a batch takes it: pixels for each model (the same where the cards agree) and the age."""

    lh: Pixels
    bm: Pixels
    age_years: float


class Engine:
    """Scores lesions with both models, in batches across studies.

    Args:
        cards: of DLR_LH and DLR_BM.
        runner: both models on their device.
        batch_max: the most lesions in one batch; ``None``: what suits the device.
        wait_s: the longest wait for more, while more is arriving, in seconds.
        measures: is told of each batch.
    """

    def __init__(
        self,
        cards: tuple[ModelCard, ModelCard],
        runner: Runner,
        batch_max: int | None,
        wait_s: float,
        measures: Measures | None = None,
    ) -> None:
        self._cards = cards
        self._measures = measures or Measures()
        self._runner = runner
        self._temperatures = temperatures_of(cards)
        self._preprocessing = tuple(card.preprocessing for card in cards)
        self._batcher: Batcher[Prepared, Scores] = Batcher(
            self._score, batch_max=batch_max or runner.batch_max, wait_s=wait_s, threads=runner.threads
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

    def submit(self, image: LesionImage, priority: Priority) -> Future[Scores]:
        """Queue one lesion for both models. Its pixels are cropped and resized on the caller's thread.

        Args:
            image: the lesion.
            priority: the study's; ``stat`` is batched before ``urgent`` before ``routine``.

        Returns:
            The scores to come. The future fails with LesionRefused, ``scores_not_finite`` or ``inference_failed``; or
            with Unavailable, ``device_unavailable``, when the device scores nothing at all.

        Raises:
            Unavailable: ``device_unavailable``, when the engine is closed.
        """
        lh, bm = pixels_for_each(image.frame, image.region, self._preprocessing)
        return self._batcher.submit(Prepared(lh, bm, image.age.years), RANKS[priority])

    def arriving(self) -> AbstractContextManager[None]:
        """Say that lesions are on their way, until the context ends: a batch that is not full may wait for them."""
        return self._batcher.arriving()

    def close(self, timeout_s: float | None = None) -> None:
        """Score what is waiting, take no more, and end the thread (see ``Batcher.close``)."""
        self._batcher.close(timeout_s)

    def _score(self, batch: Sequence[Prepared]) -> list[Scores]:
        """Score a batch. One lesion alone is refused with its code; a larger batch fails as it likes."""
        try:
            with self._measures.timing_batch(len(batch)):
                scores = self._forward(batch)
        except (RuntimeError, MemoryError) as error:
            if len(batch) > 1:
                raise
            # The device's own message is not repeated: it may be of any length and hold anything.
            logger.error("the device failed on a lesion: %s", type(error).__qualname__)
            self.probe()
            raise LesionRefused(Code.INFERENCE_FAILED) from None
        # Some devices' ReLU makes a number of what is none, so that the scores alone do not tell.
        if not np.isfinite(scores).all() or not np.isfinite([one.age_years for one in batch]).all():
            raise LesionRefused(Code.SCORES_NOT_FINITE)
        lh, bm = self._cards
        return [Scores(score_of(lh, lh_row), score_of(bm, bm_row)) for lh_row, bm_row in scores]

    def _forward(self, batch: Sequence[Prepared]) -> NDArray[np.float64]:
        lh, bm, ages = [one.lh for one in batch], [one.bm for one in batch], [one.age_years for one in batch]
        return probabilities(self._runner.run(lh, bm, ages), self._temperatures)

    def probe(self) -> None:
        """Score a blank image, which no healthy device refuses.

        Raises:
            Unavailable: ``device_unavailable``: the device is at fault, and no lesion.
            ModelRefused: ``weights_shape_mismatch``: the weights give scores that are not finite.
        """
        lh, bm = (np.zeros((_channels(card), card.input_size, card.input_size), np.uint8) for card in self._cards)
        try:
            (scores,) = self._forward([Prepared(lh, bm, self._cards[0].age_mean)])
        except (RuntimeError, MemoryError):
            raise Unavailable(Code.DEVICE_UNAVAILABLE, "the device fails on a blank image too") from None
        for card, row in zip(self._cards, scores, strict=True):
            if not np.isfinite(row).all():
                reason = f"{card.name} {card.version}: the scores of a blank image are not finite"
                raise ModelRefused(Code.WEIGHTS_SHAPE_MISMATCH, reason)


def score_of(card: ModelCard, probabilities: NDArray[np.float64]) -> Score:
    """Read one lesion's probabilities, float64 (classes,), as the card says."""
    values = [float(value) for value in probabilities]
    probability = values[card.positive_index]
    positive = probability >= card.threshold
    by_class = tuple(zip(card.classes, values, strict=True))
    return Score(
        model=card.name,
        version=card.version,
        probabilities=by_class,
        positive_probability=probability,
        positive=positive,
        predicted_class=card.positive_class if positive else card.negative_class,
        threshold=card.threshold,
        conformal_set=None if card.conformal is None else conformal_set(by_class, card.conformal.quantile),
    )


def load_engine(
    models_dir: Path, device: str, batch_max: int | None, wait_ms: float, measures: Measures | None = None
) -> Engine:
    """Load both active models and start the engine, once it scores as PyTorch does in float32.

    Args:
        models_dir: the registry's folder.
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        batch_max: the most lesions in one batch; ``None``: what suits the device.
        wait_ms: the longest wait for more, while more is arriving, in milliseconds.
        measures: is told of each batch.

    Raises:
        ModelRefused: a model is not active, or its card and weights do not fit each other; the reason says where.
        SetupRefused: ``setting_invalid``, when there is no such device.
        Unavailable: ``device_unavailable``, when the device does not score, or scores differently.
    """
    place = choose_device(device)
    registry = Registry(models_dir)
    lh, bm = registry.active("DLR_LH"), registry.active("DLR_BM")
    cards = lh.card, bm.card
    pair = ModelPair(cards, [load_network(one.card, one.weights_path, torch.device("cpu")) for one in (lh, bm)])
    noise = pair.noise(_COMPARED)
    temperatures = temperatures_of(cards)
    expected = probabilities(TorchRunner(pair).run(*noise), temperatures)
    runner = _runner_on(place, pair, batch_max)
    engine = Engine(cards, runner, batch_max, wait_ms / 1000, measures)
    engine.probe()
    difference = float(np.abs(probabilities(runner.run(*noise), temperatures) - expected).max())
    if not difference <= runner.tolerance:
        engine.close()
        reason = f"the device's scores differ by {difference:.2g} from PyTorch's in float32"
        raise Unavailable(Code.DEVICE_UNAVAILABLE, reason)
    return engine


def _runner_on(device: torch.device, pair: ModelPair, batch_max: int | None) -> Runner:
    if device.type == "cuda":
        from worker.inference.cuda import CudaRunner

        return CudaRunner(pair, device) if batch_max is None else CudaRunner(pair, device, batch_max)
    return cpu_runner(pair)


def _channels(card: ModelCard) -> int:
    return 1 if card.channels == "gray" else 3
