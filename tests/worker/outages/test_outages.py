"""The ledger cannot be written, for whatever reason: no message, study or file is let go before it stands there."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Reject
from sqlalchemy import text

from benchmarks.faults.service import fault_service
from db.session import make_engine, session_factory
from tests.conftest import Database
from tests.outages import A_REFUSAL, A_STUDY, DEFECT, OUTAGES, away
from tests.waiting import until
from worker import runtime, tasks
from worker.errors import MEANINGS, Code
from worker.imaging.archive import Archives
from worker.intake.accept_study import Intake
from worker.intake.fetching import Fetcher
from worker.intake.together import Together
from worker.network.port import free_port
from worker.outages import retry
from worker.settings import get_settings
from worker.tasks import TaskFailed
from worker.telemetry.measures import Measures

JOB = {
    "schema_version": 1,
    "study_instance_uid": "1.2.3",
    "images": {"kind": "files", "paths": ["none.dcm"]},
    "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "frame": 1, "birads": "4A"}],
}


class Ledger:
    """A database, and the intake that writes it."""

    def __init__(self, database: Database, storage: Path) -> None:
        self.database = database
        sessions = session_factory(make_engine(database.writer_url))
        self.intake = Intake(sessions, storage, lambda *_: None)
        self.pushed = replace(self.intake, together=Together(sessions, lambda *_: None))

    def rows(self) -> list[tuple[Any, ...]]:
        with self.intake.sessions() as session:
            return [tuple(row) for row in session.execute(text("SELECT state, error_code FROM study"))]


@pytest.fixture
def ledger(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    made = Ledger(database, tmp_path)
    monkeypatch.setattr(runtime, "intake", lambda: made.intake)
    monkeypatch.setattr(runtime, "pushed_intake", lambda: made.pushed)
    monkeypatch.setattr(runtime, "measures", Measures)
    monkeypatch.setenv("DLR_RETRY_WAIT_S", "0.1")
    monkeypatch.setattr(retry, "LONGEST_WAIT_S", 0.2)
    monkeypatch.setattr(tasks, "LONGEST_WAIT_S", 0.2)
    get_settings.cache_clear()
    tasks.app.finalize()
    return made


def refusal(code: str = Code.MESSAGE_UNDECODABLE) -> None:
    tasks.record_refusal(code, MEANINGS[Code(code)], "{")


MESSAGES: dict[str, tuple[Callable[[], object], tuple[str, str | None]]] = {
    "a study": (lambda: tasks.submit_study(JOB), ("queued", None)),
    "a job to be refused": (lambda: tasks.submit_study({**JOB, "lesions": []}), ("failed", "job_invalid")),
    "no message at all": (refusal, ("failed", "message_undecodable")),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_a_message_is_not_acknowledged_before_it_stands_in_the_ledger(
    ledger: Ledger, outage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ThreadPoolExecutor(len(MESSAGES)) as workers:
        with away(ledger.database, OUTAGES[outage]):
            at_work = [workers.submit(work) for work, _ in MESSAGES.values()]
            # Twice each: so a new connection has met it too.
            until(lambda: sum("waiting" in line for line in caplog.messages) >= 2 * len(MESSAGES))
            assert [task.exception() for task in at_work if task.done()] == []
        for task in at_work:
            assert isinstance(task.exception(60), TaskFailed | None)
    assert sorted(ledger.rows(), key=str) == sorted((row for _, row in MESSAGES.values()), key=str)


@pytest.mark.parametrize("message", ["a job to be refused", "no message at all"])
def test_a_message_whose_refusal_meets_a_defect_goes_back_to_its_queue(ledger: Ledger, message: str) -> None:
    work, row = MESSAGES[message]
    with away(ledger.database, DEFECT, A_REFUSAL), pytest.raises(Reject) as rejected:
        work()
    assert rejected.value.requeue is True
    with pytest.raises(TaskFailed):
        work()
    assert ledger.rows() == [row]


REQUEST = {"schema_version": 1, "accession_number": "A1", "images": {"kind": "pacs", "server": "pacs"}}


def test_a_job_whose_pacs_is_away_goes_back_to_its_queue_and_one_that_names_none_is_refused(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody = {"ae_title": "PACS", "host": "127.0.0.1", "port": free_port(tmp_path / "port")}
    monkeypatch.setenv("DLR_PACS_SERVERS", json.dumps({"pacs": nobody}))
    get_settings.cache_clear()
    settings = get_settings()
    fetcher = Fetcher(Archives(settings.dicomweb, settings.pacs), tmp_path, settings.limits)
    monkeypatch.setattr(runtime, "fetcher", lambda: fetcher)
    with pytest.raises(Reject) as rejected:
        tasks.submit_study(REQUEST)
    assert (rejected.value.requeue, ledger.rows()) == (True, [])
    with pytest.raises(TaskFailed):
        tasks.submit_study(REQUEST | {"images": {"kind": "pacs", "server": "another"}})
    assert ledger.rows() == [("failed", "pacs_server_unknown")]


def test_a_study_that_meets_a_defect_of_the_database_is_refused_and_not_tried_for_ever(ledger: Ledger) -> None:
    with away(ledger.database, DEFECT, A_STUDY), pytest.raises(TaskFailed):
        tasks.submit_study(JOB)
    assert ledger.rows() == [("failed", "internal_error")]


@pytest.mark.slow
def test_a_message_whose_refusal_meets_a_defect_is_in_redis_until_it_is_on_record() -> None:
    with fault_service(print, DLR_RETRY_WAIT_S="0.1") as service:
        with service.postgres.as_superuser("dlr") as cursor:
            cursor.execute(DEFECT.begins.format(which=A_REFUSAL))
            service.start_worker("intake")
            service.push_nonsense(1)
            log = service.services.home.log_file("intake")
            until(lambda: log.read_text().count("a message was refused") >= 2, 60)
            assert service.waiting() == 1
            cursor.execute(DEFECT.ends)
        until(lambda: service.count_refused() == 1 and service.waiting() == 0, 60)
