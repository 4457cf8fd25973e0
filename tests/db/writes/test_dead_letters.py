"""What a person does with studies: queues them again, puts them aside, and in the end has identifiers removed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import NullPool, text
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.reads.study_records import FailedRow
from db.schema.records import ImageResultRecord, LesionImageRecord, Queued
from db.session import make_engine
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import claim_one, claimed, ended, finish_one, lesion, refused, result, scored, scored_image, study
from worker.scoring.worklist_place import place_studies

ANNE = "anne@ward"
UID, ACCESSION, LESION = "1.2.3.4.5", "ACC-77", "left breast of Mary Roe"
LATER = datetime.now(UTC) + timedelta(days=1)


def history(session: Session, study_id: object) -> list[tuple[str, dict[str, object]]]:
    [detail] = study_queries.study_details(session, str(study_id))
    return [(event.event, dict(event.detail)) for event in detail.events]


def failed_study(session: Session, uid: str = "1.2.3", code: str = "age_missing", **changes: object) -> object:
    return ended(session, study(uid, **changes), refused(code=code)).study_id


def uids(rows: list[FailedRow]) -> set[str | None]:
    return {row.study_instance_uid for row in rows}


def test_a_requeue_says_who_asked_and_what_was_before(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = failed_study(session)
        assert ledger.requeue(session, study_id, ANNE)
        assert history(session, study_id)[-1] == (
            "requeued",
            {"by": ANNE, "from": "failed", "code": "age_missing", "attempts": 1},
        )


def test_a_study_that_is_done_without_an_image_of_a_lesion_is_queued_again_and_gets_that_image(
    sessions: sessionmaker[Session],
) -> None:
    in_two = lesion(images=tuple(LesionImageRecord("1.2.9", frame, None) for frame in (1, 2)))
    gone = ImageResultRecord("failed", "dicomweb_failed", "it is not there")
    with sessions.begin() as session:
        without_one = replace(scored(), images=(scored_image(), gone))
        study_id = ended(session, study(lesions=(in_two,)), without_one).study_id
        assert not ledger.discard(session, study_id, "seen", ANNE)
        assert ledger.requeue(session, study_id, ANNE)
        assert history(session, study_id)[-1] == ("requeued", {"by": ANNE, "from": "done", "attempts": 1})
        with_both = replace(scored(lh=0.7, bm=0.6), images=(scored_image(), scored_image(0.5, 0.4)))
        assert finish_one(session, result(claimed(session, study_id), with_both))
        [row] = session.execute(
            text("SELECT images, images_refused, malignant_probability, malignant_spread FROM lesion_result")
        )
        assert tuple(row) == (2, 0, 0.6, 0.4)
        assert not ledger.requeue(session, study_id, ANNE)


def test_each_requeue_names_a_message_of_its_own_and_whoever_queues_the_study_after_it_names_the_same(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        study_id = failed_study(session)
    named = {(study_id, 0)}
    for _ in range(3):
        with sessions.begin() as session:
            queued = ledger.requeue(session, study_id, ANNE)
            assert queued is not None
            assert (queued.study_id, queued.uncounted) not in named
            named.add((queued.study_id, queued.uncounted))
            again = ledger.record_study(session, study())
            assert Queued(again.study_id, again.priority, again.uncounted) == queued
            assert ledger.requeue_lost(session, -1, 10) == [queued]
            assert claim_one(session, study_id, lease_s=-1) is not None
        with sessions.begin() as session:
            assert ledger.requeue_expired(session) == [queued]
            claim = claim_one(session, study_id)
            assert claim is not None
            assert claim.starts == 2
            assert finish_one(session, result(claim, refused()))


def test_a_discarded_study_leaves_both_lists_and_stays_on_record(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = failed_study(session)
        assert ledger.discard(session, study_id, "scanned again under another number", ANNE)
        assert not ledger.discard(session, study_id, "again", ANNE)
        place_studies(session, [study_id])
        assert study_queries.failed(session) == study_queries.worklist(session) == []
        assert history(session, study_id)[-1] == ("discarded", {"by": ANNE, "from": "failed", "code": "age_missing"})
        kept = session.execute(text("SELECT state::text, discard_reason FROM study")).one()
        assert tuple(kept) == ("failed", "scanned again under another number")


def test_a_partial_study_that_is_discarded_keeps_its_place(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        two = (lesion("L1"), lesion("L2"))
        study_id = ended(session, study(lesions=two), scored("L1"), refused("L2")).study_id
        assert ledger.discard(session, study_id, "second lesion is an artefact", ANNE)
        assert study_queries.failed(session) == []
        assert [row.study_id for row in study_queries.worklist(session)] == [study_id]


def test_a_refused_message_can_be_discarded_and_never_queued(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        refusal = ledger.record_refusal(session, "a" * 64, {"x": 1}, "job_invalid", "no", "queue")
        assert not ledger.requeue(session, refusal, ANNE)
        assert ledger.discard(session, refusal, "sender's test", ANNE)
        assert study_queries.worklist(session) == []


def test_a_discarded_study_can_be_queued_again_and_is_listed_when_it_fails_again(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        study_id = failed_study(session)
        ledger.discard(session, study_id, "wrong", ANNE)
        assert ledger.requeue(session, study_id, ANNE)
        assert finish_one(session, result(claimed(session, study_id), refused()))
        assert [row.study_id for row in study_queries.failed(session)] == [study_id]


@pytest.mark.parametrize("state", ["queued", "running", "done"])
def test_nothing_else_is_discarded(sessions: sessionmaker[Session], state: str) -> None:
    with sessions.begin() as session:
        study_id = ledger.record_study(session, study()).study_id
        if state != "queued":
            claim = claimed(session, study_id)
            if state == "done":
                finish_one(session, result(claim, scored()))
        assert not ledger.discard(session, study_id, "no", ANNE)


def test_failed_studies_are_found_by_code_and_by_time(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        failed_study(session, "1.1", "age_missing")
        failed_study(session, "1.2", "roi_outside_image")
        two = (lesion("L1"), lesion("L2"))
        ended(session, study("1.3", lesions=two), scored("L1"), refused("L2", "age_missing"))
    with sessions.begin() as session:
        assert uids(study_queries.failed(session, "roi_outside_image")) == {"1.2"}
        assert uids(study_queries.failed(session, "attempts_exhausted")) == set()
        assert {"1.1", "1.3"} <= uids(study_queries.failed(session, "age_missing"))
        assert study_queries.failed(session, "missing") == []
        now = datetime.now(UTC)
        assert study_queries.failed(session, since=now + timedelta(minutes=1)) == []
        assert (
            len(study_queries.failed(session, since=now - timedelta(minutes=1), until=now + timedelta(minutes=1))) == 3
        )
        assert study_queries.failed(session, until=now - timedelta(minutes=1)) == []


def sensitive(session: Session) -> object:
    """A study with identifiers wherever a sender can put them."""
    job = {"study_instance_uid": UID, "images": {"kind": "files", "paths": ["roe-mary.dcm"]}}
    two = (lesion(LESION, sop_instance_uid=f"{UID}.1"), lesion("2", sop_instance_uid=f"{UID}.2"))
    record = study(UID, lesions=two, accession_number=ACCESSION, job=job)
    return ended(session, record, scored(LESION), refused("2")).study_id


def everything(database: Database) -> str:
    """All that the tables hold, as one text."""
    with make_engine(database.superuser_url, role=None, poolclass=NullPool).connect() as connection:
        return "\n".join(
            row
            for table in ("study", "lesion", "prediction", "restratification", "study_event")
            for row in connection.scalars(text(f"SELECT to_jsonb(t)::text FROM {table} t"))
        )


def test_a_purge_leaves_counts_scores_and_history_and_no_identifier(
    sessions: sessionmaker[Session], database: Database
) -> None:
    with sessions.begin() as session:
        study_id = sensitive(session)
        before = study_queries.summary(session)
        assert ledger.purgeable(session, LATER) == 1
    held = everything(database)
    assert [value for value in (UID, ACCESSION, LESION, "roe-mary", "Example Hospital") if value not in held] == []
    with sessions.begin() as session:
        assert ledger.purge(session, LATER, ANNE, 10) == (1, ["roe-mary.dcm"])
    left = everything(database)
    assert [value for value in (UID, ACCESSION, LESION, "roe-mary", "Mary", "Example Hospital") if value in left] == []
    with sessions.begin() as session:
        assert study_queries.summary(session) == before
        assert study_queries.counts_by_state(session)["partial"] == 1
        assert history(session, study_id)[-1][0] == "purged"
        assert [event for event, _ in history(session, study_id)] == ["received", "claimed", "partial", "purged"]
        assert study_queries.failed(session) == study_queries.worklist(session) == []
        assert ledger.purge(session, LATER, ANNE, 10) == (0, [])


def test_only_what_has_ended_and_is_old_enough_is_purged(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study("1.1"))
        claimed(session, ledger.record_study(session, study("1.2")).study_id)
        ended(session, study("1.3"), scored())
        assert ledger.purge(session, datetime.now(UTC) - timedelta(days=1), ANNE, 10) == (0, [])
        assert ledger.purgeable(session, LATER) == 1


def test_a_file_that_another_study_names_is_not_given_for_removal(sessions: sessionmaker[Session]) -> None:
    shared = {"images": {"kind": "files", "paths": ["shared.dcm"]}}
    with sessions.begin() as session:
        ended(session, study("1.1", job=shared), scored())
        ledger.record_study(session, study("1.2", job=shared))
        assert ledger.purge(session, LATER, ANNE, 10) == (1, [])


def test_a_purged_study_can_not_be_queued_and_its_uid_can_come_anew(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        study_id = failed_study(session, UID)
        ledger.purge(session, LATER, ANNE, 10)
        assert not ledger.requeue(session, study_id, ANNE)
        assert not ledger.discard(session, study_id, "no", ANNE)
        assert ledger.record_study(session, study(UID)).change == "new"


def test_a_refused_message_is_purged_and_the_same_can_be_refused_anew(
    sessions: sessionmaker[Session], database: Database
) -> None:
    with sessions.begin() as session:
        for _ in range(2):
            ledger.record_refusal(
                session,
                "a" * 64,
                {"name": "Roe^Mary"},
                "job_invalid",
                "no",
                "queue",
                study_instance_uid=UID,
                accession_number=ACCESSION,
            )
            assert ledger.purge(session, LATER, ANNE, 10)[0] == 1
    held = everything(database)
    assert [one for one in ("Roe", UID, ACCESSION) if one in held] == []


def test_of_an_age_whole_years_stay_and_ninety_stands_for_more(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study(), scored())
        session.execute(text("UPDATE lesion SET age_years = 97.4"))
        ledger.purge(session, LATER, ANNE, 10)
        assert session.scalar(text("SELECT age_years FROM lesion")) == 90
