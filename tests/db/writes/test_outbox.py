"""The outbox: each current result has one delivery for each destination that is switched on, and none is missed."""

import os
import re
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.audit import Audited
from db.schema.vocabulary import DeliveryState
from db.writes import audit, ledger, outbox
from tests.conftest import Database
from tests.db.samples import claimed, ended, finish_one, refused, register, result, scored, study
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
PACS, UPS = "pacs", "ups"
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

Sessions = sessionmaker[Session]


def switch_on(sessions: Sessions, destination: str = PACS, since: datetime | None = None) -> None:
    with sessions.begin() as session:
        outbox.switch_on(session, destination, since)


def make(sessions: Sessions, destination: str = PACS, limit: int = 100) -> int:
    with sessions.begin() as session:
        return outbox.make_deliveries(session, destination, limit)


def take(sessions: Sessions, destination: str = PACS, limit: int = 100, lease_s: float = 60) -> list[Any]:
    with sessions.begin() as session:
        return outbox.take(session, destination, limit, lease_s)


def states(sessions: Sessions) -> list[tuple[str, str]]:
    with sessions() as session:
        rows = outbox.deliveries(session, list(DeliveryState))
    return [(row.destination, row.state) for row in rows]


def end(sessions: Sessions, uid: str = "1.2.3", *lesions: Any, **changes: Any) -> Any:
    with sessions.begin() as session:
        return ended(session, study(uid, **changes), *(lesions or (scored(),))).study_id


def age_history(database: Database, by: timedelta) -> None:
    """Let what is on record have happened earlier; the history itself cannot be changed."""
    with closing(psycopg2.connect(database.superuser_url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("ALTER TABLE study_event DISABLE TRIGGER append_only")
        cursor.execute("UPDATE study_event SET at = at - %s", (by,))
        cursor.execute("ALTER TABLE study_event ENABLE ALWAYS TRIGGER append_only")


def test_what_ends_once_a_destination_is_on_has_one_delivery_for_it(sessions: Sessions) -> None:
    switch_on(sessions)
    study_id = end(sessions)
    assert [make(sessions), make(sessions)] == [1, 0]
    (due,) = take(sessions)
    assert (due.study_id, due.attempts) == (study_id, 1)
    assert make(sessions, UPS) == 0, "which was not switched on"


def test_what_ended_before_is_not_delivered_unless_it_is_asked_for(database: Database, sessions: Sessions) -> None:
    end(sessions, "1.2.3")
    age_history(database, timedelta(days=10))
    end(sessions, "1.2.4")
    age_history(database, timedelta(days=10))
    switch_on(sessions)
    end(sessions, "1.2.5")
    assert [make(sessions), make(sessions)] == [1, 0]
    switch_on(sessions)
    assert make(sessions) == 0
    switch_on(sessions, since=datetime.now(UTC) - timedelta(days=15))
    assert [make(sessions), make(sessions)] == [1, 0]
    switch_on(sessions, since=LONG_AGO)
    assert [make(sessions), make(sessions)] == [1, 0]
    assert states(sessions) == [("pacs", "waiting")] * 3


@pytest.fixture
def backlog(sessions: Sessions) -> int:
    switch_on(sessions)
    switch_on(sessions, UPS)
    for number in range(7):
        end(sessions, f"1.2.3.{number}")
    return 7


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_a_backlog_is_made_in_bounded_batches_and_whole(sessions: Sessions, backlog: int, limit: int) -> None:
    made = [make(sessions, limit=limit) for _ in range(9)]
    assert max(made) <= limit
    assert sum(made) == backlog
    assert make(sessions, UPS) == backlog


def test_a_result_that_is_committed_late_is_not_missed(database: Database, sessions: Sessions) -> None:
    """A transaction numbers its event, waits, and commits after later events have been seen by many looks."""
    switch_on(sessions)
    with sessions.begin() as session:
        late = ledger.record_study(session, study("1.2.9")).study_id
        claim = claimed(session, late)
    slow = sessions()
    assert finish_one(slow, result(claim, scored()))
    for number in range(3):
        end(sessions, f"1.2.3.{number}")
        assert make(sessions) == 1
        assert make(sessions, limit=1) == 0
    slow.commit()
    slow.close()
    assert [make(sessions) for _ in range(3)] == [1, 0, 0]
    assert late in [due.study_id for due in take(sessions)]


def test_the_place_follows_so_that_a_look_reads_what_is_new(sessions: Sessions, backlog: int) -> None:
    def follows() -> bool:
        make(sessions)
        with sessions() as session:
            seen, newest = session.execute(
                text("SELECT seen, (SELECT max(id) FROM study_event) FROM outbox WHERE destination = 'pacs'")
            ).one()
        return bool(seen == newest)

    until(follows)  # not before whoever writes into another database of the server has done so


def test_of_two_lookers_one_makes_them(sessions: Sessions, backlog: int) -> None:
    with sessions.begin() as one, sessions.begin() as other:
        assert outbox.make_deliveries(one, PACS, 100) == backlog
        assert outbox.make_deliveries(other, PACS, 100) == 0


def test_two_takers_share_and_what_was_taken_comes_back_after_its_lease(sessions: Sessions, backlog: int) -> None:
    make(sessions)
    with sessions.begin() as one, sessions.begin() as other:
        first, second = outbox.take(one, PACS, 4, 60), outbox.take(other, PACS, 100, -1)
    assert [len(first), len(second)] == [4, 3]
    assert not {due.delivery_id for due in first} & {due.delivery_id for due in second}
    again = take(sessions)
    assert {due.delivery_id for due in again} == {due.delivery_id for due in second}
    assert {due.attempts for due in again} == {2}


def test_what_was_taken_and_not_tried_is_given_back_as_it_was(sessions: Sessions, backlog: int) -> None:
    make(sessions)
    taken = take(sessions)
    with sessions.begin() as session:
        outbox.give_back(session, [due.delivery_id for due in taken])
    assert [due.attempts for due in take(sessions)] == [1] * backlog


def test_a_result_that_changed_is_a_new_delivery_and_the_former_is_obsolete(sessions: Sessions) -> None:
    switch_on(sessions)
    study_id = end(sessions, "1.2.3", refused())
    assert make(sessions) == 1
    with sessions.begin() as session:
        register(session, "2.0")
        assert ledger.requeue(session, study_id)
    assert take(sessions) == [], "it runs again, and has no result to give out"
    with sessions.begin() as session:
        assert finish_one(session, result(claimed(session, study_id), scored(version="2.0")))
    assert make(sessions) == 1
    assert len(take(sessions)) == 1
    assert states(sessions) == [("pacs", "obsolete"), ("pacs", "waiting")]


def test_another_revision_takes_the_place_of_the_one_before_it(sessions: Sessions) -> None:
    switch_on(sessions)
    end(sessions)
    assert make(sessions) == 1
    newer = end(sessions, content="b")
    assert make(sessions) == 1
    assert [due.study_id for due in take(sessions)] == [newer]
    assert states(sessions) == [("pacs", "obsolete"), ("pacs", "waiting")]


def test_what_was_put_aside_and_what_was_no_study_is_not_delivered(sessions: Sessions) -> None:
    switch_on(sessions)
    study_id = end(sessions, "1.2.3", refused())
    with sessions.begin() as session:
        ledger.record_refusal(session, "a" * 64, {}, "job_invalid", "no", "queue")
        ledger.discard(session, study_id, "done by hand", "me")
    assert make(sessions) == 0


def test_a_purge_drops_what_waits_and_forgets_the_identifiers_of_what_was_sent(sessions: Sessions) -> None:
    switch_on(sessions)
    for uid in ("1.2.3", "1.2.4"):
        end(sessions, uid)
    make(sessions)
    gone, waits = take(sessions)
    with sessions.begin() as session:
        outbox.sent(session, gone.delivery_id, "2.25.1")
        outbox.put_off(session, waits.delivery_id, -1, "destination_unavailable", "why")
    with sessions.begin() as session:
        assert ledger.purge(session, datetime.now(UTC) + timedelta(days=1), "me", 10)[0] == 2
    assert take(sessions) == []
    assert states(sessions) == [("pacs", "sent"), ("pacs", "obsolete")]
    with sessions() as session:
        assert session.scalars(text("SELECT sop_instance_uid FROM delivery")).all() == [None, None]


def test_what_failed_is_listed_and_tried_again_when_a_person_says_so(sessions: Sessions, backlog: int) -> None:
    make(sessions)
    make(sessions, UPS)
    one, other = take(sessions, limit=2)
    with sessions.begin() as session:
        outbox.failed(session, one.delivery_id, "destination_refused", "0xA900")
        outbox.put_off(session, other.delivery_id, 600, "destination_unavailable", "away")
    with sessions() as session:
        (row,) = outbox.deliveries(session, [DeliveryState.FAILED])
        assert (row.delivery_id, row.error_code, row.error_reason) == (one.delivery_id, "destination_refused", "0xA900")
        found = {state.destination: (state.waiting, state.failed) for state in outbox.outbox_states(session)}
    assert found == {"pacs": (backlog - 1, 1), "ups": (backlog, 0)}
    with sessions.begin() as session:
        assert outbox.retry(session, UPS, one.delivery_id) == 0
        assert outbox.retry(session, PACS, one.delivery_id) == 1
    assert one.delivery_id in [due.delivery_id for due in take(sessions)]


@pytest.mark.parametrize(
    ("destination", "uid", "noted"),
    [
        (PACS, "2.25.1", Audited.INSTANCES_SENT),
        ("archive", "2.25.1", Audited.INSTANCES_SENT),
        ("ris", None, Audited.RESULT_SENT),
    ],
)
def test_a_delivery_that_arrives_is_noted_for_an_audit_once(
    sessions: Sessions, destination: str, uid: str | None, noted: Audited
) -> None:
    switch_on(sessions, destination)
    study_id = end(sessions)
    make(sessions, destination)
    (due,) = take(sessions, destination)
    for _ in range(2):
        with sessions.begin() as session:
            outbox.sent(session, due.delivery_id, uid)
    with sessions() as session:
        found = audit.not_sent(session, 10)
    assert [(one.event, one.actor, one.detail, one.study_id) for one in found] == [
        (noted, "dlr send", destination, study_id)
    ]


def test_a_delivery_that_arrived_is_not_undone_by_a_sender_that_comes_too_late(sessions: Sessions) -> None:
    switch_on(sessions)
    end(sessions)
    make(sessions)
    (due,) = take(sessions)
    with sessions.begin() as session:
        outbox.sent(session, due.delivery_id, "2.25.1")
        outbox.failed(session, due.delivery_id, "destination_refused", "late")
        outbox.obsolete(session, due.delivery_id)
    assert states(sessions) == [("pacs", "sent")]


# --- the notification


@pytest.fixture
def listener(database: Database) -> Iterator[Any]:
    """Somebody with the reading role's login, who listens."""
    with closing(psycopg2.connect(database.reader_url)) as connection:
        connection.autocommit = True
        connection.cursor().execute("LISTEN dlr_study")
        yield connection


def heard(listener: Any, sessions: Sessions) -> list[str]:
    """What was said until now: a message of the test's own marks the end, since they come in the order of commits."""
    with sessions.begin() as session:
        session.execute(text("SELECT pg_notify('dlr_study', 'end')"))
    said: list[str] = []
    while "end" not in said:
        assert select.select([listener], [], [], 10)[0], "nothing came"
        listener.poll()
        said += [notice.payload for notice in listener.notifies]
        listener.notifies.clear()
    return said[:-1]


def payload(study_id: Any, state: str) -> str:
    return f'{{"study_id": "{study_id}", "state": "{state}"}}'


def test_a_reader_hears_of_each_change_of_the_worklist_and_of_nothing_else(sessions: Sessions, listener: Any) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
        claim = claimed(session, study_id)
    assert heard(listener, sessions) == [], "it is not on the worklist yet"
    with sessions.begin() as session:
        assert finish_one(session, result(claim, refused()))
    assert heard(listener, sessions) == [payload(study_id, "failed")]
    with sessions.begin() as session:
        ledger.requeue(session, study_id)
    assert heard(listener, sessions) == [payload(study_id, "queued")]
    with sessions.begin() as session:
        assert finish_one(session, result(claimed(session, study_id), scored()))
    assert heard(listener, sessions) == [payload(study_id, "done")]
    with sessions.begin() as session:
        other = ledger.record_refusal(session, "a" * 64, {}, "job_invalid", "no", "queue")
    assert heard(listener, sessions) == [payload(other, "failed")]
    with sessions.begin() as session:
        ledger.discard(session, other, "done by hand", "me")
    assert heard(listener, sessions) == [payload(other, "failed")]


def test_nothing_is_heard_of_what_was_rolled_back(sessions: Sessions, listener: Any) -> None:
    session = sessions()
    ended(session, study(), scored())
    session.rollback()
    assert heard(listener, sessions) == []


def test_the_example_of_the_documentation_hears(database: Database, sessions: Sessions) -> None:
    (code,) = re.findall(r"^```py\n(.*?)^```", (ROOT / "docs" / "sql.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    environment = {**os.environ, "DATABASE_URL": database.reader_url}
    with subprocess.Popen([sys.executable, "-uc", code], env=environment, stdout=subprocess.PIPE, text=True) as example:
        assert example.stdout is not None
        try:
            ended_here = [end(sessions)]
            while not select.select([example.stdout], [], [], 0.3)[0]:  # until it listens, nobody hears
                assert example.poll() is None
                ended_here.append(end(sessions, f"1.2.3.{len(ended_here)}"))
            heard_of, state, *_ = example.stdout.readline().split()
            assert (heard_of in map(str, ended_here), state) == (True, "done")
        finally:
            example.kill()
