"""What is on record of studies with pathology, as the worklist has it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.writes.dead_letters import discard, requeue
from tests.conftest import Database
from tests.db.samples import DEMO, ended, lesion, refused, scored, study, writing
from tests.db.writes.test_pathology import report
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.facts import LesionFacts
from worker.errors import Code, SetupRefused
from worker.evaluation.caveats import STUDIES
from worker.evaluation.lesions import Source
from worker.waiting_times.recorded_cohort import VERIFIED, recorded_cohort

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database) as sessions:
        yield sessions


def test_a_study_with_pathology_is_as_the_worklist_has_it(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        recorded = ended(session, study("1.1", priority="urgent"), scored(lh=0.75, bm=0.875))
        report(session, "1.1", "malignant")
        found = recorded_cohort(session)
    [one] = found.studies
    assert (one.cancer, one.patient, one.facts.priority, one.facts.state) == (
        True, str(recorded.study_id), Priority.URGENT, "done",
    )  # fmt: skip
    assert one.facts.lesions == (LesionFacts("4A", "scored", Outcome.UPGRADED, True, True, 0.75, 0.875),)
    assert (found.source, found.left_out) == (Source.DATABASE, {})
    assert found.notices == (f"DLR_BM 1.0: {DEMO}", f"DLR_LH 1.0: {DEMO}", STUDIES, VERIFIED)


def test_all_lesions_of_such_a_study_count_for_its_place(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        both = (lesion("L1"), lesion("L2", "5"))
        ended(session, study("1.1", lesions=both), scored("L1"), refused("L2"))
        report(session, "1.1")  # of the first lesion alone
        [one] = recorded_cohort(session).studies
    assert (one.cancer, one.facts.state) == (False, "partial")
    assert [(fact.category, fact.state) for fact in one.facts.lesions] == [("4A", "scored"), ("5", "failed")]


def test_a_cancer_that_was_known_before_is_none_to_be_found(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", lesions=(lesion("L1", "6"),)), scored(birads="6"))
        report(session, "1.1", "malignant")
        [one] = recorded_cohort(session).studies
    assert not one.cancer


def test_what_nobody_waits_for_is_left_out_and_counted(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        for number in range(1, 5):
            uid = f"1.{number}"
            result = refused() if number > 1 else scored()
            recorded = ended(session, study(uid, accession_number=uid), result)
            report(session, uid)
            if number == 3:
                requeue(session, recorded.study_id, "a person")
            if number == 4:
                discard(session, recorded.study_id, "a person", "not to be scored")
        ended(session, study("1.9", accession_number="A9"), scored())  # without pathology
        found = recorded_cohort(session)
    assert sorted(one.facts.state for one in found.studies) == ["done", "failed"]
    assert found.left_out == {"studies that wait for their result": 1, "failures put aside": 1}


def test_without_such_studies_there_is_nothing_to_list(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored())
        with pytest.raises(SetupRefused) as refused_:
            recorded_cohort(session)
        assert refused_.value.code is Code.LESIONS_TOO_FEW
        report(session, "1.1")
        with pytest.raises(SetupRefused):
            recorded_cohort(session, since=LATER)
        assert len(recorded_cohort(session).studies) == 1
