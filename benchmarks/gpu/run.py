"""What every part of the run works with: the card, the time that is left, and the rows that come of it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import numpy as np

from benchmarks.gpu.card import Card
from benchmarks.samples import SIZE
from worker.inference.runner import Batch, Runner, probabilities

BATCHES = (1, 8, 64, 256)
SMALL, LARGEST = 64, 256
"""A worker's own runner is for 64, and has a graph for a lone lesion; one for 256 has none."""


class CutOff(Exception):
    """The time of a part is over; says what it has not reached."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a value in its unit, or why there is none."""

    part: str
    what: str
    value: float | None
    unit: str
    goal: str = ""
    passed: bool | None = None
    why: str = ""

    def as_row(self) -> dict[str, object]:
        value = "" if self.value is None else f"{self.value:.4g}"
        reached = {True: "yes", False: "NO", None: "reported"}[self.passed]
        return {**asdict(self), "value": "; ".join(filter(None, [value, self.why])), "reached": reached}


def noise(count: int) -> Batch:
    """Return a batch of grey noise, the same at each call."""
    rng = np.random.default_rng(count)
    crops = [rng.integers(0, 256, (1, SIZE, SIZE), np.uint8) for _ in range(count)]
    return crops, crops, rng.uniform(20, 90, count).tolist()


@dataclass(slots=True)
class Run:
    """A run of the program.

    Attributes:
        at: the card.
        seconds: of one measurement.
        quick: small numbers.
        ends: when the time of the part at hand is over, as of time.monotonic().
    """

    at: Card
    seconds: float
    quick: bool
    ends: float = 0.0
    _runners: dict[int, Runner] = field(default_factory=dict)

    def left(self, instead: str = "") -> float:
        """Return the seconds that are left to the part at hand.

        Args:
            instead: what is not reached where none are.

        Raises:
            CutOff: none are.
        """
        seconds = self.ends - time.monotonic()
        if seconds <= 0:
            raise CutOff(instead)
        return seconds

    def runner(self, count: int) -> Runner:
        """Return our runner for batches of so many lesions, put on the card once."""
        largest = SMALL if count <= SMALL else LARGEST
        if largest not in self._runners:
            self._runners[largest] = self.at.runner(largest)
        return self._runners[largest]

    def furthest(self, runner: Runner, batch: Batch) -> float:
        """Return by how much a probability differs at most from PyTorch's in float32."""
        return float(np.abs(probabilities(runner.run(*batch)) - self.at.expected(batch)).max())

    def rate(self, score: Callable[[], int], threads: int = 1) -> float:
        """Score again and again from so many threads, a fifth of the time without counting; return lesions a second."""
        self.left()

        def repeated(seconds: float) -> int:
            done, ends = score(), min(time.monotonic() + seconds, self.ends)
            while time.monotonic() < ends:
                done += score()
            return done

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(repeated, [self.seconds / 5] * threads))
            began = time.monotonic()
            done = sum(pool.map(repeated, [self.seconds] * threads))
            return done / (time.monotonic() - began)
