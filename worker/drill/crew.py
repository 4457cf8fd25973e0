"""The drill's own workers: processes of this host that it may kill, under a name by which PostgreSQL lists them."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from uuid import uuid4

from worker.broker.queues import QUEUES
from worker.services.launch import wrapped


class Crew:
    """A worker for each queue. Each ends with this process, whatever ends it."""

    def __init__(self) -> None:
        self.application = f"drill-{uuid4().hex[:8]}"
        """What the names of their connections to PostgreSQL begin with."""
        self._log = Path(tempfile.mkdtemp(prefix="dlr-drill-"))
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        for queue in QUEUES:
            self._start(queue)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            self._signal(process, signal.SIGTERM)
        for process in self._processes.values():
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            self._signal(process, signal.SIGKILL)

    @property
    def log(self) -> Path:
        """The folder of their logs."""
        return self._log

    def name_of(self, queue: str) -> str:
        """The name of one worker's connections to PostgreSQL."""
        return f"{self.application}-{queue}"

    def is_at_work(self, worker: object) -> bool:
        """Whether the inference worker of this drill is who claimed a study.

        Args:
            worker: as a study's history has it: a process of a host.
        """
        host, _, pid = str(worker).rpartition(":")
        if host != socket.gethostname() or not pid.isdigit():
            return False
        with suppress(ProcessLookupError):
            return os.getpgid(int(pid)) == self._processes["inference"].pid
        return False

    def kill(self, queue: str) -> None:
        """Kill a worker as by ``kill -9``, with its decoders, and start another in its place."""
        self._signal(self._processes[queue], signal.SIGKILL)
        self._processes[queue].wait()
        self._start(queue)

    def freeze(self, queue: str, *, frozen: bool) -> None:
        """Stop a worker, so that what it has at hand stays there, or let it go on."""
        self._signal(self._processes[queue], signal.SIGSTOP if frozen else signal.SIGCONT)

    def keep_alive(self) -> None:
        """Start each worker again that has ended, as a supervisor does."""
        for queue, process in list(self._processes.items()):
            if process.poll() is not None:
                self._start(queue)

    def _start(self, queue: str) -> None:
        argv = [sys.executable, "-P", "-m", "worker.cli.main", "worker", "--queue", queue, "--name", f"drill-{queue}"]
        with (self._log / f"{queue}.log").open("ab") as log:
            self._processes[queue] = subprocess.Popen(
                wrapped(argv, death_signal=signal.SIGKILL),
                env={**os.environ, "PGAPPNAME": self.name_of(queue)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @staticmethod
    def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
