"""The ledger can not be written, for whatever reason: no message, study or file is let go before it stands there."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from celery.exceptions import Reject
from sqlalchemy import text

from db.session import make_engine, session_factory
from tests.conftest import Database
from tests.waiting import until
from worker import patience, runtime, tasks
from worker.errors import MEANINGS, Code
from worker.intake.accept import Intake
from worker.settings import get_settings
from worker.watching.measures import Measures

JOB = {
    "schema_version": 1,
    "study_instance_uid": "1.2.3",
    "images": {"kind": "files", "paths": ["none.dcm"]},
    "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "frame": 1, "birads": "4A"}],
}


class Outage(NamedTuple):
    """How it begins and how it ends, as the superuser says it; and whether in the database or outside of it."""

    begins: str
    ends: str
    inside: bool = False


OUTAGES = {
    "read-only": Outage(
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
        "ALTER DATABASE {name} RESET default_transaction_read_only",
    ),
    "no connections left": Outage(
        "ALTER DATABASE {name} CONNECTION LIMIT 0", "ALTER DATABASE {name} CONNECTION LIMIT -1"
    ),
    "closed": Outage("ALTER DATABASE {name} ALLOW_CONNECTIONS false", "ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
    "gone": Outage("ALTER DATABASE {name} RENAME TO {name}_away", "ALTER DATABASE {name}_away RENAME TO {name}"),
    "right revoked": Outage("REVOKE INSERT ON study FROM dlr_writer", "GRANT INSERT ON study TO dlr_writer", True),
    "table away": Outage("ALTER TABLE study RENAME TO study_away", "ALTER TABLE study_away RENAME TO study", True),
    "column away": Outage("ALTER TABLE study RENAME source TO other", "ALTER TABLE study RENAME other TO source", True),
    "disk full": Outage(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'disk' USING ERRCODE = 'disk_full'; END $$; "
        "CREATE TRIGGER full_disk BEFORE INSERT ON study FOR EACH ROW EXECUTE FUNCTION full_disk()",
        "DROP TRIGGER full_disk ON study; DROP FUNCTION full_disk()",
        True,
    ),
}
DEFECT = Outage(
    "CREATE FUNCTION defect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / 0; END $$; "
    "CREATE TRIGGER defect BEFORE INSERT ON study FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION defect()",
    "DROP TRIGGER defect ON study; DROP FUNCTION defect()",
    True,
)
"""No outage: what is written meets it each time, until somebody mends it."""

A_REFUSAL, A_STUDY = "NEW.study_instance_uid IS NULL", "NEW.study_instance_uid IS NOT NULL"


class Ledger:
    """A database, what can happen to it, and a process that writes it."""

    def __init__(self, database: Database, storage: Path) -> None:
        self._server, self._name = database.superuser_url.rsplit("/", 1)
        self.intake = Intake(session_factory(make_engine(database.writer_url)), storage, lambda *_: None)

    def tell(self, statement: str, *, inside: bool) -> None:
        engine = make_engine(f"{self._server}/{self._name if inside else 'postgres'}", role=None)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(statement))
        engine.dispose()

    @contextmanager
    def away(self, outage: Outage, which: str = "") -> Iterator[None]:
        """Let it begin, and cut the sessions that are open."""
        begins, ends = (words.format(name=self._name, which=which) for words in (outage.begins, outage.ends))
        cut = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{self._name}'"
        self.tell(cut, inside=False)
        self.tell(begins, inside=outage.inside)
        try:
            yield
        finally:
            self.tell(ends, inside=outage.inside)

    def rows(self) -> list[tuple[Any, ...]]:
        with self.intake.sessions() as session:
            return [tuple(row) for row in session.execute(text("SELECT state, error_code FROM study"))]


@pytest.fixture
def ledger(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    made = Ledger(database, tmp_path)
    monkeypatch.setattr(runtime, "intake", lambda: made.intake)
    monkeypatch.setattr(runtime, "measures", Measures)
    monkeypatch.setenv("DLR_RETRY_WAIT_S", "0.1")
    monkeypatch.setattr(patience, "LONGEST_WAIT_S", 0.2)
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
        with ledger.away(OUTAGES[outage]):
            at_work = [workers.submit(work) for work, _ in MESSAGES.values()]
            # Twice each: so a new connection has met it too.
            until(lambda: sum("waiting" in line for line in caplog.messages) >= 2 * len(MESSAGES))
            assert [task.exception() for task in at_work if task.done()] == []
        for task in at_work:
            task.result(60)
    assert sorted(ledger.rows(), key=str) == sorted((row for _, row in MESSAGES.values()), key=str)


@pytest.mark.parametrize("message", ["a job to be refused", "no message at all"])
def test_a_message_whose_refusal_meets_a_defect_goes_back_to_its_queue(ledger: Ledger, message: str) -> None:
    work, row = MESSAGES[message]
    with ledger.away(DEFECT, A_REFUSAL), pytest.raises(Reject) as rejected:
        work()
    assert rejected.value.requeue is True
    work()
    assert ledger.rows() == [row]


def test_a_study_that_meets_a_defect_of_the_database_is_refused_and_not_tried_for_ever(ledger: Ledger) -> None:
    with ledger.away(DEFECT, A_STUDY):
        tasks.submit_study(JOB)
    assert ledger.rows() == [("failed", "internal_error")]
