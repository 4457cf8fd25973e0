"""One worker a device, each with a name of its own, and all of them gone when their parent is."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.command_line import dlr
from tests.conftest import Database
from tests.waiting import patience, until
from tests.worker.inference.samples import registry_with_both
from worker.services.fleet import named

MENDING = """
import sys
from types import SimpleNamespace

from worker.services import fleet

fleet.sys = SimpleNamespace(executable=sys.argv[1])
sys.exit(fleet.run_fleet(["cpu", "cpu"], ["--concurrency", "2"], lambda line: print(line, flush=True), 30.0))
"""
"""A fleet whose workers are not Python but another program."""

STAND_IN = f"#!{sys.executable} -S\nimport signal\nsignal.pause()\n"


@contextmanager
def running(*command: object, output: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """Run a fleet, and end it as an operator does."""
    with (
        output.open("wb") as file,
        subprocess.Popen([sys.executable, "-P", *map(str, command)], stdout=file, stderr=file) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            assert process.wait(patience(60)) == 0, output.read_text()


def workers(process: "subprocess.Popen[bytes]") -> dict[str, psutil.Process]:
    """The workers of a fleet by name; their decoders apart."""
    found = {}
    for child in psutil.Process(process.pid).children():
        with suppress(psutil.NoSuchProcess):
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


def test_a_worker_that_ends_is_started_again_and_the_others_go_on(tmp_path: Path) -> None:
    stand_in, output = tmp_path / "stand-in", tmp_path / "out"
    stand_in.write_text(STAND_IN)
    stand_in.chmod(0o700)
    with running("-c", MENDING, stand_in, output=output) as process:
        both = ["inference-cpu", "inference-cpu-2"]
        alive = until(lambda: found if sorted(found := workers(process)) == both else None, said=output.read_text)
        told = ["worker", "--device", "cpu", "--name", "inference-cpu-2", "--concurrency", "2"]
        assert alive["inference-cpu-2"].cmdline()[-len(told) :] == told
        alive["inference-cpu"].kill()
        until(lambda: workers(process).get("inference-cpu", alive["inference-cpu"]) != alive["inference-cpu"])
        assert "inference-cpu exited (SIGKILL); it restarts in 1 s" in output.read_text()
        assert workers(process)["inference-cpu-2"] == alive["inference-cpu-2"]
        last = workers(process).values()
    assert not any(child.is_running() for child in last)


@pytest.mark.slow
def test_the_workers_of_a_fleet_serve_and_end_with_it(
    database: Database, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_DATABASE_URL", database.writer_url)
    monkeypatch.setenv("DLR_REDIS_URL", redis_url)
    registry_with_both(tmp_path)
    monkeypatch.setenv("DLR_MODELS_DIR", str(tmp_path / "registry"))
    output = tmp_path / "out"
    with running("-m", "worker.cli.main", "worker", "--devices", "cpu,cpu", output=output) as process:
        until(lambda: output.read_text().count("ready.") == 2, 60, said=output.read_text)
        served = workers(process)
        assert sorted(served) == ["inference-cpu", "inference-cpu-2"]
    assert "one worker on each of cpu" in output.read_text()
    assert not any(worker.is_running() for worker in served.values())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devices", "all", "--device", "cpu"], "leave out --device, --name and --queue intake"),
        (["--devices", "all", "--name", "one"], "leave out --device, --name and --queue intake"),
        (["--devices", "all", "--queue", "intake"], "leave out --device, --name and --queue intake"),
        (["--devices", "cpu,cuda:99"], "no such device"),
    ],
)
def test_what_can_not_be_meant_is_refused(arguments: list[str], said: str) -> None:
    ended = dlr("worker", *arguments, DLR_REDIS_URL="redis://127.0.0.1:1/0", COLUMNS=200)
    assert ended.returncode != 0
    assert said in ended.stderr
