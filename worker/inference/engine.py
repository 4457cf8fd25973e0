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
from torch import Tensor

from worker.clinical.categories import Priority
from worker.errors import Code, LesionRefused, ModelRefused, SetupRefused, Unavailable
from worker.inference.batcher import Batcher
from worker.inference.card import ModelCard
from worker.inference.network import DlrNetwork
from worker.inference.preprocess import preprocess_for_each
from worker.inference.registry import Entry, Registry
from worker.inference.weights import load_network
from worker.study import LesionImage, Score, Scores

logger = logging.getLogger(__name__)

RANKS = {Priority.STAT: 0, Priority.URGENT: 1, Priority.ROUTINE: 2}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model on its device: its card, and its network in evaluation mode."""

    card: ModelCard
    network: DlrNetwork

    def probabilities(self, images: Tensor, ages: Tensor) -> NDArray[np.float64]:
        """Return the AI scores.

        Args:
            images: float32 (N, 3, S, S), preprocessed as the card says, on the network's device.
            ages: float64 (N,), years, on the same device.

        Returns:
            float64 (N, classes), in the card's order; each row sums to 1.
        """
        normalized = ((ages - self.card.age_mean) / self.card.age_sd).float()
        logits = self.network(images, normalized)
        probabilities: NDArray[np.float64] = torch.softmax(logits.double(), dim=1).cpu().numpy()
        return probabilities


@dataclass(frozen=True, slots=True)
class Prepared:
    """One lesion, as a batch takes it: an image for each model (the same one where the cards agree) and the age."""

    lh: NDArray[np.float32]
    bm: NDArray[np.float32]
    age_years: float


class Engine:
    """Scores lesions with both models; one thread owns the device.

    Args:
        lh: DLR_LH, on ``device``.
        bm: DLR_BM, on ``device``.
        device: where both are.
        batch_max: the most lesions in one batch.
        wait_s: the longest wait for more, while more is arriving, in seconds.
    """

    def __init__(self, lh: LoadedModel, bm: LoadedModel, device: torch.device, batch_max: int, wait_s: float) -> None:
        self._lh = lh
        self._bm = bm
        self._device = device
        self._preprocessing = (lh.card.preprocessing, bm.card.preprocessing)
        self._batcher: Batcher[Prepared, Scores] = Batcher(self._score, batch_max=batch_max, wait_s=wait_s)

    @property
    def cards(self) -> tuple[ModelCard, ModelCard]:
        """The cards of DLR_LH and DLR_BM."""
        return self._lh.card, self._bm.card

    def submit(self, image: LesionImage, priority: Priority) -> Future[Scores]:
        """Queue one lesion for both models. Its pixels are preprocessed on the caller's thread.

        Args:
            image: the lesion.
            priority: the study's; ``stat`` is batched before ``urgent`` before ``routine``.

        Returns:
            The scores to come. The future fails with LesionRefused, ``scores_not_finite`` or ``inference_failed``; or
            with Unavailable, ``device_unavailable``, when the device scores nothing at all.

        Raises:
            Unavailable: ``device_unavailable``, when the engine is closed.
        """
        lh, bm = preprocess_for_each(image.frame, image.region, self._preprocessing)
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
            lh, bm = self._forward(batch)
        except (RuntimeError, MemoryError) as error:
            if len(batch) > 1:
                raise
            # The device's own message is not repeated: it may be of any length and hold anything.
            logger.error("the device refused a lesion: %s", type(error).__qualname__)
            self.probe()
            raise LesionRefused(Code.INFERENCE_FAILED) from None
        if not (np.isfinite(lh).all() and np.isfinite(bm).all()):
            raise LesionRefused(Code.SCORES_NOT_FINITE)
        return [
            Scores(score_of(self._lh.card, lh_row), score_of(self._bm.card, bm_row))
            for lh_row, bm_row in zip(lh, bm, strict=True)
        ]

    def _forward(self, batch: Sequence[Prepared]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        with torch.inference_mode():
            ages = torch.tensor([one.age_years for one in batch], dtype=torch.float64, device=self._device)
            lh_images = self._to_device([one.lh for one in batch])
            shared = all(one.bm is one.lh for one in batch)
            bm_images = lh_images if shared else self._to_device([one.bm for one in batch])
            return self._lh.probabilities(lh_images, ages), self._bm.probabilities(bm_images, ages)

    def _to_device(self, images: list[NDArray[np.float32]]) -> Tensor:
        return torch.from_numpy(np.stack(images)).to(self._device)

    def probe(self) -> None:
        """Score a blank image, which no healthy device refuses.

        Raises:
            Unavailable: ``device_unavailable``: the device is at fault, and no lesion.
            ModelRefused: ``weights_shape_mismatch``: the weights give scores that are not finite.
        """
        lh, bm = (np.zeros((3, one.size, one.size), np.float32) for one in self._preprocessing)
        try:
            scores = self._forward([Prepared(lh, bm, self._lh.card.age_mean)])
        except (RuntimeError, MemoryError):
            raise Unavailable(Code.DEVICE_UNAVAILABLE, "the device refuses a blank image too") from None
        for card, rows in zip(self.cards, scores, strict=True):
            if not np.isfinite(rows).all():
                reason = f"{card.name} {card.version}: the scores of a blank image are not finite"
                raise ModelRefused(Code.WEIGHTS_SHAPE_MISMATCH, reason)


def score_of(card: ModelCard, probabilities: NDArray[np.float64]) -> Score:
    """Read one lesion's probabilities, float64 (classes,), as the card says."""
    values = [float(value) for value in probabilities]
    probability = values[card.positive_index]
    positive = probability >= card.threshold
    return Score(
        model=card.name,
        version=card.version,
        probabilities=tuple(zip(card.classes, values, strict=True)),
        positive_probability=probability,
        positive=positive,
        predicted_class=card.positive_class if positive else card.negative_class,
        threshold=card.threshold,
    )


def load_engine(models_dir: Path, device: str, batch_max: int, wait_ms: float) -> Engine:
    """Load both active models and start the engine.

    Args:
        models_dir: the registry's folder.
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        batch_max: the most lesions in one batch.
        wait_ms: the longest wait for more, while more is arriving, in milliseconds.

    Raises:
        ModelRefused: a model is not active, or its card and weights do not fit each other; the reason says where.
        SetupRefused: ``setting_invalid``, when there is no such device.
        Unavailable: ``device_unavailable``, when the device does not score a blank image.
    """
    place = choose_device(device)
    registry = Registry(models_dir)
    lh, bm = (_load(registry.active(name), place) for name in ("DLR_LH", "DLR_BM"))
    engine = Engine(lh, bm, place, batch_max, wait_ms / 1000)
    engine.probe()
    return engine


def choose_device(wanted: str) -> torch.device:
    """Read a device's name.

    Raises:
        SetupRefused: ``setting_invalid``, when this machine has no such device.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError:
        device = None
    if device == torch.device("cpu"):
        return device
    if device is None or device.type != "cuda" or (device.index or 0) >= torch.cuda.device_count():
        raise SetupRefused(
            Code.SETTING_INVALID, "DLR_DEVICE: this machine has no such device (auto, cpu, cuda, cuda:N)"
        )
    return device


def _load(entry: Entry, device: torch.device) -> LoadedModel:
    return LoadedModel(entry.card, load_network(entry.card, entry.weights_path, device))
