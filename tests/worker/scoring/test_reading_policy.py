"""Another policy of reading order: who would move, the places under it, the switch."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.schema.vocabulary import Event
from db.schema.worklist_records import PolicyRecord, RuleRecord
from db.writes import ledger, reading_order
from db.writes.history import note
from tests.db.samples import arrived, ended, lesion, read, refused, scored, study
from worker.clinical.reading_order.place import place_ranges
from worker.clinical.reading_order.policy import BUILT_IN, DEFAULT, built_in, built_in_document
from worker.errors import SetupRefused
from worker.scoring import reading_policy
from worker.scoring.reading_policy import apply_policy, complete_places, moves
from worker.scoring.worklist_place import place_studies

OUTCOME = built_in("outcome/1")
RULE = RuleRecord(1, 1, "all", "All", "it is listed", "LOW")
CASES = [("5", 0.9, 0.9), ("4A", 0.9, 0.9), ("4A", 0.9, 0.1), ("4A", 0.1, 0.1), ("2", 0.1, 0.1)]


@pytest.fixture
def listed(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    for number, (birads, lh, bm) in enumerate(CASES):
        with sessions.begin() as session:
            record = study(f"1.2.{number}", str(number), lesions=(lesion(birads=birads),))
            ended(session, record, scored(lh=lh, bm=bm, birads=birads))
    return sessions


def order(sessions: sessionmaker[Session]) -> list[str]:
    with sessions() as session:
        return [str(row.study_instance_uid)[-1] for row in study_queries.worklist(session)]


def apply(sessions: sessionmaker[Session], label: str) -> str:
    told: list[int] = []
    before = apply_policy(sessions, built_in(label), built_in_document(label), "anne", told.append)
    assert told == sorted(told)
    return before


def test_the_list_follows_the_policy_that_is_applied_and_back(
    listed: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_policy, "PAGE", 2)
    assert order(listed) == ["0", "1", "2", "3", "4"]
    assert apply(listed, "outcome/1") == "suspicion/2"
    assert order(listed) == ["1", "2", "0", "4", "3"]
    with listed() as session:
        assert {row.policy for row in study_queries.worklist(session)} == {"outcome/1"}
        assert session.scalar(text("SELECT count(*) FROM worklist_entry")) == len(CASES)
    assert apply(listed, "suspicion/2") == "outcome/1"
    assert order(listed) == ["0", "1", "2", "3", "4"]
    with listed() as session:
        switches = session.execute(text("SELECT by, before, after FROM reading_order_switch ORDER BY id")).all()
    assert [tuple(row) for row in switches] == [
        ("anne", "suspicion/2", "outcome/1"),
        ("anne", "outcome/1", "suspicion/2"),
    ]


@pytest.mark.parametrize("label", BUILT_IN)
def test_the_ranges_on_record_are_the_policys(listed: sessionmaker[Session], label: str) -> None:
    if label != DEFAULT:  # which the migration made active
        apply(listed, label)
    with listed() as session:
        rows = session.execute(
            text(
                "SELECT tier, priority, first_place, next_place FROM reading_order_range"
                " JOIN reading_order_policy AS policy ON policy.id = policy_id WHERE policy.state = 'active'"
            )
        ).all()
    assert sorted(map(tuple, rows)) == sorted(map(tuple, place_ranges(built_in(label))))


def test_studies_that_change_while_a_policy_is_built_have_their_place_under_both(
    listed: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_policy, "PAGE", 2)
    came: list[Any] = []

    def meanwhile(_done: int) -> None:
        if len(came) == 3:
            return
        number = 10 + len(came)
        with listed.begin() as session:
            came.append(arrived(session, study(f"1.2.{number}", str(number))))
            record = study("1.2.3", "3", lesions=(lesion(birads="4A"),), priority="urgent")
            assert arrived(session, record).priority == "urgent"
        assert len(order(listed)) == len(CASES) + len(came)

    apply_policy(listed, OUTCOME, built_in_document("outcome/1"), "anne", meanwhile)
    assert len(came) == 3
    with listed() as session:
        rows = {str(row.study_instance_uid): row for row in study_queries.worklist(session)}
        assert len(rows) == len(CASES) + len(came)
        assert (rows["1.2.3"].priority, rows["1.2.3"].tier) == ("urgent", "downgraded")
        assert {rows[f"1.2.{10 + number}"].tier for number in range(3)} == {"waiting"}


def test_what_happens_to_a_study_while_a_policy_is_built_is_so_under_it_too(
    listed: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_policy, "PAGE", 5)
    with listed.begin() as session:
        ids = {row.study_instance_uid: row.study_id for row in study_queries.worklist(session)}
        failed = ended(session, study("1.2.8", "8"), refused()).study_id
        purged = ended(session, study("1.2.9", "9", lesions=(lesion(birads="5"),)), scored(birads="5")).study_id
        session.execute(text("UPDATE study SET finished_at = now() - interval '1 year' WHERE id = :id"), {"id": purged})
    told: list[int] = []

    def meanwhile(done: int) -> None:
        told.append(done)
        if len(told) > 1:
            return
        with listed.begin() as session:
            read(session, ids["1.2.0"], "anne", "5")
        with listed.begin() as session:
            assert ledger.discard(session, failed, "no longer needed", "anne")
            place_studies(session, [failed])
        with listed.begin() as session:
            assert ledger.purge(session, datetime.now(UTC) - timedelta(days=30), "anne", 10)

    apply_policy(listed, OUTCOME, built_in_document("outcome/1"), "anne", meanwhile)
    assert told == [5, 7]
    with listed() as session:
        rows = study_queries.worklist(session)
        assert {str(row.study_instance_uid): row.read_by for row in rows} == {
            "1.2.0": "anne", "1.2.1": None, "1.2.2": None, "1.2.3": None, "1.2.4": None
        }  # fmt: skip
        assert session.scalar(text("SELECT count(*) FROM reading_order_changed")) == 0


def test_a_study_that_waits_again_keeps_the_place_of_its_last_result_under_a_policy_that_is_new(
    listed: sessionmaker[Session],
) -> None:
    with listed.begin() as session:
        correction = arrived(session, study("1.2.1", "1b", lesions=(lesion(birads="4A"),)))
        assert correction.revision == 2
        again = next(row.study_id for row in study_queries.worklist(session) if row.study_instance_uid == "1.2.3")
        session.execute(
            text("UPDATE study SET state = 'queued', finished_at = NULL, worklist_class = NULL WHERE id = :id"),
            {"id": again},
        )
        note(session, again, Event.REQUEUED, {"from": "done"})
        place_studies(session, [again])
    for label, tiers in (("outcome/1", ("upgraded", "downgraded")), ("suspicion/2", ("suspicious", "low"))):
        apply(listed, label)
        with listed() as session:
            rows = {str(row.study_instance_uid): row for row in study_queries.worklist(session)}
        assert (rows["1.2.1"].tier, rows["1.2.3"].tier) == tiers
        assert (rows["1.2.1"].marks, rows["1.2.3"].marks) == (["waiting", "corrected"], ["waiting", "requeued"])


def test_a_failed_study_that_waits_again_keeps_the_place_of_its_failure_under_a_policy_that_is_new(
    listed: sessionmaker[Session],
) -> None:
    with listed.begin() as session:
        failed = ended(session, study("1.2.9", "9", lesions=(lesion(birads="1"),)), refused()).study_id
        assert ledger.requeue(session, failed, "anne")
        place_studies(session, [failed])
    for label, tier in (("outcome/1", "needs_attention"), ("suspicion/2", "to_be_looked_at")):
        apply(listed, label)
        with listed() as session:
            (row,) = (row for row in study_queries.worklist(session) if row.study_instance_uid == "1.2.9")
        assert (row.tier, row.marks) == (tier, ["waiting", "requeued"])


def test_one_that_is_broken_off_changes_nothing_and_can_be_done_again(listed: sessionmaker[Session]) -> None:
    def break_off(_done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply_policy(listed, OUTCOME, built_in_document("outcome/1"), "anne", break_off)
    assert order(listed) == ["0", "1", "2", "3", "4"]
    assert apply(listed, "outcome/1") == "suspicion/2"
    assert order(listed) == ["1", "2", "0", "4", "3"]
    with listed() as session:
        assert session.scalar(text("SELECT count(*) FROM worklist_entry")) == len(CASES)


def test_of_two_that_are_applied_at_once_the_one_that_began_last_is_served(listed: sessionmaker[Session]) -> None:
    told: list[int] = []

    def meanwhile(done: int) -> None:
        told.append(done)
        assert apply(listed, "outcome/1") == "suspicion/2"
        with listed.begin() as session:
            arrived(session, study("1.2.9", "9"))

    with pytest.raises(SetupRefused, match="reading_order_superseded"):
        apply_policy(listed, built_in("suspicion/2"), built_in_document("suspicion/2"), "anne", meanwhile)
    assert told == [len(CASES)]
    with listed() as session:
        assert {row.policy for row in study_queries.worklist(session)} == {"outcome/1"}
        assert session.scalar(text("SELECT count(*) FROM worklist_entry")) == len(CASES) + 1


def test_who_asks_what_would_move_holds_nobody_up(listed: sessionmaker[Session]) -> None:
    def meanwhile(_done: int) -> None:
        with listed.begin() as session:
            session.execute(text("SET LOCAL lock_timeout = '5s'"))
            assert reading_order.register_policy(session, PolicyRecord("outcome/1", "", (), (RULE,), ()))

    assert moves(listed, OUTCOME, meanwhile).moves


def test_the_history_of_the_switches_is_append_only(listed: sessionmaker[Session]) -> None:
    apply(listed, "outcome/1")
    for statement in ("UPDATE reading_order_switch SET by = 'x'", "DELETE FROM reading_order_switch"):
        with pytest.raises(Exception, match="42501"), listed.begin() as session:
            session.execute(text(statement))


def test_who_would_move_is_said_before(listed: sessionmaker[Session]) -> None:
    found = moves(listed, OUTCOME, lambda _: None)
    assert found.tiers == {
        ("suspicious", "not_applicable"): 1,
        ("suspicious", "upgraded"): 1,
        ("undecided", "maintained"): 1,
        ("low", "downgraded"): 1,
        ("negative", "not_applicable"): 1,
    }
    assert [(move.before, move.after) for move in found.moves[:1]] == [(1, 3)]
    assert order(listed) == ["0", "1", "2", "3", "4"]


def test_the_studies_of_before_are_placed_after_an_upgrade(listed: sessionmaker[Session]) -> None:
    with listed.begin() as session:
        session.execute(text("DELETE FROM worklist_entry"))
        session.execute(text("UPDATE reading_order_policy SET placed_at = NULL"))
    assert order(listed) == []
    complete_places(listed)
    assert order(listed) == ["0", "1", "2", "3", "4"]
    complete_places(listed)
    with listed() as session:
        assert session.scalar(text("SELECT placed_at IS NOT NULL FROM reading_order_policy WHERE state = 'active'"))
