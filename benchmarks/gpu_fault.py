"""``python -m benchmarks.gpu_fault FAULT``: a card that fails under an engine, in a process that may end of it.

``memory``: the card has none left for a while, and lesions are scored afterwards; exit status 0. ``sticky``: each call
fails from now on, as after a CUDA error that spoils the process's context; the engine ends the process, and not with 0.
"""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import TimeoutError as TooLong
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import torch

from benchmarks.gpu_card import card
from benchmarks.samples import cards, lesion
from worker.clinical.categories import Priority
from worker.errors import DlrError
from worker.inference.engine import Engine
from worker.inference.runner import Logits, Pixels, Runner

BATCH = 8
GIVEN_UP_AFTER_S = 2.0
PATIENCE_S = 60.0


class FailingRunner:
    """A runner whose device fails for as long as it is told to."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.tolerance, self.threads, self.batch_max = runner.tolerance, runner.threads, runner.batch_max
        self.studies, self.gather_s = runner.studies, runner.gather_s
        self.fails = False

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> Logits:
        if self.fails:
            raise RuntimeError
        return self._runner.run(lh, bm, ages)


def main() -> None:
    fault, simulated = sys.argv[1], "--simulated" in sys.argv
    with TemporaryDirectory() as folder, card(Path(folder), simulated=simulated) as at:
        runner = FailingRunner(at.runner(BATCH))
        engine = Engine(cards(), runner, BATCH, 0.01, lost=_end, lost_after_s=GIVEN_UP_AFTER_S)
        _score(engine)
        if fault == "memory":
            held = [] if simulated else _all_memory()
            runner.fails = simulated
            with suppress(DlrError):
                _score(engine)
            held.clear()
            runner.fails = False
            _score(engine)
            engine.close()
            return
        if simulated:
            runner.fails = True
        else:
            _spoil()
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            with suppress(DlrError, TooLong):
                _score(engine)
            time.sleep(0.2)


def _score(engine: Engine) -> None:
    engine.submit([lesion()], Priority.ROUTINE).result(PATIENCE_S)


def _end() -> NoReturn:
    os._exit(os.EX_SOFTWARE)


def _all_memory() -> list[torch.Tensor]:
    """Take what memory is left on the card, in smaller and smaller parts."""
    held, size = [], 1 << 34
    while size >= 1 << 20:
        try:
            held.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
        except torch.OutOfMemoryError:
            size //= 2
    return held


def _spoil() -> None:
    """Read behind an array's end on the card: an assertion there, after which CUDA answers this process no more."""
    with suppress(RuntimeError):
        torch.zeros(4, device="cuda")[torch.tensor([1 << 20], device="cuda")]
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()
