"""The history as readers see it: whatever happens to a study, no line of it names a patient."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import NullPool, text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.vocabulary import Event
from db.session import make_engine
from db.writes import ledger
from db.writes.pathology import PathologyRecord, find_lesions, find_studies, record_pathology
from db.writes.worklist import mark_unread
from tests.conftest import Database
from tests.db.samples import claimed, digest, ended, finish_one, lesion, read, refused, result, scored, study
from worker.errors import Code

UID, ACCESSION, LESION, SITE, REASON = "1.2.3.4.5", "ACC-77", "left breast of Mary Roe", "Ward 9", "Mary called"
PATIENT = (UID, ACCESSION, LESION, "Mary", SITE, "roe")
ANNE = "anne@ward"
JOB = {"study_instance_uid": UID, "accession_number": ACCESSION, "images": {"paths": ["roe.dcm"]}}


def everything_happens(session: Session) -> None:
    lesions = (lesion(LESION), lesion("L2"))
    first = study(UID, "one", lesions=lesions, accession_number=ACCESSION, job=JOB)
    of_study = ledger.record_study(session, first).study_id
    ledger.record_study(session, first)
    ledger.record_study(session, study(UID, "one", lesions=lesions, accession_number=ACCESSION, priority="stat"))
    ledger.fail_attempt(session, of_study, claimed(session, of_study).attempt, Code.INTERNAL_ERROR, "pipeline.py:144")
    ledger.release(session, of_study, claimed(session, of_study).attempt)
    claimed(session, of_study)
    ledger.requeue_expired(session)
    finish_one(session, result(claimed(session, of_study), refused(LESION), scored("L2")))
    ledger.requeue(session, of_study, ANNE)
    finish_one(session, result(claimed(session, of_study), refused(LESION), refused("L2")))
    ledger.discard(session, of_study, REASON, ANNE)
    revised = study(UID, "two", lesions=lesions, accession_number=ACCESSION, job=JOB)
    now = ended(session, revised, scored(LESION), scored("L2")).study_id
    read(session, now, ANNE, "4A", agrees=False)
    mark_unread(session, [(now, "suspicion/2 low", "suspicion/2 suspicious")])
    ledger.record_study(session, first)
    [found] = find_studies(session, [UID])[UID]
    marked = find_lesions(session, [found.study_id])[found.study_id, LESION]
    record_pathology(session, [PathologyRecord(marked, "benign", histology=None, reported_on=date(2026, 3, 2))], ANNE)
    for content in ("bad", "worse"):
        message = ledger.record_refusal(session, digest(content), JOB, Code.JOB_INVALID, f"of {LESION}", "queue")
        ledger.retire_earlier(session, message, "queue")
    ledger.purge(session, datetime.now(UTC) + timedelta(days=1), ANNE, 10)


def test_a_reader_sees_what_happened_to_each_study_and_not_whose_it_is(
    database: Database, sessions: sessionmaker[Session]
) -> None:
    with sessions.begin() as session:
        everything_happens(session)
    with make_engine(database.reader_url, role=None, poolclass=NullPool).connect() as connection:
        lines = connection.execute(text("SELECT event, to_jsonb(line)::text FROM study_history AS line")).all()
    assert {event for event, _ in lines} == {event.value for event in Event}
    assert [line for _, line in lines if any(name in line for name in PATIENT)] == []
