"""Together or alone, and never both."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.waiting import patience, until
from worker.scoring.isolation import Isolation

SOON = patience(10)


def test_many_work_together() -> None:
    isolation, meet = Isolation(), threading.Barrier(4)

    def work() -> None:
        with isolation.together():
            meet.wait(SOON)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work) for _ in range(4)]:
            done.result(SOON)


def test_nobody_is_ever_beside_one_who_is_alone() -> None:
    isolation, lock = Isolation(), threading.Lock()
    at_work: list[str] = []
    seen: list[tuple[str, ...]] = []

    def work(number: int) -> None:
        kind = "alone" if number % 5 == 0 else "together"
        with isolation.alone() if kind == "alone" else isolation.together():
            with lock:
                at_work.append(kind)
                seen.append(tuple(at_work))
            time.sleep(0.001)  # at work: time for others to come beside
            with lock:
                at_work.remove(kind)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert ("alone",) in seen
    assert max(len(kinds) for kinds in seen) > 1
    assert [kinds for kinds in seen if "alone" in kinds and len(kinds) > 1] == []


def test_who_wants_to_be_alone_does_not_wait_for_those_who_come_later() -> None:
    isolation, order = Isolation(), []
    first_in, first_may_go = threading.Event(), threading.Event()
    waiting = isolation._changed._waiters  # type: ignore[attr-defined]

    def first() -> None:
        with isolation.together():
            first_in.set()
            first_may_go.wait(SOON)

    def alone() -> None:
        with isolation.alone():
            order.append("alone")

    def later() -> None:
        with isolation.together():
            order.append("later")

    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(first)]
        assert first_in.wait(SOON)
        for number, comes in enumerate((alone, later), start=1):
            done.append(pool.submit(comes))
            until(lambda wanted=number: len(waiting) == wanted)
        assert order == []
        first_may_go.set()
        for one in done:
            one.result(SOON)
    assert order == ["alone", "later"]


@pytest.mark.parametrize("way", ["together", "alone"])
def test_an_error_inside_lets_the_next_one_in(way: str) -> None:
    isolation = Isolation()
    with pytest.raises(KeyError), getattr(isolation, way)():
        raise KeyError
    with isolation.alone():
        pass
