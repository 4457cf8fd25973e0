"""Child processes that are kept running, and that never outlive the process which keeps them."""

import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import Self

from worker.outages.backoff import backoff_s
from worker.services.home import Home
from worker.services.launch import wrapped

GRACE_SECONDS = 30.0
FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0
STEADY_SECONDS = 60.0
LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A program to keep running. ``argv[0]`` is a path; ``env`` is all of its environment."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)


@dataclass(slots=True)
class _Run:
    child: Child
    log: Path | None
    process: "subprocess.Popen[bytes]"
    since: float
    deaths: int = 0
    due: float | None = None


class Supervisor:
    """Starts children, restarts those that die, and stops them all.

    Each child has a session of its own, so that Ctrl-C in the terminal reaches this process alone, and the kernel
    kills it when the thread that started it ends: use it from the main thread.

    Args:
        home: keeps a log for each child; ``None``: their output is this process's own.
        say: is given a sentence for each child that ends.
        grace_s: how long a child may take to end, in seconds.
    """

    def __init__(self, home: Home | None, say: Callable[[str], None], grace_s: float = GRACE_SECONDS) -> None:
        self._home = home
        self._say = say
        self._grace_s = grace_s
        self._runs: list[_Run] = []
        self.hurry = Event()
        """Set it to stop without the grace time, also while ``stop`` waits."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, child: Child) -> None:
        """Start a child and keep it running from now on."""
        log = None if self._home is None else self._home.log_file(child.name)
        self._runs.append(_Run(child, log, self._spawn(child, log), time.monotonic()))

    def pid(self, name: str) -> int | None:
        """Return the process id of a child that runs now."""
        for run in self._runs:
            if run.child.name == name and run.process.poll() is None:
                return run.process.pid
        return None

    def look(self) -> None:
        """Look after the children once: say who died, and start again whose pause is over."""
        now = time.monotonic()
        for run in self._runs:
            if run.due is None and run.process.poll() is not None:
                run.deaths = 1 if now - run.since > STEADY_SECONDS else run.deaths + 1
                pause = backoff_s(run.deaths, FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
                run.due = now + pause
                see = "" if run.log is None else f". See {run.log}"
                self._say(
                    f"{run.child.name} exited ({_ending(run.process.returncode)}); it restarts in {pause:.0f} s{see}"
                )
            if run.due is not None and now >= run.due:
                run.process, run.since, run.due = self._spawn(run.child, run.log), time.monotonic(), None

    def stop(self) -> None:
        """Send each child SIGTERM, the last started first; SIGKILL to those that the grace time was too short for."""
        runs, self._runs = self._runs[::-1], []
        for run in runs:
            run.process.terminate()
        limit = time.monotonic() + self._grace_s
        for run in runs:
            while run.process.poll() is None:
                if self.hurry.is_set() or time.monotonic() > limit:
                    self._say(f"{run.child.name} did not stop in time and was killed")
                    run.process.kill()
                with suppress(subprocess.TimeoutExpired):
                    run.process.wait(LOOK_SECONDS)

    @staticmethod
    def _spawn(child: Child, log: Path | None) -> "subprocess.Popen[bytes]":
        argv = wrapped(child.argv, death_signal=signal.SIGKILL)
        with nullcontext() if log is None else log.open("ab") as output:
            return subprocess.Popen(
                argv,
                env=dict(child.env),
                cwd=None if log is None else log.parent,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )


def _ending(returncode: int) -> str:
    if returncode < 0:
        return signal.Signals(-returncode).name
    return f"exit status {returncode}"
