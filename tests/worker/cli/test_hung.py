"""`dlr health`, `dlr doctor` and `dlr submit` while a server hangs."""

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import generate_uid

from tests.command_line import dlr
from tests.conftest import Database
from tests.waiting import patience

BOUND_S = 60.0
"""Longer than any command looks at all servers, some of them several times, for five seconds each."""


@pytest.fixture
def hung() -> Iterator[socket.socket]:
    """A server that takes connections and does not answer, as one that was stopped with SIGSTOP does.

    It goes away at last: whoever waits for as long as it hangs does not wait for ever.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        end = threading.Timer(patience(BOUND_S), listener.close)
        end.start()
        yield listener
        end.cancel()


@pytest.mark.slow
@pytest.mark.parametrize("server", ["DLR_REDIS_URL", "DLR_DATABASE_URL"])
@pytest.mark.parametrize("command", ["health", "doctor", "submit"])
def test_a_server_that_hangs_is_named_within_seconds(
    database: Database,
    redis_url: str,
    hung: socket.socket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    command: str,
) -> None:
    monkeypatch.setattr("db.session.CONNECT_TIMEOUT_S", 1)
    job = tmp_path / "job.json"
    study = {
        "schema_version": 1,
        "study_instance_uid": generate_uid(),
        "images": {"kind": "files", "paths": ["none.dcm"]},
        "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "frame": 1, "birads": "4A"}],
    }
    job.write_text(json.dumps(study))
    scheme = "redis" if server == "DLR_REDIS_URL" else "postgresql"
    arguments = [command, job] if command == "submit" else [command]
    servers = {"DLR_DATABASE_URL": database.writer_url, "DLR_REDIS_URL": redis_url}
    done = dlr(*arguments, **{**servers, server: f"{scheme}://u:p@127.0.0.1:{hung.getsockname()[1]}/0"})
    assert hung.fileno() >= 0, "the server was waited for"
    assert done.returncode == 1, (done.stdout, done.stderr)
    assert {"redis": "Redis", "postgresql": "PostgreSQL"}[scheme] in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
