import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from worker.services.home import Home
from worker.services.supervisor import Child, Supervisor

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def python(name: str, program: str) -> Child:
    return Child(name, (sys.executable, "-S", "-c", program), dict(os.environ))


def wait_for(condition: Callable[[], object], seconds: float = 10) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)


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
    wait_for(lambda: {"out", "err"} == set(log(tmp_path, "talker").split()))


def test_a_child_that_dies_is_started_again_after_a_pause_that_doubles(
    supervisor: Supervisor, said: list[str], tmp_path: Path
) -> None:
    supervisor.start(python("mortal", "print('life', flush=True); raise SystemExit(3)"))

    def third_life() -> bool:
        supervisor.look()
        return log(tmp_path, "mortal").count("life") == 3

    begin = time.monotonic()
    wait_for(third_life)
    assert time.monotonic() - begin > 3
    assert [line.split(". See")[0] for line in said[:2]] == [
        "mortal ended (exit status 3); it starts again in 1 s",
        "mortal ended (exit status 3); it starts again in 2 s",
    ]


def test_it_says_which_signal_ended_a_child(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(python("victim", "import time; time.sleep(60)"))
    pid = supervisor.pid("victim")
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    def is_said() -> bool:
        supervisor.look()
        return bool(said)

    wait_for(is_said)
    assert said[0].startswith("victim ended (SIGKILL)")
    assert supervisor.pid("victim") is None


def test_every_child_is_asked_to_end_and_can_tidy_up(supervisor: Supervisor, tmp_path: Path) -> None:
    tidied = tmp_path / "tidied"
    for name in ("first", "second", "third"):
        program = (
            "import signal, sys, time\n"
            f"def bye(*_): open({str(tidied)!r}, 'a').write('{name} '); sys.exit()\n"
            "signal.signal(signal.SIGTERM, bye); print('up', flush=True); time.sleep(60)"
        )
        supervisor.start(python(name, program))
    wait_for(lambda: all("up" in log(tmp_path, name) for name in ("first", "second", "third")))
    supervisor.stop()
    assert sorted(tidied.read_text().split()) == ["first", "second", "third"]


def test_a_child_that_does_not_end_in_the_grace_time_is_killed(tmp_path: Path, said: list[str]) -> None:
    supervisor = Supervisor(Home(tmp_path), said.append, grace_s=0.3)
    supervisor.start(python("stubborn", STUBBORN))
    wait_for(lambda: "up" in log(tmp_path, "stubborn"))
    pid = supervisor.pid("stubborn")
    assert pid is not None
    supervisor.stop()
    assert is_gone(pid)
    assert said == ["stubborn did not end in time and was killed"]


def test_a_hurry_does_not_wait_for_the_grace_time(tmp_path: Path, said: list[str]) -> None:
    supervisor = Supervisor(Home(tmp_path), said.append, grace_s=60)
    supervisor.start(python("stubborn", STUBBORN))
    wait_for(lambda: "up" in log(tmp_path, "stubborn"))
    supervisor.hurry.set()
    begin = time.monotonic()
    supervisor.stop()
    assert time.monotonic() - begin < 5


def test_ctrl_c_in_the_terminal_does_not_reach_a_child(supervisor: Supervisor) -> None:
    supervisor.start(python("quiet", "import time; time.sleep(60)"))
    pid = supervisor.pid("quiet")
    assert pid is not None
    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) != os.getpgid(0)


def test_children_do_not_outlive_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from worker.services.home import Home; "
        "from worker.services.supervisor import Child, Supervisor; "
        "supervisor = Supervisor(Home(Path(sys.argv[1])), print); "
        f"supervisor.start(Child('child', (sys.executable, '-S', '-c', {STUBBORN!r}), dict(os.environ))); "
        "print(supervisor.pid('child'), flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    wait_for(lambda: "up" in log(tmp_path, "child"))
    assert not is_gone(child)
    parent.kill()
    parent.communicate()
    wait_for(lambda: is_gone(child))


def test_the_environment_of_a_child_does_not_show_in_its_repr() -> None:
    assert "secret" not in repr(Child("name", ("program",), {"PASSWORD": "secret"}))
