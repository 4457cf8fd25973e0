"""A server's process: started, waited for, stopped, and cleared away when an earlier run left it behind."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from worker.errors import Code, Unavailable
from worker.services.launch import Account, wrapped

START_SECONDS = 300.0  # crash recovery and the reading of a long append-only file happen before a server answers
STOP_SECONDS = 60.0
LOOK_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """What is the same for every run of a server.

    ``folder`` is the server's working folder, by which a process of an earlier run is recognised; ``pid_file`` is what
    the server itself writes. ``stop_signal`` stops it cleanly, ``hurry_signal`` without waiting, data intact.
    """

    name: str
    binary: Path
    folder: Path
    pid_file: Path
    log: Path
    stop_signal: signal.Signals
    hurry_signal: signal.Signals
    account: Account | None = None

    def start(self, arguments: Sequence[str]) -> "subprocess.Popen[bytes]":
        """Start the server in a session of its own, so that Ctrl-C does not reach it.

        The server stops, cleanly, when the calling thread ends, however it ends: call from a thread that stays.
        """
        argv = wrapped([str(self.binary), *arguments], death_signal=self.stop_signal, account=self.account)
        with self.log.open("ab") as log:
            return subprocess.Popen(
                argv, cwd=self.folder.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def wait_until(self, ready: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
        """Wait until the server answers.

        Raises:
            Unavailable: ``service_unavailable``, when it ends first or takes longer than five minutes.
        """
        limit = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None:
                raise Unavailable(Code.SERVICE_UNAVAILABLE, f"{self.name} did not start; see {self.log}")
            if time.monotonic() > limit:
                self.stop(process)
                raise Unavailable(Code.SERVICE_UNAVAILABLE, f"{self.name} did not answer in time; see {self.log}")
            time.sleep(LOOK_SECONDS)

    def stop(self, process: "subprocess.Popen[bytes]") -> None:
        """Stop the server and wait for it: cleanly, then in a hurry, then by force."""
        for number in (self.stop_signal, self.hurry_signal, signal.SIGKILL):
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                return

    def clear_leftovers(self) -> None:
        """Stop a server that an earlier run left behind, and remove its pid file once nothing runs on its data."""
        left = self._running()
        if left:
            with suppress(OSError, ValueError, IndexError):
                leader = int(self.pid_file.read_text().split()[0])
                if leader in left:
                    os.kill(leader, self.stop_signal)
            if not self._gone_within(STOP_SECONDS):
                for pid in self._running():
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                self._gone_within(STOP_SECONDS)
        self.pid_file.unlink(missing_ok=True)

    def _gone_within(self, seconds: float) -> bool:
        limit = time.monotonic() + seconds
        while self._running():
            if time.monotonic() > limit:
                return False
            time.sleep(LOOK_SECONDS)
        return True

    def _running(self) -> set[int]:
        """Processes of this program on this data. The folder tells: a pid may be somebody else's after a reboot."""
        found = set()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    program = (entry / "exe").readlink().name.removesuffix(" (deleted)")  # after an upgrade
                    if program == self.binary.name and (entry / "cwd").readlink() == self.folder:
                        found.add(int(entry.name))
        return found
