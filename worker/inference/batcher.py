"""Continuous batching: one thread that owns the device, and takes what is waiting, whoever sent it."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Generic, TypeVar, cast

from worker.errors import Code, Unavailable

T = TypeVar("T")
R = TypeVar("R")


@dataclass(order=True, slots=True)
class _Waiting(Generic[T, R]):
    rank: int
    number: int
    item: T = field(compare=False)
    future: Future[R] = field(compare=False)


class Batcher(Generic[T, R]):
    """Answers items in batches; its one thread starts at once.

    A batch is what is waiting, up to ``batch_max``, lowest rank first and first come within a rank. The thread waits
    for more only while somebody says that more is ``arriving``, and then ``wait_s`` at most.

    A batch whose ``run`` raises is halved until the bad item is alone: it alone gets the exception.

    Args:
        run: answers a batch, with one result for each item, in order. Called on the batcher's thread alone.
        batch_max: the most items in one batch.
        wait_s: the longest wait for more, in seconds.
    """

    def __init__(self, run: Callable[[Sequence[T]], Sequence[R]], *, batch_max: int, wait_s: float) -> None:
        self._run = run
        self._batch_max = batch_max
        self._wait_s = wait_s
        self._changed = threading.Condition()
        self._waiting: list[_Waiting[T, R]] = []
        self._in_hand: list[_Waiting[T, R]] = []
        self._numbers = itertools.count()
        self._arriving = 0
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, item: T, rank: int = 0) -> Future[R]:
        """Queue an item.

        Returns:
            Its answer to come. A future that is cancelled before its batch begins is left out of it.

        Raises:
            Unavailable: ``device_unavailable``, when the batcher is closed.
        """
        future: Future[R] = Future()
        with self._changed:
            if self._closed:
                raise Unavailable(Code.DEVICE_UNAVAILABLE)
            heappush(self._waiting, _Waiting(rank, next(self._numbers), item, future))
            self._changed.notify()
        return future

    @contextmanager
    def arriving(self) -> Iterator[None]:
        """Say that more is on its way, until the context ends: a batch that is not full may wait for it."""
        with self._changed:
            self._arriving += 1
        try:
            yield
        finally:
            with self._changed:
                self._arriving -= 1
                self._changed.notify()

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, answer what is waiting, and end the thread.

        Args:
            timeout_s: what is not answered by then fails with ``device_unavailable``; ``None`` waits for all.
        """
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(timeout_s)
        self._give_up()

    def _work(self) -> None:
        try:
            while batch := self._next_batch():
                self._answer(batch)
        finally:
            # Reached at the end, and if this thread dies of what nobody foresaw: a future fails rather than hangs.
            with self._changed:
                self._closed = True
            self._give_up()

    def _next_batch(self) -> list[_Waiting[T, R]]:
        """Return the next batch; empty when closed and nothing is left."""
        with self._changed:
            while True:
                self._in_hand = []
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return []
                self._wait_for_more()
                taken = [heappop(self._waiting) for _ in range(min(len(self._waiting), self._batch_max))]
                self._in_hand = [one for one in taken if one.future.set_running_or_notify_cancel()]
                if self._in_hand:
                    return self._in_hand

    def _wait_for_more(self) -> None:
        deadline = time.monotonic() + self._wait_s
        while self._arriving and len(self._waiting) < self._batch_max and not self._closed:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _answer(self, batch: list[_Waiting[T, R]]) -> None:
        try:
            answered = list(zip(batch, self._run([one.item for one in batch]), strict=True))
        except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to an item and not to this thread
            if len(batch) == 1:
                _settle(batch[0].future, error=error)
                return
        else:
            for one, result in answered:
                _settle(one.future, result=result)
            return
        middle = len(batch) // 2
        self._answer(batch[:middle])
        self._answer(batch[middle:])

    def _give_up(self) -> None:
        with self._changed:
            left = [*self._in_hand, *self._waiting]
            self._waiting = []
        for one in left:
            _settle(one.future, error=Unavailable(Code.DEVICE_UNAVAILABLE))


def _settle(future: Future[R], *, result: R | None = None, error: BaseException | None = None) -> None:
    # A future that close() gave up on, or that its sender cancelled, has its end already.
    with suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("R", result))
