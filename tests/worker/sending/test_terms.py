"""Quiet hours, by the clock of a place."""

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sending.terms import QuietHours

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = QuietHours(time(22), time(6), BERLIN)
NOON = QuietHours(time(12), time(13, 30), BERLIN)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        (NIGHT, "2026-11-23T20:59:59+00:00", None),
        (NIGHT, "2026-11-23T21:00:00+00:00", "2026-11-24T06:00:00+01:00"),
        (NIGHT, "2026-11-24T04:59:59+00:00", "2026-11-24T06:00:00+01:00"),
        (NIGHT, "2026-11-24T05:00:00+00:00", None),
        (NIGHT, "2026-07-01T20:00:00+00:00", "2026-07-02T06:00:00+02:00"),  # an hour earlier in summer
        (NIGHT, "2026-03-28T23:00:00+00:00", "2026-03-29T06:00:00+02:00"),  # the night in which the clock goes forward
        (NOON, "2026-11-23T11:00:00+00:00", "2026-11-23T13:30:00+01:00"),
        (NOON, "2026-11-23T12:30:00+00:00", None),
    ],
)
def test_hours_are_those_of_the_place_and_may_go_over_midnight(hours: QuietHours, now: str, until: str | None) -> None:
    found = hours.until(at(now))
    assert (None if found is None else found.isoformat()) == until


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001  they get a zone
    st.times(),
    st.times(),
)
def test_hours_end_later_within_a_day_and_are_over_then(now: datetime, start: time, end: time) -> None:
    hours = QuietHours(start, end, BERLIN)
    until = hours.until(now)
    if until is not None:
        assert 0 <= (until - now).total_seconds() <= 25 * 3600
        assert start == end or until.astimezone(BERLIN).time() >= end
