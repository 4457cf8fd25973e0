"""Several destinations at once: each by its own rules, and none held up by another."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.writes import ledger
from tests.db.samples import claimed, finish_one, refused, result
from tests.worker.sending.hospital import (
    FAILED,
    SENT,
    WAITING,
    Archive,
    deliveries,
    end_study,
    running,
    settle,
    unwritten,
)
from worker.errors import Code, Unavailable
from worker.sending.destination import Busy, Deferred, Parcel
from worker.sending.from_settings import routes
from worker.sending.rules import Rules
from worker.sending.sender import Sender
from worker.sending.terms import QuietHours, Terms
from worker.settings import Settings

pytestmark = pytest.mark.slow

Sessions = sessionmaker[Session]
Senders = Callable[..., dict[str, Sender]]

FILE = """
[destination.archive]
kind = "dimse"
address = "PACS@127.0.0.1:{port}"

[destination.drop]
kind = "folder"
path = "drop"
documents = ["sr", "hl7", "fhir"]
results = {{outcomes = ["not_scored"]}}

[destination.trial]
kind = "folder"
path = "trial"
results = {{demo = true}}
"""


@pytest.fixture
def senders(sessions: Sessions, root: Path, port: int, tmp_path: Path) -> Senders:
    """Give a sender for each destination of the file, switched on."""
    for name in ("drop", "trial"):
        (tmp_path / name).mkdir()

    def made(file: str = FILE) -> dict[str, Sender]:
        path = tmp_path / "destinations.toml"
        path.write_text(file.format(port=port))
        settings = Settings(storage_root=root, send_destinations=path, send_timeout_s=5)
        found = {
            route.destination.name: Sender(
                route.destination, sessions, 0.1, 600, lambda work: work(), terms=route.terms
            )
            for route in routes(settings)
        }
        for sender in found.values():
            sender.switch_on()
        return found

    return made


def of(sessions: Sessions, name: str) -> list[tuple[str, str | None]]:
    return [(row["state"], row["error_reason"]) for row in deliveries(sessions) if row["destination"] == name]


def test_each_takes_what_its_rules_say_and_one_that_is_down_holds_up_no_other(
    senders: Senders, sessions: Sessions, root: Path, tmp_path: Path
) -> None:
    found = senders()
    study_id = end_study(sessions, root, 1, fails=True)
    end_study(sessions, root, 2)  # of demo models
    done = {name: sender.work() for name, sender in found.items()}
    assert done["archive"].away is not None
    assert (done["drop"].sent, done["drop"].not_taken) == (1, 1)
    assert (done["trial"].sent, done["trial"].not_taken) == (2, 0)
    assert [state for state, _ in of(sessions, "archive")] == [WAITING, WAITING]
    assert of(sessions, "drop") == [(SENT, None), ("obsolete", "the rule: demo")]
    (left_out,) = [row for row in deliveries(sessions) if row["error_code"] == "result_not_taken"]
    assert left_out["destination"] == "drop"
    event = deliveries(sessions)[0]["event_id"]
    assert sorted(path.name for path in (tmp_path / "drop").iterdir()) == [
        f"{study_id}.{event}{suffix}" for suffix in (".fhir.json", ".hl7", ".sr.dcm")
    ]
    assert len(list((tmp_path / "trial").iterdir())) == 2


def test_a_folder_that_is_not_there_is_waited_for_and_a_result_twice_is_one_file(
    senders: Senders, sessions: Sessions, root: Path, tmp_path: Path
) -> None:
    drop = senders()["drop"]
    end_study(sessions, root, fails=True)
    (tmp_path / "drop").rename(tmp_path / "away")
    away = drop.work().away
    assert away is not None
    assert "mounted" in away.reason
    (tmp_path / "away").rename(tmp_path / "drop")
    settle(sessions)
    assert drop.work().sent == 1
    files = sorted((tmp_path / "drop").iterdir())
    before = [file.read_bytes() for file in files]
    unwritten(sessions)
    assert drop.work().sent == 1
    assert [file.read_bytes() for file in sorted((tmp_path / "drop").iterdir())] == before
    assert "Phantom" not in str(files)


def test_a_destination_that_has_a_result_gets_the_one_that_replaces_it_though_its_rules_leave_it_out(
    senders: Senders, sessions: Sessions, root: Path
) -> None:
    drop = senders()["drop"]
    study_id = end_study(sessions, root, fails=True)
    assert drop.work().sent == 1
    drop = replace(drop, terms=Terms(Rules(outcomes=["upgraded"])))
    end_study(sessions, root, 2, fails=True)
    with sessions.begin() as session:
        ledger.requeue(session, study_id)
        finish_one(session, result(claimed(session, study_id), refused()))
    done = drop.work()
    assert (done.sent, done.not_taken) == (1, 1)


def test_in_quiet_hours_nothing_is_sent_and_the_deliveries_are_made(
    senders: Senders, sessions: Sessions, root: Path
) -> None:
    hours = QuietHours(time(22), time(6), ZoneInfo("UTC"))
    moment = [datetime(2026, 11, 23, 23, tzinfo=UTC)]
    drop = replace(senders()["drop"], terms=Terms(quiet=hours), now=lambda: moment[0])
    end_study(sessions, root, fails=True)
    done = drop.work()
    assert (done.sent, done.is_idle, done.quiet_until) == (0, True, datetime(2026, 11, 24, 6, tzinfo=UTC))
    assert [state for state, _ in of(sessions, "drop")] == [WAITING]
    moment[0] += timedelta(hours=7)
    assert drop.work().sent == 1


class Moody:
    """A destination that says what a test has it say."""

    name = "moody"
    where = "nowhere"

    def __init__(self, answers: list[Exception | None]) -> None:
        self.answers = answers
        self.heard: list[int] = []

    def opened(self) -> "Moody":
        return self

    def __enter__(self) -> Callable[[Parcel], None]:
        return self.deliver

    def __exit__(self, *_: object) -> None:
        pass

    def test(self) -> str:
        return "here"

    def deliver(self, parcel: Parcel) -> None:
        self.heard.append(parcel.delivery_id)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


def moody(sessions: Sessions, *answers: Exception | None, terms: Terms | None = None) -> Sender:
    sender = Sender(Moody(list(answers)), sessions, 0.1, 600, lambda work: work(), terms=terms or Terms())
    sender.switch_on()
    return sender


def test_a_result_that_is_to_be_sent_later_holds_up_no_other_and_is_refused_after_so_many_times(
    sessions: Sessions, root: Path
) -> None:
    later = Deferred("it is locked")
    sender = moody(
        sessions, later, None, later, Unavailable(Code.DESTINATION_UNAVAILABLE), later, terms=Terms(most_deferrals=3)
    )
    end_study(sessions, root, 1, fails=True)
    end_study(sessions, root, 2, fails=True)
    done = sender.work()
    assert (done.sent, done.held_up, done.away) == (1, 1, None)
    assert of(sessions, "moody") == [(WAITING, "it is locked"), (SENT, None)]
    settle(sessions)
    assert sender.work().held_up == 1
    settle(sessions)
    assert sender.work().away is not None, "which is not counted"
    settle(sessions)
    assert sender.work().failed == 1
    row = deliveries(sessions)[0]
    assert (row["state"], row["error_code"]) == (FAILED, Code.DESTINATION_REFUSED)
    assert row["error_reason"] == "it is locked, 3 times"


def test_a_destination_that_says_how_long_to_wait_is_left_alone_for_so_long(sessions: Sessions, root: Path) -> None:
    sender = moody(sessions, Busy("it asks for patience", 1000))
    end_study(sessions, root, fails=True)
    done = sender.work()
    assert isinstance(done.away, Busy)
    (row,) = deliveries(sessions)
    assert row["next_at"] - row["created_at"] > timedelta(seconds=990)
    assert sender.work().is_idle


@pytest.mark.parametrize(("by_priority", "first"), [(True, "stat"), (False, "routine")])
def test_stat_studies_go_first_unless_the_oldest_is_to(
    sessions: Sessions, root: Path, by_priority: bool, first: str
) -> None:
    sender = moody(sessions, terms=Terms(by_priority=by_priority))
    routine = end_study(sessions, root, 1, fails=True)
    stat = end_study(sessions, root, 2, fails=True)
    with sessions.begin() as session:
        session.execute(text("UPDATE study SET priority = 'stat' WHERE id = :id"), {"id": stat})
    sender.work()
    assert isinstance(sender.destination, Moody)
    order = {row["delivery_id"] if "delivery_id" in row else row["id"]: row["study_id"] for row in deliveries(sessions)}
    assert order[sender.destination.heard[0]] == {"stat": stat, "routine": routine}[first]


def test_a_test_asks_and_sends_nothing(senders: Senders, sessions: Sessions, root: Path, port: int) -> None:
    found = senders()
    end_study(sessions, root, fails=True)
    with pytest.raises(Unavailable):
        found["archive"].destination.test()
    with running(Archive(port)) as archive:
        assert "C-ECHO answered 0x0000; takes Comprehensive 3D SR" in found["archive"].destination.test()
        assert archive.asked == []
    with running(Archive(port, sop_classes=())), pytest.raises(Unavailable) as refused_:
        found["archive"].destination.test()
    assert "SOP Classes" in refused_.value.reason
    assert "can be written" in found["drop"].destination.test()
