import socket
from pathlib import Path

import pytest

from worker.services.port import LOOPBACK, free_port, is_free


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


@pytest.mark.parametrize("written", ["", "not a port", "0", "80", "70000", "-1"])
def test_a_file_that_holds_no_usable_port_is_written_anew(tmp_path: Path, written: str) -> None:
    (tmp_path / "port").write_text(written)
    port = free_port(tmp_path / "port")
    assert 1024 <= port <= 65535
    assert int((tmp_path / "port").read_text()) == port
