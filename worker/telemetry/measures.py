"""What a worker counts and times while it works. Without metrics it counts nothing, at no cost."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter

from worker.clinical.categories import Outcome, Priority
from worker.errors import Code


class Measures:
    """Takes note of nothing: what a worker without metrics has. `worker.telemetry.exposition` takes note."""

    def batch(self, lesions: int, seconds: float) -> None:
        """Note a batch that went through the device, whatever came of it."""

    def decoded(self, seconds: float, *, refused: bool) -> None:
        """Note what one request to a decoder took; the wait for a free decoder is not in it."""

    def ended(self, state: str, priority: Priority, seconds: float) -> None:
        """Note a study whose result is committed, and how long ago it arrived."""

    def scored(self, outcome: Outcome) -> None:
        """Note a lesion with scores."""

    def failed(self, code: Code) -> None:
        """Note a lesion without."""

    def refused(self, code: Code) -> None:
        """Note a message that was refused."""

    def attempt_failed(self, reason: str) -> None:
        """Note an attempt without a result: ``defect``, or ``away`` when something that it needed was."""

    @contextmanager
    def timing_batch(self, lesions: int) -> Iterator[None]:
        """Time a batch, which is at work while the context lasts."""
        began = perf_counter()
        try:
            yield
        finally:
            self.batch(lesions, perf_counter() - began)
