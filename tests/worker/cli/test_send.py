"""``dlr send``: stopped and killed, as a process of its own; run from cron, and asked what waits."""

import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.schema.audit import Audited
from db.writes import audit
from tests.command_line import clean_environment, dlr
from tests.conftest import Database
from tests.db.samples import writing
from tests.waiting import patience, until
from tests.worker.sending.hospital import (
    REFUSED,
    SENT,
    SUCCESS,
    WAITING,
    Archive,
    Receiver,
    deliveries,
    end_study,
    receiving,
    running,
)
from worker.network.port import free_port

Sessions = sessionmaker[Session]

BEFORE, STUDIES = 8, 12
"""That end before the PACS goes away in the middle, and in all."""


@pytest.fixture
def sessions(database: Database) -> Iterator[Sessions]:
    with writing(database) as sessions:
        yield sessions


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def port(tmp_path: Path) -> int:
    return free_port(tmp_path / "port")


@pytest.fixture
def environment(database: Database, root: Path, port: int) -> dict[str, str]:
    return clean_environment() | {
        "DLR_HOME": str(root.parent / "home"),
        "DLR_DATABASE_URL": database.writer_url,
        "DLR_STORAGE_ROOT": str(root),
        "DLR_SEND_PACS": f"PACS@127.0.0.1:{port}",
        "DLR_SEND_TIMEOUT_S": "1",
        "DLR_RETRY_WAIT_S": "0.2",
    }


COMMAND = [sys.executable, "-m", "worker.cli.main", "send"]


@pytest.fixture
def dlr_send(environment: dict[str, str]) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return dlr("send", *arguments, environment=environment, **variables)

    return run


@pytest.fixture
def start(environment: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    started: list[subprocess.Popen[bytes]] = []

    def begin(**variables: str) -> "subprocess.Popen[bytes]":
        with (tmp_path / "log").open("ab") as log:
            started.append(subprocess.Popen(COMMAND, env=environment | variables, stdout=log, stderr=log))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.wait(patience(30))


def switched_on(sessions: Sessions) -> bool:
    with sessions() as session:
        return bool(session.connection().exec_driver_sql("SELECT count(*) FROM outbox").scalar())


def states(sessions: Sessions) -> list[str]:
    return [row["state"] for row in deliveries(sessions)]


@pytest.mark.slow
def test_a_sender_that_is_killed_between_the_store_and_the_commit_sends_the_same_instance_again(
    sessions: Sessions, root: Path, port: int, start: Callable[..., "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    sender = start()
    until(lambda: switched_on(sessions))

    def kill(_uid: str) -> int:
        if sender.poll() is None:
            sender.kill()
            sender.wait(patience(30))
        return SUCCESS

    archive = Archive(port, answer=kill)
    with running(archive):
        end_study(sessions, root)
        until(lambda: archive.kept)
        assert sender.wait(patience(30)) == -signal.SIGKILL
        assert states(sessions) == [WAITING]
        again = start()
        until(lambda: states(sessions) == [SENT])
        assert archive.asked == list(archive.kept) * 2
        again.send_signal(signal.SIGTERM)
        assert again.wait(patience(30)) == 0
    logged = (tmp_path / "log").read_text()
    assert "sent to pacs" in logged
    assert "Phantom" not in logged
    assert "1.2.826" not in logged


def attempts(sessions: Sessions) -> int:
    return sum(row["attempts"] for row in deliveries(sessions))


@pytest.mark.slow
def test_two_senders_and_a_pacs_that_is_down_at_first_lose_and_double_nothing(
    sessions: Sessions, root: Path, port: int, start: Callable[..., "subprocess.Popen[bytes]"]
) -> None:
    senders = [start(), start()]
    until(lambda: switched_on(sessions))
    for number in range(BEFORE):
        end_study(sessions, root, number)
    until(lambda: any(row["error_code"] for row in deliveries(sessions)))
    with running(Archive(port)) as archive:
        until(lambda: len(archive.kept) >= BEFORE / 2)
        archive.stop()
        senders[0].kill()
        for number in range(BEFORE, STUDIES):
            end_study(sessions, root, number)
        tries = attempts(sessions)
        until(lambda: attempts(sessions) > tries)
        archive.start()
        until(lambda: states(sessions) == [SENT] * STUDIES)
        senders[1].send_signal(signal.SIGINT)
        assert senders[1].wait(patience(30)) == 0
    assert {row["sop_instance_uid"] for row in deliveries(sessions)} == set(archive.kept)
    assert len(archive.kept) == STUDIES


def test_once_delivers_what_is_due_and_says_by_its_status_whether_all_of_it_went(
    sessions: Sessions, root: Path, port: int, dlr_send: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    assert dlr_send("--once").returncode == 0, "there is nothing"
    end_study(sessions, root)
    away = dlr_send("--once")
    assert (away.returncode, "the connection was refused" in away.stdout) == (1, True)
    assert dlr_send("retry").returncode == 0
    with running(Archive(port)), receiving(Receiver()) as receiver:
        done = dlr_send("--once", DLR_SEND_WEBHOOK_URL=receiver.url)
        assert done.returncode == 0, done.stderr
        assert dlr_send("--once", "--since", "1d", DLR_SEND_WEBHOOK_URL=receiver.url).returncode == 0
    assert len(receiver.heard) == 1
    assert states(sessions) == [SENT] * 2
    assert dlr_send("retry").returncode == 1, "there is nothing to try again"


def test_what_was_refused_is_listed_tried_again_and_a_probe_is_answered(
    sessions: Sessions, root: Path, port: int, dlr_send: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    assert dlr_send("health").returncode == 1, "nobody has looked yet"
    dlr_send("--once")
    assert dlr_send("health").returncode == 0
    study_id = end_study(sessions, root)
    with running(Archive(port, answer=lambda _: REFUSED)):
        assert dlr_send("--once").returncode == 1
    listed = dlr_send("list", "--failed", "--format", "json")
    (row,) = json.loads(listed.stdout)
    assert (row["study_id"], row["error_code"], row["state"]) == (str(study_id), "destination_refused", "failed")
    assert "0xA900" in dlr_send("list").stdout
    assert "1.2.826" not in listed.stdout
    assert json.loads(dlr_send("list", "--destination", "ups", "--format", "json").stdout) == []
    assert dlr_send("retry", "--id", str(row["delivery_id"])).returncode == 0
    with running(Archive(port)):
        assert dlr_send("--once").returncode == 0


def test_without_a_destination_it_says_which_settings_there_are(
    dlr_send: Callable[..., "subprocess.CompletedProcess[str]"],
) -> None:
    done = dlr_send(DLR_SEND_PACS="")
    assert done.returncode == 1
    assert "DLR_SEND_WEBHOOK_URL" in done.stderr


def test_a_collector_of_audit_messages_needs_no_destination_beside_it(
    sessions: Sessions, dlr_send: Callable[..., "subprocess.CompletedProcess[str]"], port: int
) -> None:
    named = {"DLR_SEND_PACS": "", "DLR_AUDIT_COLLECTOR": f"tcp://127.0.0.1:{port}"}
    with sessions.begin() as session:
        audit.note(session, Audited.SIGNED_IN, "anna")
    away = dlr_send("--once", **named)
    assert (away.returncode, "cannot be reached" in away.stdout) == (1, True), away.stderr
    health = dlr_send("health", "--format", "json", **named)
    [row] = json.loads(health.stdout)
    assert (health.returncode, row["destination"], row["waiting"]) == (0, f"tcp://127.0.0.1:{port}", 1)
    with socket.create_server(("127.0.0.1", port)) as server:
        heard: list[bytes] = []

        def hear() -> None:
            with server.accept()[0] as connection, connection.makefile("rb") as stream:
                heard.append(stream.read())

        thread = threading.Thread(target=hear)
        thread.start()
        assert dlr_send("--once", **named).returncode == 0
        thread.join()
    assert b'UserID="anna"' in heard[0]


def test_a_file_of_destinations_is_checked_shown_asked_and_delivered_to(
    sessions: Sessions,
    root: Path,
    port: int,
    dlr_send: Callable[..., "subprocess.CompletedProcess[str]"],
    tmp_path: Path,
) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text(
        f'[destination.archive]\nkind = "dimse"\naddress = "PACS@127.0.0.1:{port}"\ncommitment = true\n'
        '[destination.drop]\nkind = "folder"\npath = "drop"\n'
    )
    (tmp_path / "drop").mkdir()
    named = {"DLR_SEND_DESTINATIONS": str(file), "DLR_SEND_PACS": ""}
    checked = dlr_send("check", str(file), "--format", "json")
    assert [row["destination"] for row in json.loads(checked.stdout)] == ["archive", "drop"], checked.stderr
    assert [row["commitment"] for row in json.loads(checked.stdout)] == ["within 3600 s", None]
    assert dlr_send("--once", **named).returncode == 0, "there is nothing"
    study_id = end_study(sessions, root, fails=True)
    asked = dlr_send("test", "--format", "json", **named)
    assert (asked.returncode, [row["answers"] for row in json.loads(asked.stdout)]) == (1, [False, True])
    once = dlr_send("--once", **named)
    assert once.returncode == 1, once.stderr
    shown = json.loads(dlr_send("show", "--format", "json", **named).stdout)
    assert [(row["destination"], row["waiting"], row["takes"]) for row in shown] == [
        ("archive", 1, "every result; no demo results"),
        ("drop", 0, "every result; no demo results"),
    ]
    (row,) = json.loads(dlr_send("list", "archive", "--format", "json", **named).stdout)
    assert (row["destination"], row["study_id"]) == ("archive", str(study_id))
    assert json.loads(dlr_send("list", "drop", "--format", "json", **named).stdout) == []
    assert dlr_send("retry", "drop", **named).returncode == 1
    assert dlr_send("retry", "archive", **named).returncode == 0
    file.write_text(file.read_text().replace("dimse", "fax"))
    bad = dlr_send("check", **named)
    assert bad.returncode == 1
    assert "destination.archive: 'kind' has to be one of" in bad.stderr
    assert dlr_send("show", "nobody", DLR_SEND_PACS=f"PACS@127.0.0.1:{port}").returncode == 1
