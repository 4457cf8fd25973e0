"""Continuous batching: threads of its own take what is waiting, whoever sent it."""

import itertools
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Generic, TypeVar, cast

from worker.errors import Code, Unavailable

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P")


@dataclass(order=True, slots=True)
class _Waiting(Generic[T, R]):
    rank: int
    number: int
    item: T = field(compare=False)
    weight: int = field(compare=False)
    future: Future[R] = field(compare=False)


class Joined(Future[R], Generic[P, R]):
    """The answer of an item that was queued in parts: it ends when all of them have, and fails as one of them did.

    Args:
        parts: the answers to come of its parts; at least one.
        join: makes one answer of theirs, in their order, or raises.
    """

    def __init__(self, parts: Sequence[Future[P]], join: Callable[[list[P]], R]) -> None:
        super().__init__()
        self.parts = parts
        self._join = join
        self._left = len(parts)
        self._ending = threading.Lock()
        for part in parts:
            part.add_done_callback(self._ended)

    def _ended(self, _part: Future[P]) -> None:
        with self._ending:
            self._left -= 1
            if self._left:
                return
        try:
            _settle(self, result=self._join([part.result() for part in self.parts]))
        except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to this item and not to the thread
            _settle(self, error=error)


def at_work(future: Future[R]) -> set[Future[Any]]:
    """Return what of an item's answer is in a batch now: itself, or those of its parts that are."""
    parts: Sequence[Future[Any]] = future.parts if isinstance(future, Joined) else (future,)
    return {part for part in parts if part.running()}


class Batcher(Generic[T, R]):
    """Answers items in batches; its threads start at once.

    A batch is what is waiting, up to ``batch_max``, lowest rank first and first come within a rank; an item that is too
    heavy for what is left of a batch lets lighter ones pass, and begins the next. A thread waits for more only while
    somebody says that more is ``arriving``, and then ``wait_s`` at most, and not once it has ``share`` of that.

    A batch whose ``run`` raises is halved until the bad item is alone: it alone gets the exception.

    Args:
        run: answers a batch, with one result for each item, in order, or the exception that the item fails with.
            Called on the batcher's threads alone.
        batch_max: the most that the items of one batch weigh; a heavier item goes alone.
        wait_s: the longest wait for more, in seconds.
        share: of what is arriving, by weight, that is worth no wait for the rest; ``None``: a whole batch alone is.
        threads: the most batches at once.
        nobodys: what ``run`` raises when no item is to blame; all items of the batch get it, at once.
        weigh: the weight of an item, 1 or more; each weighs 1 unless given.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R | Exception]],
        *,
        batch_max: int,
        wait_s: float = 0,
        share: float | None = None,
        threads: int = 1,
        nobodys: tuple[type[Exception], ...] = (),
        weigh: Callable[[T], int] = lambda _item: 1,
    ) -> None:
        self._run = run
        self._weigh = weigh
        self._batch_max = batch_max
        self._wait_s = wait_s
        self._share = share
        self._changed = threading.Condition()
        self._waiting: list[_Waiting[T, R]] = []
        self._weight = 0
        self._nobodys = nobodys
        self._in_hand: dict[int, list[_Waiting[T, R]]] = {}
        self._numbers = itertools.count()
        self._arriving = 0
        self._closed = False
        self._threads = [
            threading.Thread(target=self._work, args=[number], name=f"batcher-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, item: T, rank: int = 0) -> Future[R]:
        """Queue an item.

        Returns:
            Its answer to come. A future that is cancelled before its batch begins is left out of it.

        Raises:
            Unavailable: ``device_unavailable``, when the batcher is closed.
        """
        future: Future[R] = Future()
        weight = self._weigh(item)
        with self._changed:
            if self._closed:
                raise Unavailable(Code.DEVICE_UNAVAILABLE)
            before = self._weight
            self._weight += weight
            heappush(self._waiting, _Waiting(rank, next(self._numbers), item, weight, future))
            # A thread that waits for anything at all, or for a full batch, has something to do; no other one has.
            if not before or before < self._enough() <= self._weight:
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
                before = self._enough()
                self._arriving -= 1
                if not self._arriving or self._enough() <= self._weight < before:
                    self._changed.notify()

    def close(self, timeout_s: float | None = None) -> None:
        """Take no more, answer what is waiting, and end the threads.

        Args:
            timeout_s: what is not answered by then fails with ``device_unavailable``; ``None`` waits for all.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        ends = None if timeout_s is None else time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(None if ends is None else max(ends - time.monotonic(), 0))
        self._give_up(self._in_hand)

    def _work(self, thread: int) -> None:
        try:
            while batch := self._next_batch(thread):
                self._answer(batch)
        finally:
            # Reached at the end, and if this thread dies of what nobody foresaw: a future fails rather than hangs.
            with self._changed:
                self._closed = True
                self._changed.notify_all()
            self._give_up([thread])

    def _next_batch(self, thread: int) -> list[_Waiting[T, R]]:
        """Return the next batch; empty when closed and nothing is left."""
        with self._changed:
            while True:
                self._in_hand[thread] = []
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    return []
                self._wait_for_more()
                batch = [one for one in self._taken() if one.future.set_running_or_notify_cancel()]
                if self._waiting:
                    self._changed.notify()
                if batch:
                    self._in_hand[thread] = batch
                    return batch

    def _taken(self) -> list[_Waiting[T, R]]:
        """Take the next batch from what is waiting; those that are passed over stay in their places."""
        taken: list[_Waiting[T, R]] = []
        passed: list[_Waiting[T, R]] = []
        left = self._batch_max
        while self._waiting and left > 0 and len(passed) < self._batch_max:
            one = heappop(self._waiting)
            if taken and one.weight > left:
                passed.append(one)
                continue
            taken.append(one)
            left -= one.weight
        for one in passed:
            heappush(self._waiting, one)
        self._weight -= sum(one.weight for one in taken)
        return taken

    def _enough(self) -> float:
        """Return the weight with which a batch waits for no more."""
        return self._batch_max if self._share is None else min(self._batch_max, self._share * self._arriving)

    def _wait_for_more(self) -> None:
        deadline = time.monotonic() + self._wait_s
        while self._arriving and self._weight < self._enough() and not self._closed:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._changed.wait(left)

    def _answer(self, batch: list[_Waiting[T, R]]) -> None:
        try:
            answered = list(zip(batch, self._run([one.item for one in batch]), strict=True))
        except BaseException as error:  # noqa: BLE001  whatever it is, it belongs to an item and not to this thread
            if len(batch) == 1 or isinstance(error, self._nobodys):
                for one in batch:
                    _settle(one.future, error=error)
                return
        else:
            for one, result in answered:
                if isinstance(result, Exception):
                    _settle(one.future, error=result)
                else:
                    _settle(one.future, result=result)
            return
        middle = len(batch) // 2
        self._answer(batch[:middle])
        self._answer(batch[middle:])

    def _give_up(self, threads: Iterable[int]) -> None:
        with self._changed:
            left = [one for thread in threads for one in self._in_hand.get(thread, [])]
            left += self._waiting
            self._waiting = []
            self._weight = 0
        for one in left:
            _settle(one.future, error=Unavailable(Code.DEVICE_UNAVAILABLE))


def _settle(future: Future[R], *, result: R | None = None, error: BaseException | None = None) -> None:
    # A future that close() gave up on, or that its sender cancelled, has its end already.
    with suppress(InvalidStateError):
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(cast("R", result))
