"""A burst of jobs by HTTP, in whose middle the process is killed: what was answered is on record, once."""

import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.waiting import patience, until
from tests.worker.api.test_jobs import a_job
from worker.api.tokens import Scope, Tokens
from worker.network.port import free_port
from worker.settings import Settings

CLIENTS = 8


@dataclass
class Process:
    """`dlr api` as a process, which may be killed and started again."""

    port: int
    process: "subprocess.Popen[bytes]" = field(init=False)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "worker.cli.main", "api", "--port", str(self.port)]
        self.process = subprocess.Popen(command, env={**os.environ, "DLR_API_REQUESTS_PER_S": "10000"})
        until(self._answers)

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @property
    def address(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        try:
            return requests.get(f"{self.address}/healthz", timeout=5).status_code == 204
        except requests.ConnectionError:
            assert self.process.poll() is None
            return False


@contextmanager
def running(folder: Path) -> Iterator[Process]:
    process = Process(free_port(folder / "port"))
    process.start()
    try:
        yield process
    finally:
        process.kill()


def push_all(process: Process, token: str, numbers: range, told: list[str], more: threading.Semaphore) -> None:
    """Push jobs one by one, each until it is answered; a client that hears nothing pushes again."""
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {token}"
        for number in numbers:
            job = a_job(study_instance_uid=f"1.2.{number}", accession_number=f"B{number}")
            while True:
                try:
                    answer = session.post(f"{process.address}/v1/jobs", json=job, timeout=patience(10))
                except (requests.ConnectionError, requests.Timeout):
                    continue
                assert answer.status_code == 202, answer.text
                told.append(answer.json()["study_id"])
                more.release()
                break


@pytest.mark.slow
@pytest.mark.parametrize("each", [10, pytest.param(500, marks=pytest.mark.long)])
def test_each_job_that_was_answered_is_on_record_once_whenever_the_process_is_killed(
    settings: Settings, sessions: sessionmaker[Session], tmp_path: Path, each: int
) -> None:
    token = Tokens(settings.api_tokens).create("burst", [Scope.JOBS_WRITE], None)
    told: list[str] = []
    answered = threading.Semaphore(0)
    with running(tmp_path) as process, ThreadPoolExecutor(CLIENTS) as clients:
        pushing = [
            clients.submit(push_all, process, token, range(each * one, each * (one + 1)), told, answered)
            for one in range(CLIENTS)
        ]
        for _ in range(each * CLIENTS // 2):
            assert answered.acquire(timeout=patience(60))
        process.kill()
        process.start()
        for one in pushing:
            one.result()
    with sessions() as session:
        rows = session.execute(text("SELECT id::text, study_instance_uid, revision, is_current FROM study")).all()
    assert len(told) == each * CLIENTS
    assert set(told) <= {row[0] for row in rows}
    assert Counter(row[1] for row in rows) == {f"1.2.{number}": 1 for number in range(each * CLIENTS)}
