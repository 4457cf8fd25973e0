"""Every item is answered once, a bad one alone fails, and nothing hangs."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.waiting import patience
from worker.batcher import Batcher, Joined, at_work
from worker.errors import Code, Unavailable

SOON = patience(10.0)


class Device:
    """Doubles numbers, remembers its batches, refuses negative numbers, and can be held still."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()
        self.go.set()
        self.busy = threading.Event()

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.busy.set()
        assert self.go.wait(SOON)
        self.batches.append(list(batch))
        if any(item < 0 for item in batch):
            raise RuntimeError("a bad item")
        return [2 * item for item in batch]


@contextmanager
def _batcher(run: Callable[[Sequence[int]], Sequence[int]], **limits: Any) -> Iterator[Batcher[int, int]]:
    batcher = Batcher(run, **({"batch_max": 4, "wait_s": 0.0} | limits))
    try:
        yield batcher
    finally:
        batcher.close(SOON)


@contextmanager
def _held(device: Device, batcher: Batcher[int, int]) -> Iterator[None]:
    """Keep the device busy with one item, so that what is submitted meanwhile waits together."""
    device.go.clear()
    device.busy.clear()
    first = batcher.submit(0)
    assert device.busy.wait(SOON)
    yield
    device.go.set()
    first.result(SOON)


@given(items=st.lists(st.integers(-2, 20), max_size=40), batch_max=st.integers(1, 9))
def test_every_item_is_answered_once_and_a_bad_one_alone_fails(items: list[int], batch_max: int) -> None:
    device = Device()
    with _batcher(device, batch_max=batch_max) as batcher:
        with _held(device, batcher):
            futures = [batcher.submit(item) for item in items]
        for item, future in zip(items, futures, strict=True):
            if item < 0:
                with pytest.raises(RuntimeError, match="a bad item"):
                    future.result(SOON)
            else:
                assert future.result(SOON) == 2 * item
    assert max(map(len, device.batches)) <= batch_max
    good_answers = [item for batch in device.batches if min(batch) >= 0 for item in batch]
    assert sorted(good_answers) == sorted([0, *(item for item in items if item >= 0)])


@given(ranks=st.lists(st.integers(0, 2), min_size=1, max_size=30), batch_max=st.integers(1, 5))
def test_the_lower_rank_goes_first_and_first_come_within_a_rank(ranks: list[int], batch_max: int) -> None:
    device = Device()
    with _batcher(device, batch_max=batch_max) as batcher:
        with _held(device, batcher):
            futures = [batcher.submit(number, rank) for number, rank in enumerate(ranks)]
        for future in futures:
            future.result(SOON)
    taken = [item for batch in device.batches[1:] for item in batch]
    assert taken == sorted(range(len(ranks)), key=lambda number: (ranks[number], number))


def test_what_waits_is_taken_at_once_up_to_the_maximum() -> None:
    device = Device()
    with _batcher(device, batch_max=4, wait_s=SOON) as batcher:
        with _held(device, batcher):
            futures = [batcher.submit(item) for item in range(1, 7)]
        for future in futures:
            future.result(SOON / 2)
    assert device.batches == [[0], [1, 2, 3, 4], [5, 6]]


@given(items=st.lists(st.integers(1, 9), max_size=30), batch_max=st.integers(1, 6), ranks=st.randoms())
def test_a_batch_weighs_no_more_than_it_may_unless_it_is_one_item(items: list[int], batch_max: int, ranks: Any) -> None:
    device = Device()
    with _batcher(device, batch_max=batch_max, weigh=lambda item: item or 1) as batcher:
        with _held(device, batcher):
            futures = [batcher.submit(item, ranks.randint(0, 2)) for item in items]
        assert [future.result(SOON) for future in futures] == [2 * item for item in items]
    assert all(sum(batch) <= batch_max or len(batch) == 1 for batch in device.batches)


def test_an_item_that_does_not_fit_lets_lighter_ones_pass_and_begins_the_next_batch() -> None:
    device = Device()
    with _batcher(device, batch_max=4, weigh=lambda item: item or 1) as batcher:
        with _held(device, batcher):
            futures = [batcher.submit(item) for item in (3, 2, 1, 3)]
        for future in futures:
            future.result(SOON)
    assert device.batches == [[0], [3, 1], [2], [3]]


def test_a_batch_is_full_by_the_weight_of_its_items() -> None:
    device = Device()
    with _batcher(device, batch_max=4, wait_s=SOON, weigh=lambda item: item) as batcher, batcher.arriving():
        futures = [batcher.submit(2), batcher.submit(2)]
        assert [future.result(SOON / 2) for future in futures] == [4, 4]


def test_an_item_that_is_answered_by_an_exception_fails_and_its_neighbours_do_not_run_again() -> None:
    runs: list[int] = []

    def run(batch: Sequence[int]) -> list[int | Exception]:
        runs.append(len(batch))
        return [item if item else ValueError("refused") for item in batch]

    with _batcher(run, batch_max=3, wait_s=SOON) as batcher, batcher.arriving():  # type: ignore[arg-type]
        first, refused, last = (batcher.submit(item) for item in (1, 0, 2))
        assert (first.result(SOON), last.result(SOON)) == (1, 2)
        with pytest.raises(ValueError, match="refused"):
            refused.result(SOON)
    assert runs == [3]


def test_an_item_in_parts_ends_with_the_last_of_them_and_is_at_work_while_one_is() -> None:
    parts: list[Future[int]] = [Future(), Future(), Future()]
    whole = Joined(parts, sum)
    assert at_work(whole) == set()
    parts[1].set_running_or_notify_cancel()
    assert at_work(whole) == {parts[1]}
    parts[1].set_result(10)
    parts[0].set_result(1)
    assert (whole.done(), at_work(whole)) == (False, set())
    parts[2].set_result(100)
    assert whole.result(0) == 111


def test_an_item_in_parts_fails_when_all_have_ended_and_one_has_failed() -> None:
    parts: list[Future[int]] = [Future(), Future()]
    whole = Joined(parts, sum)
    parts[0].set_exception(RuntimeError("a bad part"))
    assert not whole.done()
    parts[1].set_result(1)
    with pytest.raises(RuntimeError, match="a bad part"):
        whole.result(0)


def test_what_joins_the_parts_may_refuse_the_item() -> None:
    part: Future[int] = Future()

    def refuse(_answers: list[int]) -> int:
        raise ValueError("too few")

    whole = Joined([part], refuse)
    part.set_result(1)
    with pytest.raises(ValueError, match="too few"):
        whole.result(0)


def test_a_plain_item_is_at_work_while_it_is_in_a_batch() -> None:
    device = Device()
    with _batcher(device) as batcher:
        with _held(device, batcher):
            waiting = batcher.submit(1)
            assert at_work(waiting) == set()
        waiting.result(SOON)
        assert at_work(waiting) == set()


def test_it_waits_for_what_is_arriving() -> None:
    device = Device()
    with _batcher(device, wait_s=SOON) as batcher:
        with batcher.arriving():
            first = batcher.submit(1)
            time.sleep(0.05)  # time in which a batcher that does not wait would have taken the first alone
            second = batcher.submit(2)
        assert (first.result(SOON / 2), second.result(SOON / 2)) == (2, 4)
    assert device.batches == [[1, 2]]


def test_it_waits_no_longer_than_for_a_share_of_what_is_arriving() -> None:
    device = Device()
    with _batcher(device, wait_s=SOON, share=0.5) as batcher, batcher.arriving(), batcher.arriving():
        with _held(device, batcher):
            alone = batcher.submit(1)
        assert alone.result(SOON / 2) == 2
        with batcher.arriving(), batcher.arriving():
            first, second = batcher.submit(2), batcher.submit(3)
            assert (first.result(SOON / 2), second.result(SOON / 2)) == (4, 6)
    assert device.batches == [[0], [1], [2, 3]]


def test_it_waits_no_longer_once_so_little_is_arriving_that_it_has_its_share() -> None:
    device = Device()
    with _batcher(device, wait_s=SOON, share=0.5) as batcher, batcher.arriving(), batcher.arriving():
        with batcher.arriving():
            first = batcher.submit(1)
        assert first.result(SOON / 2) == 2


def test_a_full_batch_does_not_wait_for_what_is_arriving() -> None:
    device = Device()
    with _batcher(device, batch_max=2, wait_s=SOON) as batcher, batcher.arriving():
        futures = [batcher.submit(1), batcher.submit(2)]
        assert [future.result(SOON / 2) for future in futures] == [2, 4]


def test_it_waits_no_longer_than_it_may_for_what_does_not_arrive() -> None:
    device = Device()
    with _batcher(device, wait_s=0.05) as batcher, batcher.arriving():
        start = time.monotonic()
        assert batcher.submit(1).result(SOON) == 2
        assert time.monotonic() - start >= 0.05


def test_it_does_not_wait_when_the_sender_fails_on_the_way() -> None:
    device = Device()
    with _batcher(device, wait_s=SOON) as batcher:
        with suppress(KeyError), batcher.arriving():
            future = batcher.submit(1)
            raise KeyError
        assert future.result(SOON / 2) == 2


def test_a_cancelled_item_is_left_out() -> None:
    device = Device()
    with _batcher(device) as batcher:
        with _held(device, batcher):
            cancelled, kept = batcher.submit(7), batcher.submit(8)
            assert cancelled.cancel()
        assert kept.result(SOON) == 16
    assert device.batches == [[0], [8]]


@pytest.mark.parametrize("answer", [[], [1, 2, 3]])
def test_a_run_with_too_few_or_too_many_answers_swaps_nobodys(answer: list[int]) -> None:
    with _batcher(lambda _batch: answer) as batcher, pytest.raises(ValueError, match="zip"):
        batcher.submit(1).result(SOON)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError, StopIteration])
def test_no_exception_ends_the_thread(error: type[BaseException]) -> None:
    def run(batch: Sequence[int]) -> list[int]:
        if -1 in batch:
            raise error
        return [2 * item for item in batch]

    with _batcher(run) as batcher:
        with pytest.raises(error):
            batcher.submit(-1).result(SOON)
        assert batcher.submit(1).result(SOON) == 2


def test_closing_answers_what_is_waiting_and_takes_no_more() -> None:
    device = Device()
    batcher = Batcher(device, batch_max=2, wait_s=SOON)
    device.go.clear()
    futures = [batcher.submit(item) for item in range(5)]
    device.go.set()
    batcher.close()
    assert [future.result(0) for future in futures] == [0, 2, 4, 6, 8]
    with pytest.raises(Unavailable) as refused:
        batcher.submit(1)
    assert refused.value.code is Code.DEVICE_UNAVAILABLE


def test_closing_fails_what_a_stuck_device_does_not_answer() -> None:
    device = Device()
    batcher = Batcher(device, batch_max=1, wait_s=0)
    device.go.clear()
    futures = [batcher.submit(item) for item in range(3)]
    assert device.busy.wait(SOON)
    batcher.close(timeout_s=0.05)
    for future in futures:
        with pytest.raises(Unavailable):
            future.result(0)
    device.go.set()


def test_if_the_thread_dies_all_the_same_futures_fail_rather_than_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _args: None)
    device = Device()
    batcher = Batcher(device, batch_max=1, wait_s=0)
    with _held(device, batcher):
        futures: list[Future[int]] = [batcher.submit(1), batcher.submit(2)]
        monkeypatch.setattr(batcher, "_answer", _dies)
    for future in futures:
        with pytest.raises(Unavailable):
            future.result(SOON)
    with pytest.raises(Unavailable):
        batcher.submit(3)


def _dies(_batch: object) -> None:
    raise RuntimeError("a defect of the batcher itself")


def test_many_threads_at_once_get_each_their_own_answer() -> None:
    device = Device()
    answers: dict[int, int] = {}
    with _batcher(device, batch_max=8, wait_s=0.001) as batcher:

        def send(number: int) -> None:
            with batcher.arriving():
                futures = {item: batcher.submit(item, item % 3) for item in range(100 * number, 100 * number + 50)}
            answers.update({item: future.result(SOON) for item, future in futures.items()})

        threads = [threading.Thread(target=send, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
    assert len(answers) == 400
    assert all(answer == 2 * item for item, answer in answers.items())
