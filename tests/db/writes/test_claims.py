import threading
from uuid import uuid4

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.schema.records import Claim
from db.writes import ledger
from tests.db.samples import arrived, claim_one, claimed, ended, finish_one, lesion, refused, result, scored, study
from worker.scoring.worklist_place import place_studies


def test_a_claim_holds_what_is_needed_to_work(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        recorded = ledger.record_study(session, study(priority="urgent"))
        claim = claimed(session, recorded.study_id)
        assert claim == Claim(recorded.study_id, 1, {"content": "a"}, "urgent", "1.2.3")
        assert study_queries.states(session, [recorded.study_id, uuid4()]) == {recorded.study_id: "running"}


def test_there_is_nothing_to_claim_of_an_unknown_an_ended_or_a_replaced_study(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        done = ended(session, study("1.1"), scored()).study_id
        replaced = ledger.record_study(session, study("1.2", "a")).study_id
        ledger.record_study(session, study("1.2", "b"))
        for study_id in (uuid4(), done, replaced):
            assert claim_one(session, study_id, 3, lease_s=-1) is None


def test_a_study_that_kills_its_workers_is_failed_and_stands_where_a_person_looks(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study(priority="stat", lesions=(lesion("L1"), lesion("L2")))).study_id
    for attempt in (1, 2, 3):
        with sessions.begin() as session:
            assert claimed(session, study_id, 3).attempt == attempt
    with sessions.begin() as session:
        assert claim_one(session, study_id, 3, lease_s=-1) is None
    with sessions.begin() as session:
        assert claim_one(session, study_id, 3, lease_s=-1) is None
        [row] = study_queries.failed(session)
        assert (row.state, row.error_code, row.attempts, row.lesions_failed) == ("failed", "attempts_exhausted", 3, 2)
        assert row.lesion_errors == "L1: attempts_exhausted; L2: attempts_exhausted"
        [listed] = study_queries.worklist(session)
        assert listed.worklist_class == "needs_attention"
        [detail] = study_queries.study_details(session, study_id)
        assert [event.event for event in detail.events] == ["received", "claimed", "claimed", "claimed", "failed"]


def test_of_many_claims_at_once_each_has_an_attempt_of_its_own_and_the_last_one_counts(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
    claims: list[Claim] = []
    start = threading.Barrier(6)

    def work() -> None:
        start.wait()
        with sessions.begin() as session:
            claims.append(claimed(session, study_id, 10))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claim.attempt for claim in claims) == [1, 2, 3, 4, 5, 6]
    accepted = []
    for claim in claims:
        with sessions.begin() as session:
            if finish_one(session, result(claim, scored())):
                accepted.append(claim.attempt)
    assert accepted == [6]


def test_waiting_for_a_server_that_is_away_uses_up_no_attempt(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
    for _ in range(10):
        with sessions.begin() as session:
            claim = claimed(session, study_id, 1)
            assert ledger.release(session, study_id, claim.attempt)
            assert not ledger.release(session, study_id, claim.attempt)
    with sessions.begin() as session:
        assert study_queries.states(session, [study_id]) == {study_id: "queued"}
        assert not finish_one(session, result(claim, scored()))
        assert finish_one(session, result(claimed(session, study_id, 1), scored()))


def test_why_an_attempt_failed_is_in_the_history(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
        claim = claimed(session, study_id)
        ledger.fail_attempt(session, study_id, claim.attempt, "internal_error", "Traceback \x00 ...")
        [detail] = study_queries.study_details(session, study_id)
        assert detail.events[-1].event == "attempt_failed"
        assert detail.events[-1].actor == "dlr_writer"
        assert detail.events[-1].detail == {
            "attempt": 1,
            "code": "internal_error",
            "detail": "Traceback \\x00 ...",
        }


def test_a_failed_or_partial_study_can_be_queued_again_with_all_its_attempts(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        two = (lesion("L1"), lesion("L2"))
        study_id = ended(session, study(lesions=two), scored("L1"), refused("L2")).study_id
    with sessions.begin() as session:
        assert ledger.requeue(session, study_id)
        assert not ledger.requeue(session, study_id)
        place_studies(session, [study_id])
        [row] = study_queries.worklist(session)
        assert (row.state, row.marks) == ("queued", ["waiting", "requeued"])
        [detail] = study_queries.study_details(session, study_id)
        assert [part.state for part in detail.lesions] == ["scored", "waiting"]
    with sessions.begin() as session:
        claim = claimed(session, study_id, 1)
        assert finish_one(session, result(claim, scored("L1"), scored("L2")))
        [row] = study_queries.worklist(session)
        assert (row.state, row.error_code, row.lesions_scored) == ("done", None, 2)


def test_a_done_study_is_not_queued_again(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        assert not ledger.requeue(session, ended(session, study(), scored()).study_id)


def test_a_worker_from_before_a_requeue_can_not_write_its_result(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
        frozen = claimed(session, study_id, 1)
        assert claim_one(session, study_id, 1, lease_s=-1) is None
        assert ledger.requeue(session, study_id)
        claim = claimed(session, study_id, 1)
        assert not finish_one(session, result(frozen, scored(bm=0.1)))
        assert ledger.hold(session, {study_id: frozen.attempt}) == {}
        assert ledger.hold(session, {study_id: claim.attempt})[study_id].priority == "routine"
        assert finish_one(session, result(claim, scored()))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.sampled_from(["push", "revise", "claim", "finish", "fail", "stale", "release", "requeue"]), max_size=25
    )
)
def test_whatever_happens_a_study_is_on_the_worklist_once_and_marked_while_it_waits(
    sessions: sessionmaker[Session], steps: list[str]
) -> None:
    uid = f"1.2.{uuid4().int}"
    content = 0
    claims: list[Claim] = []
    with sessions.begin() as session:
        study_id = arrived(session, study(uid, "0")).study_id
    for step in steps:
        with sessions.begin() as session:
            if step == "revise":
                content += 1
            if step in {"push", "revise"}:
                study_id = arrived(session, study(uid, str(content))).study_id
            elif step == "claim":
                claim = claim_one(session, study_id, 2, lease_s=-1)
                claims += [claim] if claim else []
            elif step == "requeue":
                ledger.requeue(session, study_id)
                place_studies(session, [study_id])
            elif claims:
                claim = claims[0] if step == "stale" else claims[-1]
                if step == "release":
                    ledger.release(session, claim.study_id, claim.attempt)
                else:
                    finish_one(session, result(claim, refused() if step == "fail" else scored()))
        with sessions.begin() as session:
            [state] = study_queries.states(session, [study_id]).values()
            [listed] = [row for row in study_queries.worklist(session) if row.study_instance_uid == uid]
            assert (listed.study_id, listed.state) == (study_id, state)
            assert ("waiting" in listed.marks) is (state in {"queued", "running"})
