"""One worker a device, each with a name of its own, and all of them gone when their parent is."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.end_to_end.small_models import add_small_models
from worker.services.fleet import named
from worker.services.running import running_services
from worker.settings import get_settings

FLEET = (sys.executable, "-P", "-m", "worker.cli.main", "worker")


def wait_for(condition: Callable[[], object], seconds: float = 60) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


def workers(process: "subprocess.Popen[bytes]") -> dict[str, psutil.Process]:
    """The workers of a fleet by name; their decoders apart."""
    found = {}
    for child in psutil.Process(process.pid).children():
        words = child.cmdline()
        if "--name" in words:
            found[words[words.index("--name") + 1]] = child
    return found


def test_each_worker_has_a_name_of_its_own() -> None:
    assert named(["cuda:0", "cuda:1", "cuda:0"]) == [
        ("inference-cuda-0", "cuda:0"),
        ("inference-cuda-1", "cuda:1"),
        ("inference-cuda-0-2", "cuda:0"),
    ]


@pytest.mark.slow
def test_a_fleet_works_mends_itself_and_ends(tmp_path: Path) -> None:
    with running_services(Path(os.environ["DLR_HOME"])):
        add_small_models(get_settings().models_dir)
        output = tmp_path / "out"
        with output.open("wb") as file:
            process = subprocess.Popen([*FLEET, "--devices", "cpu,cpu"], env=dict(os.environ), stdout=file, stderr=file)
        try:
            wait_for(lambda: output.read_text().count("ready.") == 2)
            alive = workers(process)
            assert sorted(alive) == ["inference-cpu", "inference-cpu-2"]
            alive["inference-cpu"].kill()
            wait_for(lambda: output.read_text().count("ready.") == 3)
            assert "inference-cpu ended (SIGKILL); it starts again in 1 s" in output.read_text()
            assert workers(process)["inference-cpu-2"] == alive["inference-cpu-2"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
        assert not any(child.is_running() for child in alive.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "all", "--device", "cpu"], "leave out the others"),
        (["--devices", "all", "--queue", "intake"], "leave out the others"),
        (["--devices", "cpu,cuda:99"], "no such device"),
    ],
)
def test_what_can_not_be_meant_is_refused(arguments: list[str], said: str) -> None:
    environment = {**os.environ, "DLR_REDIS_URL": "redis://127.0.0.1:1/0", "COLUMNS": "200"}
    ended = subprocess.run([*FLEET, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert said in ended.stderr
