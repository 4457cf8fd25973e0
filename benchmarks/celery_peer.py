"""What the service is compared with: plain Celery, with a task a lesion that is acknowledged before it runs.

``celery --app benchmarks.celery_peer worker`` finds the broker and the file that it counts in among its variables.
"""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from celery import Celery

from benchmarks.simulated_gpu import batch_seconds

BROKER, COUNT = "BENCHMARK_BROKER", "BENCHMARK_COUNT"
LESION, TASK_OF_20_MS, QUEUE = "plain.lesion", "plain.task_of_20_ms", "plain"

app = Celery("plain", broker=os.environ.get(BROKER))
app.conf.update(task_ignore_result=True, task_default_queue=QUEUE, worker_hijack_root_logger=False)


@app.task(name=LESION)  # type: ignore[untyped-decorator]
def lesion() -> None:
    """Have the simulated device score one lesion, alone."""
    time.sleep(batch_seconds(1))
    _count()


@app.task(name=TASK_OF_20_MS)  # type: ignore[untyped-decorator]
def task_of_20_ms() -> None:
    """Take 20 ms."""
    time.sleep(0.02)
    _count()


def _count() -> None:
    descriptor = os.open(os.environ[COUNT], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(descriptor, b".")
    os.close(descriptor)


class Peer:
    """Messages for that worker, and how many of them it has done."""

    def __init__(self, broker: str, count: Path) -> None:
        self.environment: Mapping[str, str] = {BROKER: broker, COUNT: str(count)}
        self._count = count
        self._sender = Celery("sender", broker=broker, set_as_current=False)
        self._sender.conf.task_default_queue = QUEUE

    def push(self, task: str, count: int) -> None:
        with self._sender.pool.acquire(block=True) as connection:
            for _ in range(count):
                self._sender.send_task(task, connection=connection)

    @property
    def done(self) -> int:
        return self._count.stat().st_size if self._count.exists() else 0


def command(pool: str, concurrency: int) -> Sequence[str]:
    """Return Celery's command line after ``python -m``, as someone who wants it fast would write it."""
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
    return ["celery", "--app", __name__, "worker", f"--pool={pool}", f"--concurrency={concurrency}", *quiet]
