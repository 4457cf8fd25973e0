"""How `dlr failed` reads its options."""

from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from worker.cli.failed import moment
from worker.cli.main import app


@pytest.mark.parametrize(
    ("value", "ago"),
    [("90s", {"seconds": 90}), ("90m", {"minutes": 90}), ("12h", {"hours": 12}), ("7d", {"days": 7})],
)
def test_a_time_may_be_how_long_ago(value: str, ago: dict[str, int]) -> None:
    assert abs(datetime.now(UTC) - timedelta(**ago) - moment(value)) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("value", "read"),
    [
        ("2026-11-24", datetime(2026, 11, 24, tzinfo=UTC)),
        ("2026-11-24T08:30", datetime(2026, 11, 24, 8, 30, tzinfo=UTC)),
        ("2026-11-24T08:30:00+02:00", datetime(2026, 11, 24, 6, 30, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_utc(value: str, read: datetime) -> None:
    assert moment(value) == read


@pytest.mark.parametrize("value", ["soon", "12x", "-1h", ""])
def test_anything_else_is_wrong_usage(value: str) -> None:
    with pytest.raises(typer.BadParameter):
        moment(value)


@pytest.mark.parametrize(
    "arguments",
    [
        ["requeue"],
        ["requeue", "some-study", "--code", "age_missing"],
        ["discard", "some-study"],
        ["list", "--code", "no_such_code"],
        ["list", "--since", "soon"],
    ],
)
def test_a_command_that_does_not_say_which_studies_or_why_is_wrong_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, ["failed", *arguments]).exit_code == 2
