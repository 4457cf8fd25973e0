from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from worker.errors import Code, SetupRefused
from worker.settings import get_settings
from worker.web.languages import language
from worker.web.times import Clock

SUMMER, WINTER = datetime(2026, 7, 1, 22, 30, 5, tzinfo=UTC), datetime(2026, 12, 31, 23, 30, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "at", "said"),
    [
        ("Europe/Berlin", SUMMER, "2 Jul 2026, 00:30"),
        ("Europe/Berlin", WINTER, "1 Jan 2027, 00:30"),
        ("Asia/Kolkata", SUMMER, "2 Jul 2026, 04:00"),
        ("America/Los_Angeles", WINTER, "31 Dec 2026, 15:30"),
        ("UTC", SUMMER, "1 Jul 2026, 22:30"),
    ],
)
def test_a_time_is_that_of_the_site_on_that_day(zone: str, at: datetime, said: str) -> None:
    clock = Clock(language("en"), ZoneInfo(zone))
    assert (clock.zone, clock.moment(at)) == (zone, said)
    assert clock.second(at) == f"{said}:05"


def test_utc_is_said_beside_it_and_nothing_where_there_is_no_time() -> None:
    clock = Clock(language("de"), ZoneInfo("Europe/Berlin"))
    assert clock.utc(SUMMER) == "2026-07-01 22:30:05 UTC"
    assert clock.moment(None) == ""


def test_without_a_setting_it_is_the_machines_time() -> None:
    clock = Clock(language("en"))
    assert clock.moment(SUMMER).endswith(f"{SUMMER.astimezone():%H:%M}")
    assert clock.zone


@pytest.mark.parametrize("name", ["Europe/Gotham", "Europe", "CEST+1 at noon", "../etc/passwd", "/etc/localtime"])
def test_a_time_zone_that_is_none_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DLR_WEB_TIME_ZONE", name)
    get_settings.cache_clear()
    with pytest.raises(SetupRefused) as refused:
        get_settings()
    assert refused.value.code is Code.SETTING_INVALID
    assert "DLR_WEB_TIME_ZONE" in refused.value.reason
    assert "Europe/Berlin" in refused.value.reason
