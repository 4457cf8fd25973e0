"""A device that scores fast and predictably, in place of the two models; the worker around it is the real one.

``python -m benchmarks.faults.simulated_device`` is `dlr worker --queue inference` on that device. A lesion's scores
follow from its pixels and its age, so that a swapped lesion or a wrong age shows. Some widths are poison.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from worker.clinical.aggregation import aggregate
from worker.clinical.categories import Priority
from worker.errors import Code, LesionRefused
from worker.inference.model_card import CLASSES, MODEL_NAMES, ModelCard
from worker.study import ImageScore, LesionImage, Score, Scores

DEVICE_MS = "FAULTS_DEVICE_MS"
"""Variable: milliseconds that the device takes for one lesion."""

VERSION = "simulated-1"
KILLS_ITS_WORKER, RAISES_MEMORY_ERROR, HANGS, QUOTES_WHAT_IT_GOT = 13, 17, 19, 23
"""Widths of a lesion's region that are poison."""

_PARTS = 9973


def scores_of(crop: NDArray[np.uint8], age_years: float) -> tuple[float, float]:
    """Return the positive probabilities of DLR_LH and DLR_BM for a lesion's region, uint8, and an age."""
    seen = crc32(np.ascontiguousarray(crop).tobytes())
    return seen % _PARTS / _PARTS, crc32(repr(age_years).encode(), seen) % _PARTS / _PARTS


class SimulatedEngine:
    """The engine's interface (`worker.scoring.pipeline.ScoringEngine`); one thread is the device."""

    studies = 8
    gather_s = 0.04

    def __init__(self) -> None:
        self._device = ThreadPoolExecutor(1)
        self._seconds = float(os.environ.get(DEVICE_MS, "2")) / 1000
        self.cards = tuple(_card(name) for name in MODEL_NAMES)

    def submit(self, images: Sequence[LesionImage], priority: Priority) -> Future[Scores]:  # noqa: ARG002
        return self._device.submit(self._scores, images)

    def arriving(self, _study_instance_uid: str, /) -> "AbstractContextManager[SimulatedEngine]":
        return nullcontext(self)

    def _scores(self, images: Sequence[LesionImage]) -> Scores:
        """The mean over the images, as the cards say."""
        answered = [self._answered(image) for image in images]
        lh, bm = (aggregate("mean", scores) for scores in zip(*answered, strict=True))
        return Scores(_score("DLR_LH", lh), _score("DLR_BM", bm), tuple(ImageScore(*one) for one in answered))

    def _answered(self, image: LesionImage) -> tuple[float, float]:
        region = image.region
        if region.width == KILLS_ITS_WORKER:
            os.kill(os.getpid(), signal.SIGKILL)
        if region.width == RAISES_MEMORY_ERROR:
            raise LesionRefused(Code.INFERENCE_FAILED) from MemoryError()  # as worker.inference.engine does
        if region.width == QUOTES_WHAT_IT_GOT:
            raise ValueError(f"a defect that quotes {image.scanner}")
        while region.width == HANGS:
            time.sleep(1)
        time.sleep(self._seconds)
        crop = image.frame[region.y : region.y + region.height, region.x : region.x + region.width]
        return scores_of(crop, image.age.years)


def _score(model: str, probability: float) -> Score:
    negative, positive = next(classes for name, classes in CLASSES.items() if name == model)
    reached = probability >= 0.5
    pair = ((negative, 1 - probability), (positive, probability))
    return Score(model, VERSION, pair, probability, reached, positive if reached else negative, 0.5)


def _card(name: str) -> ModelCard:
    return ModelCard.model_validate(
        {
            "schema_version": 1,
            "name": name,
            "version": VERSION,
            "backbone": "resnet18",
            "classes": next(classes for model, classes in CLASSES.items() if model == name),
            "positive_class": next(classes for model, classes in CLASSES.items() if model == name)[1],
            "input_size": 32,
            "channels": "gray",
            "pixel_mean": (0.0, 0.0, 0.0),
            "pixel_std": (1.0, 1.0, 1.0),
            "roi_margin": 0.0,
            "age_mean": 44.0,
            "age_sd": 12.0,
            "threshold": 0.5,
            "weights_sha256": "0" * 64,
            "intended_use": "fault injection",
            "training_data": "none",
            "notice": "simulated device, not for clinical use",
            "created_at": datetime(2026, 11, 24, tzinfo=UTC),
        }
    )


def main() -> None:
    from worker import runtime
    from worker.cli.main import main as dlr
    from worker.inference import reference_process

    engine = SimulatedEngine()
    runtime.engine = lambda: engine  # type: ignore[assignment,return-value]
    reference_process.begin = lambda *_: None  # nothing is compared
    sys.argv[1:] = ["worker", "--queue", "inference", *sys.argv[1:]]
    dlr()


if __name__ == "__main__":
    main()
