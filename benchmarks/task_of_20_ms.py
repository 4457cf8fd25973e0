"""``python -m benchmarks.task_of_20_ms`` is `dlr worker --queue inference` on studies that take 20 ms, eight at once.

Nothing is decoded and nothing is computed, so that what surrounds the work is measured alone: a message that is
acknowledged late, a ledger that is written before and after, and a reconciler that looks on.
"""

import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from benchmarks.samples import cards, lesion
from worker.clinical.categories import Priority
from worker.imaging.study_files import StudyFiles
from worker.inference.lesion_score import score_of
from worker.study import ImageScore, Lesion, LesionImage, Scores

AT_ONCE = 8
_PROBABILITIES = (0.25, 0.75)


class NoDecoders:
    """Gives every lesion the same image, at once."""

    def __init__(self) -> None:
        self._image = lesion()

    def index(self, root: Path, paths: Sequence[str], study_instance_uid: str) -> StudyFiles:  # noqa: ARG002
        return StudyFiles({})

    def load(self, files: StudyFiles, lesions: Sequence[Lesion], age_years: float | None) -> list[LesionImage]:  # noqa: ARG002
        return [self._image for _ in lesions]


class SleepingEngine:
    """Scores each lesion in 20 ms, eight at once and no more: what plain Celery has in eight threads."""

    cards = cards()
    studies = AT_ONCE
    gather_s = 0.04

    def __init__(self) -> None:
        self._slots = threading.Semaphore(AT_ONCE)

    def submit(self, images: Sequence[LesionImage], priority: Priority) -> Future[Scores]:  # noqa: ARG002
        with self._slots:
            time.sleep(0.02)
        scored: Future[Scores] = Future()
        lh, bm = (score_of(card, _PROBABILITIES) for card in self.cards)
        alone = ImageScore(lh.positive_probability, bm.positive_probability)
        scored.set_result(Scores(lh, bm, (alone,) * len(images)))
        return scored

    def arriving(self, _study_instance_uid: str, /) -> "AbstractContextManager[SleepingEngine]":
        return nullcontext(self)


def main() -> None:
    from worker import runtime
    from worker.cli.main import main as dlr
    from worker.inference import reference_process

    engine, decoders = SleepingEngine(), NoDecoders()
    runtime.engine = lambda: engine  # type: ignore[assignment,return-value]
    reference_process.begin = lambda *_: None  # nothing is compared
    runtime.decoders = lambda: decoders  # type: ignore[assignment,return-value]
    sys.argv[1:] = ["worker", "--queue", "inference", *sys.argv[1:]]
    dlr()


if __name__ == "__main__":
    main()
