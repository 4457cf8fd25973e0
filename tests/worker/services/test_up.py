import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.worker.inference.samples import write_model
from worker.inference.registry import Registry
from worker.services.flower import flower_url
from worker.services.web import web_url
from worker.settings import get_settings

UP = (sys.executable, "-P", "-c", "import sys; from worker.services.up import run_up; sys.exit(run_up())")


def wait_for(condition: Callable[[], object], seconds: float = 40) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.05)


def start(output: Path) -> "subprocess.Popen[bytes]":
    with output.open("wb") as file:
        process = subprocess.Popen(UP, env=dict(os.environ), stdout=file, stderr=file)
    wait_for(lambda: "up; Ctrl-C stops it" in output.read_text() or process.poll() is not None)
    return process


def flower_status(path: str) -> int | None:
    return status(flower_url(get_settings()), path)


def page_status(path: str) -> int | None:
    return status(web_url(get_settings()), path)


def status(url: str, path: str) -> int | None:
    address = urlsplit(url)
    try:
        connection = HTTPConnection(address.hostname or "", address.port, timeout=5)
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return None


@pytest.mark.slow
def test_the_process_of_shadows_is_started_once_there_is_one(tmp_path: Path) -> None:
    process = start(tmp_path / "out")
    try:
        get_settings.cache_clear()
        registry = Registry(get_settings().models_dir)
        registry.add(*write_model(tmp_path / "new"))
        registry.shadow("DLR_BM", "1.0")
        wait_for(lambda: "a version is a shadow" in (tmp_path / "out").read_text())
        log = Path(os.environ["DLR_HOME"]) / "logs" / "shadow.log"
        wait_for(lambda: log.exists() and "shadow DLR_BM 1.0" in log.read_text(), seconds=120)
        health = [sys.executable, "-m", "worker.cli.main", "shadow", "health"]
        assert subprocess.run(health, env=dict(os.environ), check=False).returncode == 0
    finally:
        process.terminate()
        assert process.wait(60) == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_whole_life(number: signal.Signals, tmp_path: Path) -> None:
    home = Path(os.environ["DLR_HOME"])
    process = start(tmp_path / "out")
    try:
        said = (tmp_path / "out").read_text()
        assert process.poll() is None, said
        assert "No models are active yet" in said
        intake_log = home / "logs" / "intake-worker.log"
        wait_for(lambda: intake_log.exists() and "ready" in intake_log.read_text())
        wait_for(lambda: flower_status("/healthcheck") == 200)
        assert flower_status("/") == 401
        wait_for(lambda: page_status("/healthz") == 204)
        assert page_status("/") == 303
        family = psutil.Process(process.pid).children(recursive=True)
        secrets = [file.read_text() for file in (home / "secrets").iterdir()]
        shown = said + " ".join(" ".join(child.cmdline()) for child in family)
        assert not any(secret in shown for secret in secrets)
        second = subprocess.run(UP, env=dict(os.environ), capture_output=True, text=True, check=False)
        assert "already_running" in second.stderr
    finally:
        process.send_signal(number)
        assert process.wait(60) == 0
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert not (home / "services.json").exists()
    assert "stopped; everything is kept" in (tmp_path / "out").read_text()
