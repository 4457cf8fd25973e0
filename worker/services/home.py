"""The folder that an installation keeps: who holds it, its secrets, and which servers it announces.

Why a file announces the servers: docs/decisions/0004-a-running-dlr-up-is-found-by-a-file.md.
"""

import fcntl
import json
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.engine import make_url

from db.schema.roles import WRITER
from worker.durable_files import write_private
from worker.errors import Code, SetupRefused
from worker.settings import SERVICES_FILE, Settings, as_host_list, as_written

LOG_BYTES_MAX = 10 << 20


@dataclass(frozen=True, slots=True)
class Home:
    """``DLR_HOME``. Nothing is made before it is needed."""

    path: Path

    def folder(self, name: str) -> Path:
        """Return a folder of the home, made with mode 0700 (the home as well) if it is new.

        Raises:
            SetupRefused: ``setting_invalid``, when it cannot be made.
        """
        folder = self.path / name
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            reason = f"DLR_HOME {self.path} cannot be used: {error.strerror}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        return folder

    def secret_file(self, name: str) -> Path:
        """Return the file that holds the generated secret ``name``."""
        return self.folder("secrets") / name

    def secret(self, name: str) -> str:
        """Return the generated secret ``name`` (32 random bytes as URL-safe text); the first call makes it."""
        file = self.secret_file(name)
        if not file.exists():
            write_private(file, secrets.token_urlsafe(32).encode())
        return file.read_text(encoding="utf-8").strip()

    def log_file(self, name: str) -> Path:
        """Return a log to append to. One that has grown past 10 MiB is put aside, over the one before."""
        log = self.folder("logs") / f"{name}.log"
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            log.replace(log.with_suffix(".log.1"))
        log.touch(mode=0o600)
        return log

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the home: one process at a time runs servers in it. The kernel lets go when the process ends.

        Raises:
            SetupRefused: ``already_running``, when another process holds it.
        """
        lock = os.open(self.folder("run") / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SetupRefused(Code.ALREADY_RUNNING, f"Another `dlr up` runs on {self.path}") from None
            yield
        finally:
            os.close(lock)

    def announce(self, settings: Mapping[str, str | int]) -> None:
        """Say where the servers are, by the names of ``Settings``' fields: every other ``dlr`` command reads it."""
        self.folder("run")
        write_private(self.path / SERVICES_FILE, (json.dumps(dict(settings), indent=2) + "\n").encode())

    def withdraw(self) -> None:
        """Take the announcement back; one that a crash left behind as well."""
        (self.path / SERVICES_FILE).unlink(missing_ok=True)


def database_url_of(settings: Settings, role: str) -> str:
    """Return the database's URL, password included, for ``reader``, ``writer`` or ``owner``, as psql takes it.

    Raises:
        SetupRefused: ``setting_invalid``, when no database is set, or it is a site's own, and no setting says who the
            role is there.
    """
    url = make_url(settings.require_database_url())
    home = Home(settings.home)
    if url.username != WRITER or url.password != home.secret(WRITER):
        return _own_url_of(settings, role)
    user = f"dlr_{role}"
    return url.set(username=user, password=home.secret(user)).render_as_string(hide_password=False)


REDIS_USERS = {"worker": ("dlr", "redis"), "sender": ("sender", "redis-sender")}
"""The users of the embedded Redis, each with the name of its secret."""


def redis_url_of(settings: Settings, role: str) -> str:
    """Return Redis's URL, password included, for ``sender`` or ``worker``.

    Raises:
        SetupRefused: ``setting_invalid``, when no Redis is set, or a site's own, whose senders are not known here.
    """
    url, home = make_url(settings.require_redis_url()), Home(settings.home)
    worker, secret = REDIS_USERS["worker"]
    if role != "worker":
        if url.username != worker or url.password != home.secret(secret):
            reason = "DLR_REDIS_URL names a Redis of your own: its senders are not known here"
            raise SetupRefused(Code.SETTING_INVALID, reason)
        user, secret = REDIS_USERS[role]
        url = url.set(username=user, password=home.secret(secret))
    return as_written(url.render_as_string(hide_password=False))


def _own_url_of(settings: Settings, role: str) -> str:
    variable = {"owner": "DLR_DATABASE_OWNER_URL", "writer": "DLR_DATABASE_URL", "reader": "DLR_READER_URL"}[role]
    own = {"owner": settings.database_owner_url, "writer": settings.database_url, "reader": settings.reader_url}[role]
    if own is None:
        reason = f"DLR_DATABASE_URL names a database of your own, and {variable} does not say who dlr_{role} is there"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return as_host_list(make_url(own.get_secret_value()).set(drivername="postgresql"))
