from hypothesis import given
from hypothesis import strategies as st

from worker.web import throttle
from worker.web.throttle import FORGOTTEN_S, Throttle


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_waits_double_up_to_the_longest() -> None:
    clock = Clock()
    tries = Throttle(free=2, longest_wait_s=5, clock=clock)
    assert [tries.wait_s("a") for _ in range(3)] == [0, 0, 0]
    for longest in (1, 2, 4, 5, 5):
        assert tries.wait_s("a") == longest
        clock.now += longest
        assert tries.wait_s("a") == 0


def test_a_try_while_one_waits_is_not_counted() -> None:
    clock = Clock()
    tries = Throttle(free=1, longest_wait_s=60, clock=clock)
    assert [tries.wait_s("a") for _ in range(5)] == [0, 0, 1, 1, 1]


def test_each_key_counts_and_the_longest_wait_holds() -> None:
    tries = Throttle(free=1, longest_wait_s=60, clock=Clock())
    for _ in range(2):
        tries.wait_s("a", "b")
    assert tries.wait_s("c") == 0
    assert tries.wait_s("c", "b") == 1


def test_it_is_forgotten_after_an_hour_and_once_somebody_knew_the_password() -> None:
    clock = Clock()
    tries = Throttle(free=1, longest_wait_s=60, clock=clock)
    for _ in range(2):
        tries.wait_s("a")
    tries.passed("a")
    assert [tries.wait_s("a"), tries.wait_s("a"), tries.wait_s("a")] == [0, 0, 1]
    clock.now += FORGOTTEN_S + 1
    assert [tries.wait_s("a"), tries.wait_s("a"), tries.wait_s("a")] == [0, 0, 1]


@given(st.lists(st.text(max_size=3), max_size=200))
def test_it_keeps_a_bounded_number_of_keys(keys: list[str]) -> None:
    tries = Throttle(free=1, longest_wait_s=60, clock=Clock())
    most, throttle.MOST_KEYS = throttle.MOST_KEYS, 5
    try:
        for key in keys:
            tries.wait_s(key)
    finally:
        throttle.MOST_KEYS = most
    assert len(tries._tries) <= 5
