"""Where the ledger's studies stand, from their arrival on."""

from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.reads.study_records import WorklistRow
from db.writes import ledger
from tests.db.samples import arrived, claim_one, claimed, ended, finish_one, lesion, refused, result, scored, study
from worker.clinical.categories import Priority
from worker.clinical.reading_order.facts import LesionFacts, StudyFacts
from worker.clinical.reading_order.place import place, place_reason
from worker.clinical.reading_order.policy import DEFAULT, built_in, built_in_document
from worker.scoring.reading_policy import apply_policy
from worker.scoring.worklist_place import place_studies


def worklist(sessions: sessionmaker[Session]) -> list[WorklistRow]:
    with sessions() as session:
        return study_queries.worklist(session)


def only(sessions: sessionmaker[Session]) -> WorklistRow:
    [row] = worklist(sessions)
    return row


@pytest.mark.parametrize(
    ("birads", "tier"),
    [
        ("0", "undecided"),
        ("1", "negative"),
        ("2", "negative"),
        ("3", "low"),
        ("4A", "undecided"),
        ("4B", "undecided"),
        ("4C", "suspicious"),
        ("5", "suspicious"),
        ("6", "low"),
    ],
)
def test_a_study_stands_by_its_category_from_its_arrival_on(
    sessions: sessionmaker[Session], birads: str, tier: str
) -> None:
    with sessions.begin() as session:
        arrived(session, study(lesions=(lesion(birads=birads),)))
    row = only(sessions)
    assert (row.tier, row.marks, row.state, row.worklist_class) == (tier, ["waiting"], "queued", None)
    assert row.place_reason.startswith(f"Lesion 1, BI-RADS {birads}: ")
    assert (row.policy, row.finished_at, row.read_at) == ("suspicion/2", None, None)


def test_the_result_moves_it_and_takes_the_mark_away(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        recorded = arrived(session, study())
    assert only(sessions).tier == "undecided"
    with sessions.begin() as session:
        assert finish_one(session, result(claimed(session, recorded.study_id), scored(lh=0.1, bm=0.1)))
    row = only(sessions)
    assert (row.tier, row.marks, row.state) == ("low", [], "done")


def test_a_study_that_uses_up_its_attempts_is_to_be_looked_at(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = arrived(session, study()).study_id
        assert claim_one(session, study_id, 1)
        assert claim_one(session, study_id, 1) is None
    row = only(sessions)
    assert (row.tier, row.place_reason) == ("to_be_looked_at", "No lesion was scored")


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        # the lesion before, the lesion after, tier and marks of the correction while it waits
        (("L1", "4A", 0.1, 0.1), ("L1", "4A"), ("low", ["waiting", "corrected"])),
        (("L1", "4A", 0.9, 0.9), ("L1", "3"), ("suspicious", ["waiting", "corrected"])),
        (("L1", "3", 0.9, 0.9), ("L1", "3"), ("undecided", ["waiting", "corrected", "discordant"])),
        (("L1", "4A", 0.1, 0.1), ("L1", "4C"), ("suspicious", ["waiting"])),
        (("L1", "3", 0.1, 0.1), ("L2", "4B"), ("undecided", ["waiting"])),
        (("L1", "4A", 0.9, 0.9), ("L2", "2"), ("suspicious", ["waiting", "corrected"])),
    ],
)
def test_a_correction_keeps_the_place_of_the_last_result_unless_it_raises_a_lesion(
    sessions: sessionmaker[Session], first: Any, second: Any, expected: Any
) -> None:
    name, birads, lh, bm = first
    with sessions.begin() as session:
        ended(session, study(lesions=(lesion(name, birads),)), scored(name, lh, bm, birads=birads))
    before = only(sessions)
    with sessions.begin() as session:
        revised = arrived(session, study(content="b", lesions=(lesion(*second),)))
    after = only(sessions)
    assert after.study_id == revised.study_id != before.study_id
    assert (after.tier, after.marks) == expected
    assert after.place_reason.startswith("Keeps its place until the correction is scored. ") == (
        "corrected" in after.marks
    )


@pytest.mark.parametrize(
    ("corrected", "said"),
    [
        ((("L0", "2"), ("L1", "4A")), "Lesion 2, BI-RADS 4A: both models are high"),
        ((("L1", "3"),), "Both models are high"),
        ((("L2", "2"),), "Both models are high"),
    ],
)
def test_a_correction_s_reason_names_a_lesion_only_where_it_is_the_one_that_decided(
    sessions: sessionmaker[Session], corrected: Any, said: str
) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored(lh=0.9, bm=0.9))
        arrived(session, study(content="b", lesions=tuple(lesion(*one) for one in corrected)))
    assert only(sessions).place_reason.startswith(f"Keeps its place until the correction is scored. {said}")


def test_a_correction_of_a_correction_keeps_the_place_too_and_its_result_ends_it(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored(lh=0.1, bm=0.1))
        arrived(session, study(content="b"))
        last = arrived(session, study(content="c", priority="urgent"))
    row = only(sessions)
    assert (row.tier, row.marks, row.revision, row.priority) == ("low", ["waiting", "corrected"], 3, "urgent")
    with sessions.begin() as session:
        assert finish_one(session, result(claimed(session, last.study_id), scored(lh=0.9, bm=0.9)))
    row = only(sessions)
    assert (row.tier, row.marks) == ("suspicious", [])


def test_a_correction_that_is_taken_back_leads_back_to_the_place_of_the_last_result(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored(lh=0.9, bm=0.9))
        arrived(session, study(content="b", lesions=(lesion(birads="4C"),)))
    assert (only(sessions).tier, only(sessions).marks) == ("suspicious", ["waiting"])
    with sessions.begin() as session:
        arrived(session, study(content="c", lesions=(lesion(birads="3"),)))
    assert (only(sessions).tier, only(sessions).marks) == ("suspicious", ["waiting", "corrected"])


def test_a_kept_place_is_the_same_place_among_the_others(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        for number, bm in enumerate((0.4, 0.3, 0.2, 0.1)):
            ended(session, study(f"1.2.{number}", str(number)), scored(lh=0.9, bm=bm))
    with sessions.begin() as session:
        arrived(session, study("1.2.1", "corrected"))
    assert [row.study_instance_uid for row in worklist(sessions)] == ["1.2.0", "1.2.1", "1.2.2", "1.2.3"]


def test_a_study_that_is_queued_again_keeps_its_place(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        record = study(lesions=(lesion("L1", "3"), lesion("L2", "3")))
        study_id = ended(session, record, scored("L1", birads="3", lh=0.1, bm=0.1), refused("L2")).study_id
    assert only(sessions).tier == "to_be_looked_at"
    with sessions.begin() as session:
        assert ledger.requeue(session, study_id, "anne")
        place_studies(session, [study_id])
    row = only(sessions)
    assert (row.tier, row.marks) == ("to_be_looked_at", ["waiting", "requeued"])
    assert row.place_reason == "Keeps its place until it is scored again. Not every lesion was scored"


def read(session: Session, study_id: UUID) -> None:
    session.execute(
        text("UPDATE study SET read_at = now(), read_by = 'anne', read_tier = 'suspicion/2 undecided' WHERE id = :id"),
        {"id": study_id},
    )
    place_studies(session, [study_id])


def test_a_study_that_was_read_stands_behind_all_that_is_to_be_read(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        kept = ended(session, study("1.1", "1"), scored(lh=0.9, bm=0.4)).study_id
        low = ended(session, study("1.2", "2"), scored(lh=0.1, bm=0.1)).study_id
        read(session, kept)
    assert [(row.position, row.study_id) for row in worklist(sessions)] == [(1, low), (2, kept)]
    with sessions() as session:
        assert [row.study_id for row in study_queries.worklist(session, read=False)] == [low]


def test_a_study_that_was_read_is_to_be_read_again_once_its_tier_changes(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = arrived(session, study()).study_id
        read(session, study_id)
        assert finish_one(session, result(claimed(session, study_id), scored(lh=0.9, bm=0.4)))
    assert only(sessions).read_by == "anne"  # it waited as undecided, and is
    with sessions.begin() as session:
        assert ledger.record_study(session, study(content="b")).revision == 2
        second = ledger.record_study(session, study(content="b")).study_id
        place_studies(session, [second])
    assert only(sessions).read_at is None
    with sessions.begin() as session:
        read(session, second)
        assert finish_one(session, result(claimed(session, second), scored(lh=0.9, bm=0.9)))
    row = only(sessions)
    assert (row.tier, row.read_at, row.read_by) == ("suspicious", None, None)
    with sessions() as session:
        [detail] = study_queries.study_details(session, second)
    [event] = [event for event in detail.events if event.event == "unread"]
    assert event.detail == {"from": "suspicion/2 undecided", "to": "suspicion/2 suspicious"}


def test_it_is_so_too_where_another_policy_was_applied_since_it_was_read(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = arrived(session, study(lesions=(lesion(birads="4B"),))).study_id
        read(session, study_id)
    apply_policy(sessions, built_in("outcome/1"), built_in_document("outcome/1"), "anne", lambda _: None)
    assert only(sessions).read_by == "anne"
    with sessions.begin() as session:
        assert finish_one(session, result(claimed(session, study_id), scored(lh=0.9, bm=0.9, birads="4B")))
    row = only(sessions)
    assert (row.tier, row.read_at) == ("not_applicable", None)


@pytest.mark.parametrize("priority", ["stat", "urgent", "routine"])
@pytest.mark.parametrize("lh", [0.1, 0.9])
@pytest.mark.parametrize("bm", [0.1, 0.9])
def test_sql_says_why_as_the_rule_does(sessions: sessionmaker[Session], priority: str, lh: float, bm: float) -> None:
    lesions = (lesion("L1", "2"), lesion("L2", "4A"))
    with sessions.begin() as session:
        ended(
            session,
            study(lesions=lesions, priority=priority),
            scored("L1", lh, bm, birads="2"),
            scored("L2", lh, bm, birads="4A"),
        )
    row = only(sessions)
    policy = built_in(DEFAULT)
    both = [
        LesionFacts(birads, "scored", scored("L", lh, bm, birads=birads).assessment.outcome, lh > 0.5, bm > 0.5, lh, bm)  # type: ignore[union-attr,arg-type]
        for birads in ("2", "4A")
    ]
    facts = StudyFacts(Priority(priority), "done", tuple(both))
    assert row.place_reason == place_reason(policy, place(policy, facts), facts)
