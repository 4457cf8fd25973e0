"""Into the ledger first, then onto the queue; once, however often it comes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from sqlalchemy import event, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.reads.study_results import recorded_content
from db.schema.records import Queued
from tests.db.samples import claim_one
from tests.worker.test_contract import JOB
from worker.clinical.categories import Priority
from worker.contract import parse_job
from worker.errors import Code, JobRefused
from worker.intake.accept_study import Intake
from worker.intake.content_digest import is_unchanged
from worker.intake.together import Together, unless_full

PATH = JOB["images"]["paths"][0]


class Queue:
    """Stands where Redis is: what was put on the queue."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Priority]] = []

    def __call__(self, *studies: Queued) -> None:
        self.messages += [(str(study.study_id), Priority(study.priority)) for study in studies]


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture(params=["alone", "together"])
def intake(
    sessions: sessionmaker[Session], tmp_path: Path, queue: Queue, request: pytest.FixtureRequest
) -> Iterator[Intake]:
    """What a command accepts by, and what an intake worker does."""
    file = tmp_path / "storage" / PATH
    file.parent.mkdir(parents=True)
    file.write_bytes(b"pixels")
    together = Together(sessions, queue) if request.param == "together" else None
    yield Intake(sessions, tmp_path / "storage", queue, together=together)
    if together is not None:
        together.close()


def job(**changes: Any) -> Any:
    return parse_job({**deepcopy(JOB), **changes})


def test_a_study_is_recorded_and_then_queued(intake: Intake, queue: Queue, sessions: sessionmaker[Session]) -> None:
    recorded = intake.accept(job(priority="stat"), "queue")
    assert recorded.change == "new"
    assert queue.messages == [(str(recorded.study_id), Priority.STAT)]
    with sessions() as session:
        (study,) = study_queries.study_details(session, recorded.study_id)
    assert (study.state, study.priority, study.source) == ("queued", "stat", "queue")
    assert [lesion.lesion_id for lesion in study.lesions] == ["L1"]


def test_when_the_queue_is_away_the_study_is_on_record_and_the_next_push_queues_it(
    intake: Intake, sessions: sessionmaker[Session], queue: Queue
) -> None:
    def away(*_studies: Queued) -> None:
        raise RedisConnectionError

    together = intake.together and Together(sessions, away)
    with pytest.raises(RedisConnectionError):
        replace(intake, enqueue=away, together=together).accept(job(), "queue")
    recorded = intake.accept(job(), "queue")
    assert (recorded.change, recorded.state) == ("unchanged", "queued")
    assert [study_id for study_id, _ in queue.messages] == [str(recorded.study_id)]


def test_the_same_study_again_is_one_set_of_rows(intake: Intake, sessions: sessionmaker[Session]) -> None:
    first, second = intake.accept(job(), "queue"), intake.accept(job(), "submit")
    assert (second.study_id, second.change) == (first.study_id, "unchanged")
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM study")) == 1
        assert session.scalar(text("SELECT count(*) FROM lesion")) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"age_years": 48.0},
        {"accession_number": "B"},
        {"lesions": [{**JOB["lesions"][0], "birads": "4B"}]},
        {"lesions": [{**JOB["lesions"][0], "roi": None}]},
    ],
)
def test_other_content_is_a_new_revision_and_the_former_is_kept_apart(
    intake: Intake, sessions: sessionmaker[Session], change: dict[str, Any]
) -> None:
    first, second = intake.accept(job(), "queue"), intake.accept(job(**change), "queue")
    assert (second.change, second.revision) == ("revised", 2)
    with sessions() as session:
        (old,), (new,) = (study_queries.study_details(session, item.study_id) for item in (first, second))
    assert (old.is_current, new.is_current) == (False, True)
    assert len(old.lesions) == len(new.lesions) == 1


def test_other_bytes_in_a_file_are_other_content(intake: Intake) -> None:
    intake.accept(job(), "queue")
    (intake.storage_root / PATH).write_bytes(b"other pixels")
    assert intake.accept(job(), "queue").change == "revised"


def test_a_former_revision_delivered_late_changes_nothing(intake: Intake) -> None:
    intake.accept(job(), "queue")
    second = intake.accept(job(age_years=48.0), "queue")
    late = intake.accept(job(), "queue")
    assert (late.change, late.study_id) == ("earlier_revision", second.study_id)


def test_a_more_urgent_push_moves_a_study_that_has_ended_up_the_worklist(
    intake: Intake, queue: Queue, sessions: sessionmaker[Session]
) -> None:
    recorded = intake.accept(job(), "queue")
    with sessions.begin() as session:  # its one attempt does not end, so that the study ends failed
        assert claim_one(session, recorded.study_id, 1, lease_s=-1) is not None
    with sessions.begin() as session:
        assert claim_one(session, recorded.study_id, 1, lease_s=-1) is None
    with sessions() as session:
        before = session.scalar(text("SELECT place_order FROM worklist_entry"))
    queue.messages.clear()
    assert intake.accept(job(priority="stat"), "queue").change == "priority_raised"
    with sessions() as session:
        after = session.scalar(text("SELECT place_order FROM worklist_entry"))
    assert after < before
    assert queue.messages == []


def test_a_refused_message_is_kept_with_its_code_once(intake: Intake, sessions: sessionmaker[Session]) -> None:
    refused = JobRefused(Code.JOB_INVALID, "lesions: is missing")
    raw = {"patient": "Doe^Jane", "odd": "\x00"}
    assert intake.refuse(raw, refused, "queue") == intake.refuse(raw, refused, "queue")
    with sessions() as session:
        (row,) = study_queries.failed(session)
    assert (row.state, row.error_code, row.error_reason) == ("failed", "job_invalid", "lesions: is missing")


def test_what_the_ledger_gives_back_still_has_its_digest(intake: Intake, sessions: sessionmaker[Session]) -> None:
    lesions = [JOB["lesions"][0] | {"descriptors": {"distance_lesion_to_nipple_mm": 30.0, "aspect_ratio": 1e-5}}]
    recorded = intake.accept(job(age_years=47.0, lesions=lesions), "queue")
    intake.accept(job(age_years=47.0, lesions=lesions, priority="stat"), "queue")
    with sessions() as session:
        content = recorded_content(session, recorded.study_id)
    assert is_unchanged(content.job, content.digest, intake.storage_root) is True
    (intake.storage_root / PATH).write_bytes(b"others")
    assert is_unchanged(content.job, content.digest, intake.storage_root) is False


# --- a study that an earlier version took in another form


def located(**changes: Any) -> Any:
    """The same study in version 2, with the place of its lesion."""
    image = {name: JOB["lesions"][0][name] for name in ("sop_instance_uid", "frame", "roi")}
    lesion = {"lesion_id": "L1", "birads": "4A", "images": [image], "clock_position": 2}
    return job(schema_version=2, lesions=[lesion], **changes)


def test_a_study_that_an_earlier_version_made_another_job_of_is_no_new_revision(intake: Intake) -> None:
    before = intake.accept(job(), "receive")
    again = intake.accept(located(), "receive", former=job())
    assert (again.study_id, again.revision, again.change) == (before.study_id, 1, "unchanged")
    assert intake.accept(located(priority="stat"), "receive", former=job(priority="stat")).change == "priority_raised"


def test_a_study_that_is_not_on_record_is_taken_as_this_version_makes_its_job(
    intake: Intake, sessions: sessionmaker[Session]
) -> None:
    recorded = intake.accept(located(), "receive", former=job())
    assert recorded.change == "new"
    with sessions() as session:
        assert recorded_content(session, recorded.study_id).job["schema_version"] == 2
    assert intake.accept(located(), "receive", former=job()).change == "unchanged"


def test_what_was_corrected_since_is_a_revision_and_the_former_one_delivered_late_changes_nothing(
    intake: Intake,
) -> None:
    intake.accept(job(), "receive")
    corrected = intake.accept(located(age_years=50.0), "receive", former=job(age_years=50.0))
    assert (corrected.change, corrected.revision) == ("revised", 2)
    late = intake.accept(located(), "receive", former=job())
    assert (late.change, late.revision) == ("earlier_revision", 2)


def test_a_sender_s_own_job_is_taken_by_its_word(intake: Intake) -> None:
    intake.accept(job(), "queue")
    assert intake.accept(located(), "queue").change == "revised"


def test_studies_that_come_at_once_are_few_transactions_and_each_is_listed_and_queued(
    sessions: sessionmaker[Session], tmp_path: Path, queue: Queue
) -> None:
    together = Together(sessions, queue)
    intake = Intake(sessions, tmp_path, queue, together=together)
    commits: list[object] = []
    with sessions() as session:
        engine = session.get_bind()

    def note(connection: object) -> None:
        commits.append(connection)

    event.listen(engine, "commit", note)
    jobs = [job(study_instance_uid=f"1.2.{number}") for number in range(40)]
    with ThreadPoolExecutor(len(jobs)) as pool:
        recorded = list(pool.map(lambda one: intake.accept(one, "queue"), jobs))
    event.remove(engine, "commit", note)
    together.close()
    assert len(commits) < len(jobs) / 2
    assert sorted(study_id for study_id, _ in queue.messages) == sorted(str(one.study_id) for one in recorded)
    with sessions() as session:
        assert session.scalar(text("SELECT count(*) FROM worklist_entry")) == len(jobs)


def test_one_study_that_the_database_refuses_does_not_keep_the_others_out(
    sessions: sessionmaker[Session], tmp_path: Path, queue: Queue
) -> None:
    together = Together(sessions, queue)
    intake = Intake(sessions, tmp_path, queue, together=together)
    jobs = [job(study_instance_uid=f"1.2.{number}") for number in range(8)]

    def accept(one: Any) -> str:
        try:
            return intake.accept(one, "x" if one is not jobs[3] else "\0").change
        except DataError:
            return "refused"

    with ThreadPoolExecutor(len(jobs)) as pool:
        changes = list(pool.map(accept, jobs))
    together.close()
    assert changes == ["refused" if place == 3 else "new" for place in range(8)]


def test_a_redis_that_is_full_is_left_to_the_reconciler_and_one_that_is_away_is_not() -> None:
    def full(*_studies: Queued) -> None:
        raise ResponseError("OOM command not allowed when used memory > 'maxmemory'.")

    def away(*_studies: Queued) -> None:
        raise RedisConnectionError

    unless_full(full)(Queued(uuid4(), "routine", 0))
    with pytest.raises(RedisConnectionError):
        unless_full(away)(Queued(uuid4(), "routine", 0))
