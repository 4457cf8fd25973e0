import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.command_line import dlr
from tests.waiting import patience, until
from tests.worker.inference.samples import write_model
from worker.inference.registry import Registry
from worker.services.flower import flower_url
from worker.services.web_process import web_url
from worker.settings import get_settings

UP = (sys.executable, "-P", "-c", "import sys; from worker.services.up import run_up; sys.exit(run_up())")


@contextmanager
def running(output: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run it, and end it with the Ctrl-C that it speaks of."""
    with output.open("wb") as file, subprocess.Popen(UP, stdout=file, stderr=file) as process:
        try:
            until(lambda: "up; Ctrl-C stops it" in output.read_text() or process.poll() is not None, 60)
            assert process.poll() is None, output.read_text()
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(patience(60)) == 0


def status(url: str, path: str) -> int | None:
    address = urlsplit(url)
    try:
        connection = HTTPConnection(address.hostname or "", address.port, timeout=patience(5))
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None


def is_in(file: Path, words: str) -> bool:
    return file.exists() and words in file.read_text()


def command_of(process: psutil.Process) -> str:
    """Its command line; none, where it has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


@pytest.mark.slow
def test_a_whole_life(tmp_path: Path) -> None:
    home, output = Path(os.environ["DLR_HOME"]), tmp_path / "out"
    with running(output) as process:
        said = output.read_text()
        assert "No models are active yet" in said
        get_settings.cache_clear()
        flower, page = flower_url(get_settings()), web_url(get_settings())
        until(lambda: is_in(home / "logs" / "intake-worker.log", "ready"), 60)
        until(lambda: status(flower, "/healthcheck") == 200)
        assert status(flower, "/") == 401
        until(lambda: status(page, "/healthz") == 204)
        assert status(page, "/") == 303
        assert "already_running" in dlr("up").stderr

        registry = Registry(get_settings().models_dir)
        registry.add(*write_model(tmp_path / "new"))
        registry.shadow("DLR_BM", "1.0")
        until(lambda: is_in(output, "there is a shadow version"))
        until(lambda: is_in(home / "logs" / "shadow.log", "shadow DLR_BM 1.0"), 60)
        assert dlr("shadow", "health").returncode == 0

        family = psutil.Process(process.pid).children(recursive=True)
        secrets = [file.read_text() for file in (home / "secrets").iterdir()]
        shown = output.read_text() + " ".join(map(command_of, family))
        assert not any(secret in shown for secret in secrets)
    assert psutil.wait_procs(family, timeout=patience(5))[1] == []
    assert not (home / "services.json").exists()
    assert "stopped; all data is in DLR_HOME" in output.read_text()
