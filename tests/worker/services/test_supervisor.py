import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from tests.waiting import until
from worker.services import supervisor as supervising
from worker.services.home import Home
from worker.services.supervisor import Child, Supervisor

STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def python(name: str, program: str) -> Child:
    return Child(name, (sys.executable, "-S", "-c", program), dict(os.environ))


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(tmp_path: Path, said: list[str]) -> Iterator[Supervisor]:
    with Supervisor(Home(tmp_path), said.append, grace_s=5) as supervisor:
        yield supervisor


def log(tmp_path: Path, name: str) -> str:
    file = tmp_path / "logs" / f"{name}.log"
    return file.read_text() if file.exists() else ""


def test_a_childs_words_go_to_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(python("talker", "import sys; print('out'); print('err', file=sys.stderr)"))
    until(lambda: {"out", "err"} == set(log(tmp_path, "talker").split()))


def test_a_child_that_dies_is_started_again_after_a_pause_that_doubles(
    supervisor: Supervisor, said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(supervising, "time", SimpleNamespace(monotonic=lambda: now))
    supervisor.start(python("mortal", "print('life', flush=True); raise SystemExit(3)"))

    def has_died(times: int) -> bool:
        supervisor.look()
        return len(said) == times

    for lives, pause in enumerate((1, 2, 4), 1):
        until(partial(has_died, lives))
        assert said[-1].split(". See")[0] == f"mortal exited (exit status 3); it restarts in {pause} s"
        assert log(tmp_path, "mortal").count("life") == lives
        now += pause - 0.1
        supervisor.look()
        assert supervisor.pid("mortal") is None
        now += 0.2
        supervisor.look()
    until(lambda: log(tmp_path, "mortal").count("life") == 4)


def test_it_says_which_signal_ended_a_child(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(python("victim", "import signal; signal.pause()"))
    pid = supervisor.pid("victim")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def is_said() -> bool:
        supervisor.look()
        return bool(said)

    until(is_said)
    assert said[0].startswith("victim exited (SIGKILL)")
    assert supervisor.pid("victim") is None


def test_every_child_is_asked_to_end_and_can_tidy_up(supervisor: Supervisor, tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    for name in ("first", "second", "third"):
        program = (
            "import signal, sys\n"
            f"def bye(*_): open({str(tidied)!r}, 'a').write('{name} '); sys.exit()\n"
            "signal.signal(signal.SIGTERM, bye); print('up', flush=True); signal.pause()"
        )
        supervisor.start(python(name, program))
    until(lambda: all("up" in log(tmp_path, name) for name in ("first", "second", "third")))
    supervisor.stop()
    assert sorted(tidied.read_text().split()) == ["first", "second", "third"]


def test_a_child_that_does_not_end_in_the_grace_time_is_killed(tmp_path: Path, said: list[str]) -> None:
    supervisor = Supervisor(Home(tmp_path), said.append, grace_s=0.3)
    supervisor.start(python("stubborn", STUBBORN))
    until(lambda: "up" in log(tmp_path, "stubborn"))
    pid = supervisor.pid("stubborn")
    assert pid is not None
    supervisor.stop()
    assert is_gone(pid)
    assert said == ["stubborn did not stop in time and was killed"]


def test_a_hurry_does_not_wait_for_the_grace_time(tmp_path: Path, said: list[str]) -> None:
    supervisor = Supervisor(Home(tmp_path), said.append, grace_s=3600)
    supervisor.start(python("stubborn", STUBBORN))
    until(lambda: "up" in log(tmp_path, "stubborn"))
    supervisor.hurry.set()
    supervisor.stop()
    assert said == ["stubborn did not stop in time and was killed"]


def test_ctrl_c_in_the_terminal_does_not_reach_a_child(supervisor: Supervisor) -> None:
    supervisor.start(python("quiet", "import signal; signal.pause()"))
    pid = supervisor.pid("quiet")
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)


def test_children_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from worker.services.home import Home; "
        "from worker.services.supervisor import Child, Supervisor; "
        "supervisor = Supervisor(Home(Path(sys.argv[1])), print); "
        f"supervisor.start(Child('child', (sys.executable, '-S', '-c', {STUBBORN!r}), dict(os.environ))); "
        "print(supervisor.pid('child'), flush=True); signal.pause()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    until(lambda: "up" in log(tmp_path, "child"))
    assert not is_gone(child)
    parent.kill()
    parent.communicate()
    until(lambda: is_gone(child))


def test_the_environment_of_a_child_does_not_show_in_its_repr() -> None:
    assert "secret" not in repr(Child("name", ("program",), {"PASSWORD": "secret"}))
