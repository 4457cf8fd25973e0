"""Readers and a list: small days that are worked out by hand, and what holds on every day."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from worker.waiting_times.simulator import Minutes, Ranks, preemptive_waits, waits

Day = tuple[Minutes, Minutes, Ranks]

# When each study comes, how long it is read, its rank; then the waits, and those with interruptions.
BY_HAND = {
    "nobody waits for a reader who is free": (1, [0, 5], [5, 5], [0, 0], [0, 0], [0, 0]),
    "the first to come is read first": (1, [0, 1, 2], [10, 5, 1], [0, 0, 0], [0, 9, 13], [0, 9, 13]),
    "the lowest rank is read first, once a reader is free": (
        1, [0, 1, 2], [10, 5, 1], [1, 1, 0], [0, 10, 8], [1, 10, 0],
    ),
    "two readers take one each": (2, [0, 1, 2], [10, 5, 1], [0, 0, 0], [0, 0, 4], [0, 0, 4]),
    "of two that could be laid aside it is the one of the highest rank": (
        2, [0, 1, 2], [10, 10, 3], [1, 2, 0], [0, 0, 8], [0, 3, 0],
    ),
    "and of equal ones the last to come": (2, [0, 1, 2], [10, 10, 3], [1, 1, 0], [0, 0, 8], [0, 3, 0]),
    "what was laid aside twice is read to its end": (
        1, [0, 1, 4], [10, 2, 2], [1, 0, 0], [0, 9, 8], [4, 0, 0],
    ),
    "an empty day": (1, [], [], [], [], []),
}  # fmt: skip


@pytest.mark.parametrize("case", BY_HAND)
def test_a_day_worked_out_by_hand(case: str) -> None:
    readers, arrived, reading, ranks, expected, interrupted = BY_HAND[case]
    day = np.array(arrived, float), np.array(reading, float), np.array(ranks, np.int64)
    assert waits(*day, readers).tolist() == expected
    assert preemptive_waits(*day, readers).tolist() == interrupted


MINUTES = st.integers(0, 30)


def days(minutes: "SearchStrategy[int]" = MINUTES) -> "SearchStrategy[Day]":
    """Days of whole minutes, so that sums are exact and many things happen at once."""
    studies = st.lists(st.tuples(st.integers(0, 120), minutes, st.integers(0, 3)), min_size=1, max_size=40)

    def day(drawn: list[tuple[int, int, int]]) -> Day:
        arrived, reading, ranks = zip(*sorted(drawn), strict=True)
        return np.array(arrived, float), np.array(reading, float), np.array(ranks, np.int64)

    return studies.map(day)


READERS = st.integers(1, 4)


@given(days(), READERS)
def test_nobody_reads_two_studies_at_once_and_nobody_idles_beside_a_list(day: Day, readers: int) -> None:
    arrived, reading, ranks = day
    waited = waits(arrived, reading, ranks, readers)
    assert (waited >= 0).all()
    opened = arrived + waited
    for now in np.unique(np.concatenate([arrived, opened, opened + reading])):
        being_read = ((opened <= now) & (now < opened + reading)).sum()
        listed = ((arrived <= now) & (now < opened)).sum()
        assert being_read <= readers
        assert listed == 0 or being_read == readers


@given(days(), READERS)
def test_whatever_is_opened_stood_first_on_the_list(day: Day, readers: int) -> None:
    arrived, reading, ranks = day
    opened = arrived + waits(arrived, reading, ranks, readers)
    for study, now in enumerate(opened):
        listed = np.flatnonzero((arrived <= now) & (opened > now))
        assert all((ranks[study], study) < (ranks[other], other) for other in listed)


@given(days(st.just(7)), READERS)
def test_where_all_take_equally_long_an_order_changes_who_waits_and_not_how_long_all_do(day: Day, readers: int) -> None:
    arrived, reading, ranks = day
    in_turn = waits(arrived, reading, np.zeros_like(ranks), readers)
    assert waits(arrived, reading, ranks, readers).sum() == in_turn.sum()


@given(days(), READERS)
def test_without_ranks_nobody_is_interrupted(day: Day, readers: int) -> None:
    arrived, reading, ranks = day
    in_turn = waits(arrived, reading, np.zeros_like(ranks), readers)
    assert preemptive_waits(arrived, reading, np.zeros_like(ranks), readers).tolist() == in_turn.tolist()


@given(days(), READERS)
def test_who_interrupts_all_others_notices_nothing_of_them(day: Day, readers: int) -> None:
    arrived, reading, ranks = day
    first = ranks == ranks.min()
    alone = waits(arrived[first], reading[first], ranks[first], readers)
    assert preemptive_waits(arrived, reading, ranks, readers)[first].tolist() == alone.tolist()
