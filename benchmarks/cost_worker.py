"""``python -m benchmarks.cost_worker QUEUE`` is `dlr worker`, which counts what each part takes of the processor.

A thread's own processor time is counted, so that neither a wait nor the machine's other programs are part of it. What
one part calls of another is the other's. An inference worker has the simulated device.
"""

import json
import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

ASK = "BENCHMARK_COST"
"""Names a FIFO: whoever writes to it finds the totals, in seconds, in the file of the same name and ``.json``."""

PARTS = {
    "take": ("worker.broker.transport:Channel._brpop_start", "worker.broker.transport:Channel._brpop_read"),
    "acknowledge": ("worker.broker.transport:QoS.ack", "worker.broker.transport:QoS.write_acknowledged"),
    "events": (
        "worker.broker.consumer:Request.send_event",
        "worker.broker.consumer:Consumer._flush",
        "celery.events.dispatcher:EventDispatcher.flush",
    ),
    "accept": ("worker.intake.accept_study:Intake.accept",),
    "record": ("worker.intake.accept_study:Intake._record", "worker.intake.together:Together._accept"),
    "enqueue": ("celery.app.base:Celery.send_task", "worker.broker.transport:Channel.put_all"),
    "claim": ("worker.scoring.bookkeeping:Bookkeeper._claim_together",),
    "read": ("worker.imaging.decoder_pool:DecoderPool.index", "worker.imaging.decoder_pool:DecoderPool.load"),
    "crop": ("worker.inference.engine:Engine._prepared",),
    "engine": ("worker.inference.engine:Engine._answers",),
    "result": ("worker.scoring.bookkeeping:Bookkeeper._finish",),
}
"""Each part's methods, in this commit or an earlier one; what a commit has not is left out."""


class Clock:
    """Seconds of processor time by part, over all threads."""

    def __init__(self) -> None:
        self._of_thread = threading.local()
        self._all: list[defaultdict[str, float]] = []

    def counting(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **options: Any) -> Any:
            with self._within(part):
                return function(*arguments, **options)

        return counted

    @contextmanager
    def _within(self, part: str) -> Iterator[None]:
        mine = self._of_thread
        if not hasattr(mine, "parts"):
            mine.parts, mine.seconds, mine.since = [], defaultdict(float), 0.0
            self._all.append(mine.seconds)
        self._switch()
        mine.parts.append(part)
        try:
            yield
        finally:
            self._switch()
            mine.parts.pop()

    def _switch(self) -> None:
        mine, now = self._of_thread, time.thread_time()
        if mine.parts:
            mine.seconds[mine.parts[-1]] += now - mine.since
        mine.since = now

    def totals(self) -> dict[str, float]:
        total: Counter[str] = Counter()
        for seconds in list(self._all):
            total.update(dict(seconds))
        return dict(total)


def count_parts(clock: Clock) -> None:
    """Count each part that this commit has."""
    for part, methods in PARTS.items():
        for method in methods:
            module, _, name = method.partition(":")
            kind, _, attribute = name.partition(".")
            try:
                owner = getattr(import_module(module), kind)
                function = getattr(owner, attribute)
            except (ImportError, AttributeError):
                continue
            setattr(owner, attribute, clock.counting(part, function))


def answer(clock: Clock, fifo: Path) -> None:
    """Write the totals down whenever somebody asks."""
    while True:
        fifo.read_bytes()
        written = fifo.with_suffix(".writing")
        written.write_text(json.dumps(clock.totals()))
        written.rename(fifo.with_suffix(".json"))


def main() -> None:
    clock, queue = Clock(), sys.argv.pop(1)
    count_parts(clock)
    threading.Thread(target=answer, args=[clock, Path(os.environ[ASK])], daemon=True).start()
    if queue == "inference":
        from benchmarks import simulated_gpu

        simulated_gpu.main()
    else:
        from worker.cli.main import main as dlr

        sys.argv[1:] = ["worker", "--queue", queue, *sys.argv[1:]]
        dlr()


if __name__ == "__main__":
    main()
