import socket
from pathlib import Path

import pytest

from tests.command_line import dlr, dlr_process
from tests.conftest import Database
from worker.network.port import LOOPBACK, free_port, is_free


def test_the_port_of_the_last_start_is_used_again(tmp_path: Path) -> None:
    port = free_port(tmp_path / "port")
    assert is_free(port)
    assert free_port(tmp_path / "port") == port


def test_another_is_taken_when_somebody_listens_there_now(tmp_path: Path) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "port").write_text(str(port))
        assert not is_free(port)
        other = free_port(tmp_path / "port")
    assert other != port
    assert free_port(tmp_path / "port") == other


@pytest.mark.parametrize("command", ["web", "flower", "metrics", "receive"])
def test_each_service_refuses_a_port_that_is_taken_and_names_its_setting(
    database: Database, redis_url: str, tmp_path: Path, command: str
) -> None:
    setting = {"metrics": "DLR_EXPORTER_PORT"}.get(command, f"DLR_{command.upper()}_PORT")
    databases = {"DLR_DATABASE_URL": database.writer_url, "DLR_WEB_DATABASE_URL": database.web_url}
    dlr("web", "user", "add", "reader", stdin="a long password\n")
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
        refused = dlr_process(
            command, DLR_FLOWER_PASSWORD="secret", DLR_REDIS_URL=redis_url, **databases, **{setting: port}
        )
    assert refused.returncode == 1
    assert f"error: setting_invalid: {setting}: 127.0.0.1:{port}" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("written", ["", "not a port", "0", "80", "70000", "-1"])
def test_a_file_that_holds_no_usable_port_is_written_anew(tmp_path: Path, written: str) -> None:
    (tmp_path / "port").write_text(written)
    port = free_port(tmp_path / "port")
    assert 1024 <= port <= 65535
    assert int((tmp_path / "port").read_text()) == port
