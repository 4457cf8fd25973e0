"""``dlr perform`` as a process, killed where it hurts; the manager is pynetdicom's, the PACS Orthanc."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from tests import command_line
from tests.conftest import Database
from tests.pacs_servers import PacsPeer
from tests.waiting import patience, until
from tests.worker.intake.test_fetching import STUDY
from tests.worker.performing.test_performer import score, studies
from tests.worker.performing.ups_manager import UpsManager, work_item

pytestmark = pytest.mark.slow

ANSWERS = ("IN PROGRESS ", "N-SET 0", "IN PROGRESS 0", "N-SET 50", "N-SET 100", "COMPLETED 100")
"""To the claim, its progress, the claim that is made again, the progress once it is recorded, the outcome, the end."""


class Process:
    """The performer, started again whenever it is killed."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self.environment, self.log = environment, log
        self.running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "worker.cli.main", "perform"]
        with self.log.open("ab") as said:
            self.running = subprocess.Popen(command, env=self.environment, stdout=said, stderr=said)

    def kill(self) -> None:
        assert self.running is not None
        os.kill(self.running.pid, signal.SIGKILL)

    def has_died(self) -> bool:
        return self.running is not None and self.running.poll() == -signal.SIGKILL

    def stop(self) -> int:
        assert self.running is not None
        self.running.terminate()
        return self.running.wait(patience(30))


@pytest.mark.parametrize(
    "killed_at",
    [pytest.param(ANSWERS, marks=pytest.mark.long), (ANSWERS[0], ANSWERS[-1])],
    ids=["each", "the claim and the completion"],
)
def test_an_item_is_performed_once_though_its_performer_is_killed_before_each_answer_of_its_manager(
    killed_at: tuple[str, ...],
    manager: UpsManager,
    database: Database,
    sessions: sessionmaker[Session],
    redis_url: str,
    tmp_path: Path,
    pacs: PacsPeer,
) -> None:
    environment = command_line.clean_environment(
        DLR_HOME=str(tmp_path / "home"),
        DLR_DATABASE_URL=database.writer_url,
        DLR_REDIS_URL=redis_url,
        DLR_PACS_SERVERS=json.dumps({"pacs": {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": pacs.port}}),
        DLR_PERFORM_MANAGER=f"RIS@127.0.0.1:{manager.port}",
        DLR_PERFORM_STATIONS="DLR1^99HOSPITAL",
        DLR_PERFORM_LOOK_S="0.2",
    )
    process = Process(environment, tmp_path / "log")
    killed: list[str] = []

    def die(service: str, _uid: str) -> None:
        place = f"{service} {manager.told[-1][1] if manager.told else ''}"
        if place in killed_at and place not in killed:
            killed.append(place)
            process.kill()

    manager.before_answer = die
    uid = manager.add(work_item((STUDY,), "A-77"))
    said = lambda: process.log.read_text(errors="replace")[-3000:]  # noqa: E731
    try:
        while manager.state(uid) != "COMPLETED":
            process.start()
            until(lambda: process.has_died() or _is_scorable(sessions), 60, said=said)
            if not process.has_died():
                score(sessions)
                until(process.has_died, 60, said=said)
        process.start()
        until(lambda: not list((tmp_path / "home/storage/claims").rglob("*.json")), 60, said=said)
        assert process.stop() == 0
    finally:
        if process.running is not None and process.running.poll() is None:
            process.kill()
    assert tuple(killed) == killed_at
    assert len({transaction for _, transaction in manager.claims}) == 1, "by one Transaction UID"
    assert len(studies(sessions)) == 1
    log = process.log.read_text(errors="replace")
    assert not any(one in log for one in (STUDY, "A-77", uid))


def _is_scorable(sessions: sessionmaker[Session]) -> bool:
    return any(study["state"] == "queued" for study in studies(sessions))
