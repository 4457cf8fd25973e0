"""Waits that double."""

import pytest

from worker.outages.backoff import backoff_s


@pytest.mark.parametrize(
    ("failures", "first_s", "expected"),
    [(1, 2.0, 2.0), (2, 2.0, 4.0), (3, 2.0, 8.0), (4, 2.0, 10.0), (10**9, 2.0, 10.0), (1, 60.0, 10.0)],
)
def test_waits_double_up_to_the_longest(failures: int, first_s: float, expected: float) -> None:
    assert backoff_s(failures, first_s, longest_s=10.0) == expected


def test_nothing_is_tried_again_at_once() -> None:
    assert [backoff_s(failures, first_s=0, longest_s=10.0) for failures in (1, 2)] == [0.1, 0.2]
