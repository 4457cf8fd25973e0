"""Which lesions a cohort on record has, and what is known of each."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads.described_lesions import DescribedLesion, described_lesions
from db.writes.dead_letters import purge
from db.writes.ledger import record_study
from db.writes.pathology import PathologyRecord, find_lesions, hold_imports, record_pathology
from tests.conftest import Database
from tests.db.samples import DEMO, claimed, ended, finish_one, lesion, refused, result, scored, study, writing


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database, newer=True) as sessions:
        yield sessions


def reported(session: Session, study_id: UUID, result: str, name: str = "L1", day: int = 1) -> None:
    hold_imports(session)
    found = find_lesions(session, {study_id})[study_id, name]
    record_pathology(session, [PathologyRecord(found, result, None, date(2026, 3, day))], "a person")


def test_a_lesion_has_its_descriptors_its_age_and_what_pathology_said_last(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        described = lesion(descriptors={"shape": "irregular", "aspect_ratio": 0.9})
        study_id = ended(session, study("1.1", lesions=(described, lesion("L2"))), scored(), scored("L2")).study_id
        reported(session, study_id, "benign")
        reported(session, study_id, "malignant", day=2)
    with sessions() as session:
        assert described_lesions(session) == [
            DescribedLesion(
                study_id=study_id,
                malignant=True,
                age_years=47.0,
                descriptors={"shape": "irregular", "aspect_ratio": 0.9},
                scored=True,
                purged=False,
                notice=DEMO,
            )
        ]


def test_a_revision_that_was_replaced_counts_no_more(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        first = ended(session, study("1.1", "a"), scored()).study_id
        reported(session, first, "benign")
        second = ended(session, study("1.1", "b"), scored(version="2.0")).study_id
    with sessions.begin() as session:
        assert described_lesions(session) == []
        reported(session, second, "benign")
        assert [(one.study_id, one.notice) for one in described_lesions(session)] == [(second, None)]


def test_a_lesion_that_two_versions_scored_is_one_under_the_later_notice(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        claim = claimed(session, record_study(session, study("1.1")).study_id)
        assert finish_one(session, result(claim, scored()))
        reported(session, claim.study_id, "benign")
        session.execute(text("UPDATE study SET state = 'running', finished_at = NULL, claims = claims + 1"))
        assert finish_one(session, result(replace(claim, attempt=claim.attempt + 1), scored(version="2.0")))
        assert [one.notice for one in described_lesions(session)] == [None]


def test_what_failed_or_was_purged_is_told_apart(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        failed = ended(session, study("1.1", lesions=(lesion(), lesion("L2"))), scored(), refused("L2")).study_id
        reported(session, failed, "malignant", "L2")
        old = ended(session, study("1.2", accession_number="A2"), scored()).study_id
        reported(session, old, "benign")
    with sessions.begin() as session:
        purge(session, datetime.now(UTC) + timedelta(days=1), "a person", 10)
        seen = {one.study_id: one for one in described_lesions(session)}
    assert (seen[old].purged, seen[old].descriptors) == (True, {})
    assert (seen[failed].scored, seen[failed].age_years, seen[failed].notice) == (False, None, None)
