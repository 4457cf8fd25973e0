"""What Redis answers when it cannot, told by its reason and waited for; each answer is one of a real server."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError
from sqlalchemy import text

from benchmarks.faults.refusals import REFUSALS, Refusing, refusing_redis
from db.session import make_engine
from tests.command_line import dlr
from tests.conftest import Database
from tests.waiting import patience, until
from worker.app import app
from worker.broker.queues import INFER_STUDY, SUBMIT_STUDY
from worker.broker.reconciler import RedisQueues
from worker.network.port import free_port
from worker.outages.redis_answers import reason_of
from worker.outages.retry import kind_of

pytestmark = pytest.mark.slow

PATIENT = "Doe^Jane"
BACKLOG = 200
MISSING_BYTES = 64 << 10


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    with refusing_redis(tmp_path_factory.mktemp("redis") / "home") as started:
        yield started


def refused(url: str) -> RedisError:
    """What whoever reads, and then writes, meets."""
    with Redis.from_url(url, retry=None, socket_timeout=60) as client:
        try:
            client.llen("refused")
            client.lpush("refused", PATIENT)
        except RedisError as error:
            return error
    raise AssertionError("Redis took it")


@pytest.mark.parametrize("answer", REFUSALS)
def test_an_answer_of_a_server_is_told_by_its_reason(refusing: Refusing, answer: str) -> None:
    with REFUSALS[answer](refusing):
        error = refused(refusing.server.url())
    assert answer in reason_of(error)
    assert answer in kind_of(error)
    assert PATIENT not in reason_of(error)
    assert "does not answer" not in reason_of(error)


@pytest.mark.parametrize("answer", [answer for answer in REFUSALS if answer != "LOADING"])  # which is soon over
def test_a_person_is_told_of_the_answer_by_doctor_health_and_submit(
    refusing: Refusing, database: Database, tmp_path: Path, answer: str
) -> None:
    servers = {"DLR_REDIS_URL": refusing.server.url(), "DLR_DATABASE_URL": database.writer_url}
    job = {
        "schema_version": 1,
        "study_instance_uid": "1.2.3",
        "images": {"kind": "files", "paths": ["none.dcm"]},
        "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "frame": 1, "birads": "4A"}],
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    with REFUSALS[answer](refusing):
        health = dlr("health", **servers)
        submitted = dlr("submit", tmp_path / "job.json", **servers)
    said = "replica" if answer == "MASTERDOWN" else answer
    assert (health.returncode, submitted.returncode) == (1, 1)
    assert said in health.stderr
    assert submitted.stderr.startswith("error: service_unavailable: Redis ")
    assert said in submitted.stderr


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://127.0.0.1:{port}/0", "connection refused"),
        ("redis://no-such-host.invalid/0", "the host name"),
    ],
)
def test_a_redis_that_is_not_reached_is_told_by_why(tmp_path: Path, url: str, said: str) -> None:
    address = url.format(port=free_port(tmp_path / "port"))
    assert said in reason_of(refused(address))


def test_what_kombu_makes_of_an_answer_is_told_by_it(refusing: Refusing) -> None:
    with (
        app.connection_for_write(refusing.server.url()) as connection,
        REFUSALS["OOM"](refusing),
        pytest.raises(OperationalError) as caught,
    ):
        app.send_task(INFER_STUDY, args=["0"], connection=connection, retry=False)
    assert "OOM" in kind_of(caught.value)


class Worker:
    """An intake worker, its log, and its Redis."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, url: str) -> None:
        self.process, self.url, self._log = process, url, log

    def said(self) -> str:
        return self._log.read_text()

    def push(self) -> None:
        with Redis.from_url(self.url) as client:
            client.lpush("intake", "no message at all")

    def is_done(self) -> bool:
        """Whether it has taken what was pushed, and has nothing at hand."""
        with Redis.from_url(self.url) as client:
            messages = RedisQueues(client, "")
            return not (messages.waiting()["intake"] or messages.at_work())

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)


def started(refusing: Refusing, database: Database, tmp_path: Path, *program: str) -> Worker:
    url = refusing.server.url()
    command = [sys.executable, *(program or ("-m", "worker.cli.main")), "worker", "--queue", "intake"]
    with (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, "DLR_REDIS_URL": url, "DLR_DATABASE_URL": database.writer_url}
        return Worker(subprocess.Popen(command, env=environment, stdout=log, stderr=log), tmp_path / "log", url)


@pytest.mark.parametrize("first", ["READONLY", "WRONGPASS"])
def test_a_worker_waits_for_a_redis_that_answers_with_errors_from_its_start_on(
    refusing: Refusing, database: Database, tmp_path: Path, first: str
) -> None:
    with REFUSALS[first](refusing):
        worker = started(refusing, database, tmp_path)
        try:
            until(lambda: first in worker.said(), 60, said=worker.said)
        except AssertionError:
            worker.process.kill()
            raise
    try:
        until(lambda: " ready." in worker.said(), 60, said=worker.said)
        for answer in REFUSALS if first == "READONLY" else ():
            told = worker.said().count(answer)
            with ExitStack() as stack:
                with worker.frozen():
                    worker.push()
                    stack.enter_context(REFUSALS[answer](refusing))
                # Out of memory, Redis lets go of what it has, and the worker takes it.
                until(lambda: answer == "OOM" or worker.said().count(answer) > told, said=worker.said)  # noqa: B023
            until(worker.is_done, 60, said=worker.said)
        assert worker.process.poll() is None
    finally:
        worker.process.terminate()
        assert worker.process.wait(patience(30)) == 0


BROKEN = """
from worker import tasks
from worker.broker import transport
from worker.cli.main import main

def broken(*_):
    raise ZeroDivisionError

transport.clean_envelope = broken
main()
"""


def test_a_worker_that_a_fault_ends_says_so_by_its_exit_status(
    refusing: Refusing, database: Database, tmp_path: Path
) -> None:
    worker = started(refusing, database, tmp_path, "-c", BROKEN)
    with Redis.from_url(worker.url) as client:
        client.lpush("intake", json.dumps({"headers": {"task": SUBMIT_STUDY}}))
        assert worker.process.wait(patience(60)) == 1
        assert "ZeroDivisionError" in worker.said()
        client.delete("intake", "dlr.taken")


def test_a_message_stays_where_it_is_while_it_can_not_be_written_down(refusing: Refusing) -> None:
    from worker.broker.redis_scripts import TAKE, TAKEN

    with Redis.from_url(refusing.server.url()) as client:
        client.delete(TAKEN, "intake")
        client.lpush("intake", "a message")
        for rules in (["-hset"], ["-rpop"]):
            with refusing.user(*rules), pytest.raises(RedisError) as caught:
                client.register_script(TAKE)(keys=[TAKEN, "intake"], args=["name", 1])
            assert "NOPERM" in reason_of(caught.value)
            assert (client.lrange("intake", 0, -1), client.hlen(TAKEN)) == ([b"a message"], 0)
        client.delete("intake")


def message_of(number: int) -> str:
    """A job as a hospital's system pushes it."""
    job = {
        "schema_version": 1,
        "study_instance_uid": f"1.2.3.{number}",
        "images": {"kind": "files", "paths": ["none.dcm"]},
        "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "frame": 1, "birads": "4A"}],
    }
    body = json.dumps([[], {"job": job}, {}])
    kind = {"content-type": "application/json", "content-encoding": "utf-8"}
    return json.dumps({"headers": {"task": SUBMIT_STUDY}, "properties": {}, "body": body, **kind})


@pytest.mark.parametrize("prefix", ["", "hospital:"])
def test_a_backlog_that_fills_redis_is_worked_off(
    refusing: Refusing, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setenv("DLR_REDIS_KEY_PREFIX", prefix)
    monkeypatch.setenv("DLR_RECONCILE_S", "1")
    with refusing.client() as client:
        client.flushall()
        messages = RedisQueues(client, prefix)
        client.lpush(f"{prefix}intake", *(message_of(number) for number in range(BACKLOG)))
        limit = client.info("memory")["used_memory"] - MISSING_BYTES
        with refusing.configured({"maxmemory": limit}, {"maxmemory": 0}):
            with pytest.raises(OutOfMemoryError):
                client.lpush(f"{prefix}intake", message_of(BACKLOG))
            worker = started(refusing, database, tmp_path)
            try:
                until(lambda: messages.waiting()["intake"] + messages.at_work() == 0, 60, said=worker.said)
            except AssertionError:
                worker.process.kill()
                raise
        try:
            until(lambda: messages.waiting()["inference"] == BACKLOG, 60, said=worker.said)
            assert worker.process.poll() is None
        finally:
            worker.process.terminate()
            assert worker.process.wait(patience(30)) == 0
        client.flushall()
    with make_engine(database.writer_url).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM study WHERE state = 'queued'")) == BACKLOG
    assert "(OOM)" in worker.said()
