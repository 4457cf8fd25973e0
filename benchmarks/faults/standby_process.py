"""A streaming standby of the embedded PostgreSQL: made by ``pg_basebackup``, promoted, and then what answers."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg2
from sqlalchemy import make_url

from benchmarks.faults.waiting import wait_until
from worker.network.port import LOOPBACK, free_port
from worker.services.embedded_postgres import HBA, SETTINGS, SUPERUSER, EmbeddedPostgres, _binaries

NAME = "standby"
PATIENCE_S = 120.0
REPLICATION = f"host replication all {LOOPBACK}/32 scram-sha-256\n"


@dataclass
class Standby:
    """A standby beside its primary.

    Attributes:
        primary: whose log it follows.
        port: at which it listens.
    """

    folder: Path
    primary: EmbeddedPostgres
    port: int
    _process: "subprocess.Popen[bytes] | None" = None

    def url(self, url: str) -> str:
        """Return a URL of the primary as one of both servers, as a site writes it."""
        one = make_url(url)
        who = f"{one.username}:{one.password}"
        return f"postgresql://{who}@{LOOPBACK}:{self.primary.port},{LOOPBACK}:{self.port}/{one.database}"

    def start(self) -> None:
        """Copy the primary and follow it, and wait until it streams."""
        with self.primary.as_superuser() as cursor:
            self._allow(cursor, HBA + REPLICATION)
        server = make_url(self.primary.url(SUPERUSER, "postgres")).set(query={"application_name": NAME})
        self._run(
            "pg_basebackup",
            "-d",
            server.render_as_string(hide_password=False),
            "-D",
            self._data,
            "-R",
            "--checkpoint=fast",
            "-X",
            "stream",
        )
        options = [f"{name}={value}" for name, value in {**SETTINGS, "port": self.port}.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [_binaries() / "postgres", "-D", self._data, *(part for one in options for part in ("-c", one))],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_nobody(),
            )  # fmt: skip
        self._until(self._streams)

    def synchronous(self, *, on: bool) -> None:
        """Let the primary answer a commit once the standby has it on its disk, or at once."""
        with self.primary.as_superuser() as cursor:
            cursor.execute("ALTER SYSTEM SET synchronous_standby_names = %s", (NAME if on else "",))
            cursor.execute("SELECT pg_reload_conf()")

    def until_level(self) -> None:
        """Wait until it has replayed all that the primary has committed."""

        def is_level() -> bool:
            with self.primary.as_superuser() as cursor:
                cursor.execute("SELECT bool_and(replay_lsn >= pg_current_wal_flush_lsn()) FROM pg_stat_replication")
                return bool(cursor.fetchone()[0])

        self._until(is_level)

    def pause(self) -> None:
        """Let it fall behind: what the primary commits from now on does not reach it."""
        with self.primary.as_superuser() as cursor:
            self._allow(cursor, HBA)
            cursor.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_replication")

    def promote(self) -> None:
        """Kill the primary, and make the standby what answers at both URLs."""
        data = self.primary.home.path / "postgres" / "data"
        os.kill(int((data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        self._until(lambda: not self.primary.is_running)
        self._run("pg_ctl", "promote", "-D", self._data, "-W")
        self._until(lambda: self._says("SELECT NOT pg_is_in_recovery()"))
        self.primary.port = self.port

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def _streams(self) -> bool:
        with self.primary.as_superuser() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")
            return bool(cursor.fetchone()[0])

    def _says(self, question: str) -> bool:
        url = make_url(self.primary.url(SUPERUSER, "postgres")).set(port=self.port)
        try:
            connection = psycopg2.connect(url.render_as_string(hide_password=False), connect_timeout=5)
        except psycopg2.OperationalError:
            return False
        try:
            with connection.cursor() as cursor:
                cursor.execute(question)
                return bool(cursor.fetchone()[0])
        finally:
            connection.close()

    def _allow(self, cursor: Any, who: str) -> None:
        (self.primary.home.path / "postgres" / "data" / "pg_hba.conf").write_text(who)
        cursor.execute("SELECT pg_reload_conf()")

    def _run(self, program: str, *arguments: object) -> None:
        command = [_binaries() / program, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, **self._as_nobody())

    def _as_nobody(self) -> dict[str, Any]:
        """PostgreSQL does not run as root."""
        if os.geteuid():
            return {}
        nobody = pwd.getpwnam("nobody")
        return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": self.folder}

    def _until(self, is_so: Callable[[], bool]) -> None:
        wait_until(is_so, PATIENCE_S, (self.folder / "log").read_text, 0.05)


@contextmanager
def standby_of(primary: EmbeddedPostgres) -> Iterator[Standby]:
    """Run a standby of a running primary, in a folder that is gone afterwards."""
    with TemporaryDirectory(prefix="dlr-standby-") as place:
        folder = Path(place)
        if os.geteuid() == 0:
            shutil.chown(folder, "nobody")
        made = Standby(folder, primary, free_port(folder / "port"))
        try:
            made.start()
            yield made
        finally:
            made.stop()
