"""What is set aside: tried again later and later, and never forgotten."""

from pathlib import Path

import pytest

from worker.intake import quarantine
from worker.intake.quarantine import FIRST_S, LONGEST_S, Quarantine


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(quarantine.time, "monotonic", lambda: now[0])
    return now


def test_each_wait_is_twice_the_last_one_up_to_a_limit_and_then_goes_on_for_ever(clock: list[float]) -> None:
    held, entry = Quarantine(), Path("one")
    waits = []
    for _ in range(9):
        waits.append(held.put(entry))
        assert held.due() is None
        clock[0] += waits[-1]
        assert held.due() == entry
    assert waits[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-3:] == [LONGEST_S] * 3


def test_another_entry_under_an_old_name_does_not_wait(clock: list[float]) -> None:
    held = Quarantine()
    held.put(Path("one"))
    held.put(Path("two"))
    held.forget_all_but([Path("two"), Path("three")])
    assert (held.holds(Path("one")), held.holds(Path("two"))) == (False, True)
