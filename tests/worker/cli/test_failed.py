"""How `dlr failed` reads its options and what it says of refused messages, and how a study is named by its id."""

import csv
import io
import json
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner

from db.writes import ledger
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, refused, study, writing
from worker.cli import output
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


ALIKE = ("a1b2c3d4-0000-4000-8000-000000000001", "a1b2c3d4-0000-4000-8000-000000000002")
REFUSED = "0f0f0f0f-0000-4000-8000-000000000003"
OF_DIGITS = "12345678-0000-4000-8000-000000000004"


@pytest.fixture
def ids(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Studies under ids that are known: two that begin alike, one that begins with digits, and a refused message."""
    given = iter(map(UUID, (*ALIKE, OF_DIGITS, REFUSED)))
    monkeypatch.setattr("db.writes.intake.uuid4", lambda: next(given))
    with writing(database) as sessions:
        with sessions.begin() as session:
            for number in range(3):
                ended(session, study(f"1.{number}", accession_number=f"A{number}"), refused())
            ledger.record_refusal(
                session,
                "a" * 64,
                {},
                "lesions_missing",
                "no",
                "receive",
                study_instance_uid="1.9",
                accession_number="ACC-77",
            )
        yield


def dlr(database: Database, *arguments: str) -> "subprocess.CompletedProcess[str]":
    url = "redis://127.0.0.1:1/0"
    return command_line.dlr(*arguments, DLR_DATABASE_URL=database.writer_url, DLR_REDIS_URL=url)


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize("command", [("show",), ("failed", "show")])
@pytest.mark.parametrize(
    ("key", "found"),
    [
        (ALIKE[0], ALIKE[0]),
        (OF_DIGITS[:8], OF_DIGITS),
        (OF_DIGITS[:12], OF_DIGITS),
        (REFUSED[:4], REFUSED),
        (ALIKE[1][:-1], None),
        (ALIKE[0][:8], None),
        (OF_DIGITS[:7], ""),
        ("ffff", ""),
        ("A1B2C3D4", ""),
        ("a1b2-c3d4", ""),
    ],
)
def test_a_study_is_named_by_how_its_id_begins_where_that_is_one(
    database: Database, command: tuple[str, ...], key: str, found: str | None
) -> None:
    done = dlr(database, *command, key, "--format", "json")
    if found:
        assert [study["study_id"] for study in json.loads(done.stdout)] == [found]
        return
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: study_ambiguous" if found is None else "error: study_not_found")
    assert [one in done.stderr for one in ALIKE] == [found is None] * 2


@pytest.mark.usefixtures("ids")
@pytest.mark.parametrize(
    "command",
    [
        ("export", "--format", "hl7"),
        ("explain", "--output", "x"),
        ("failed", "requeue"),
        ("failed", "discard", "--reason", "no"),
    ],
)
def test_every_command_that_takes_a_study_says_which_ids_begin_alike(
    database: Database, command: tuple[str, ...]
) -> None:
    done = dlr(database, *command, ALIKE[0][:8])
    assert done.returncode == 1
    assert "study_ambiguous" in done.stderr
    assert all(one in done.stderr for one in ALIKE)
    with_one = dlr(database, *command, REFUSED[:8])
    assert "study_not_found" not in with_one.stdout + with_one.stderr


@pytest.mark.usefixtures("ids")
def test_the_short_ids_of_a_narrow_list_name_their_studies(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output.stdout, "_width", 80)
    cards = [line for line in dlr(database, "failed", "list").stdout.splitlines()[1:] if not line.startswith(" ")]
    short = {line.split(" · ")[0] for line in cards}
    assert short == {*ALIKE, "12345678-0", REFUSED[:8]}
    for one in short:
        [found] = json.loads(dlr(database, "show", one, "--format", "json").stdout)
        assert found["study_id"].startswith(one)


@pytest.mark.usefixtures("ids")
def test_the_list_shows_accession_numbers_and_says_what_was_refused(database: Database) -> None:
    table = dlr(database, "failed", "list").stdout
    assert "ACC-77" in table
    assert "A0" in table
    rows = list(csv.DictReader(io.StringIO(dlr(database, "failed", "list", "--format", "csv").stdout)))
    assert {(row["accession_number"], row["study_instance_uid"], row["refused"]) for row in rows} == {
        *((f"A{number}", f"1.{number}", "False") for number in range(3)),
        ("ACC-77", "1.9", "True"),
    }
    assert "ACC-77" not in dlr(database, "worklist").stdout


@pytest.mark.usefixtures("ids")
def test_refused_messages_are_not_said_to_be_queued_again(database: Database) -> None:
    done = dlr(database, "failed", "requeue", "ACC-77")
    assert done.returncode == 1
    assert "requeued: 0 of 1" in done.stdout
    assert "not queued" in done.stdout
    shown = dlr(database, "show", "ACC-77").stdout
    assert "a message that was refused" in shown
    discarded = dlr(database, "failed", "discard", "--reason", "a test", "1.9")
    assert (discarded.returncode, "discarded: 1 of 1" in discarded.stdout) == (0, True)
    assert "study_not_found" in dlr(database, "show", "ACC-77").stderr
