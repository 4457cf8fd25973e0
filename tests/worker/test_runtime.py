"""A process has one of each thing, however many threads ask for it first."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from tests.waiting import patience
from worker.runtime import _once


def test_threads_that_ask_at_once_get_the_same_thing_made_once() -> None:
    made: list[object] = []
    asked = threading.Barrier(8)

    @_once
    def thing() -> object:
        time.sleep(0.05)  # in which the others ask too
        made.append(object())
        return made[-1]

    def ask(_: int) -> object:
        asked.wait(patience(10))
        return thing()

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(ask, range(8)))
    assert got == made * 8


def test_what_could_not_be_made_is_tried_again() -> None:
    failures = [ConnectionError()]

    @_once
    def thing() -> str:
        if failures:
            raise failures.pop()
        return "made"

    for expected in ("away", "made"):
        try:
            got = thing()
        except ConnectionError:
            got = "away"
        assert got == expected
