"""A backup is made: everything of one moment, in one archive that is there whole or not at all."""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, NullPool, text

from db.reads.ledger_contents import contents_of, files_of_studies
from db.session import make_engine
from worker import __version__
from worker.backup import archive
from worker.backup.archive import Archive, ArchiveWriter, OnProgress
from worker.backup.folder import archives_in
from worker.backup.manifest import FORMAT, FilesPart, LedgerPart, Manifest, ModelPart
from worker.backup.postgres_tools import Tools, dump, find_tools, major_of
from worker.backup.stored_files import StoredFile, look, read_line, with_earlier
from worker.durable_files import replacing
from worker.errors import Code, SetupRefused
from worker.inference.active_versions import ACTIVE_FILE, HISTORY_FILE, SHADOW_FILE, SHARE_FILE
from worker.inference.registry import Registry
from worker.inference.version_folder import CARD_FILE
from worker.settings import Settings, described

_EVERY = 200
"""How many files are looked at between two words of progress."""


def create(settings: Settings, *, digests: bool, on_progress: OnProgress = lambda *_: None) -> Path:
    """Write an archive into the folder of backups; it may be read by its owner alone.

    The database is read as of one moment, while everything goes on: workers write, and nobody waits but who changes
    the schema.

    Args:
        settings: of the installation.
        digests: read the studies' files for their digests; those that are as an earlier backup saw them are not read.
        on_progress: is told what is done.

    Returns:
        The archive.

    Raises:
        SetupRefused: ``postgres_tools_missing``; ``backup_failed``; ``already_running``: another backup is being made
            in this folder; ``setting_invalid``: the folder cannot be written, or the database has no schema.
        Unavailable, db.outages.DatabaseAway: the server is away.
    """
    made = datetime.now(UTC).replace(microsecond=0)
    path = settings.backup_dir / f"dlr-backup-{made:%Y%m%dT%H%M%SZ}.zip"
    with _held(settings.backup_dir), _one_moment(settings) as (connection, snapshot):
        try:
            with replacing(path, mode=0o600) as draft:
                _write(draft, settings, connection, snapshot, made, digests, on_progress)
        except OSError as error:
            raise _unwritable(settings.backup_dir, error) from None
    return path


def keep_latest(folder: Path, count: int) -> list[Path]:
    """Remove all archives of a folder but the latest ones; return what was removed."""
    removed = archives_in(folder)[count:]
    for path in removed:
        path.unlink(missing_ok=True)
    return removed


def _write(
    draft: Path,
    settings: Settings,
    connection: Connection,
    snapshot: str,
    made: datetime,
    digests: bool,
    on_progress: OnProgress,
) -> None:
    contents = contents_of(connection)
    if contents.revision is None:
        raise SetupRefused(
            Code.SETTING_INVALID, "the database has no schema yet (`dlr db upgrade`): nothing to back up"
        )
    tools = find_tools(major_of(contents.server))
    writer, manifest = ArchiveWriter(draft), None
    try:
        _write_database(writer, settings, tools, snapshot, on_progress)
        models = _write_models(writer, settings.models_dir, on_progress)
        accounts = _write_accounts(writer, settings.web_accounts)
        writer.add(archive.SETTINGS, _as_json([asdict(one) for one in described(settings)]))
        files = _write_files(writer, settings, connection, digests, on_progress)
        manifest = Manifest(
            format=FORMAT,
            software=__version__,
            created_at=made,
            database=LedgerPart(
                server=contents.server,
                tool=tools.version,
                revision=contents.revision,
                studies=contents.studies,
                newest=contents.newest,
                roles=contents.roles,
            ),
            models=models,
            accounts=accounts,
            files=files,
            members=writer.members,
        )
    finally:
        writer.close(manifest)


def _write_database(
    writer: ArchiveWriter, settings: Settings, tools: Tools, snapshot: str, on_progress: OnProgress
) -> None:
    done = 0
    with writer.member(archive.DATABASE) as sink:

        def write(chunk: bytes) -> None:
            nonlocal done
            sink.write(chunk)
            done += len(chunk)
            on_progress("database, bytes", done, None)

        dump(tools, settings.require_backup_database_url(), snapshot, write)


def _write_models(writer: ArchiveWriter, folder: Path, on_progress: OnProgress) -> tuple[ModelPart, ...]:
    """Copy the registry: which versions are in service first, so that each of them is among what is copied later."""
    for name in (ACTIVE_FILE, SHARE_FILE, SHADOW_FILE, HISTORY_FILE):
        if (folder / name).is_file():
            writer.add(archive.MODELS + name, (folder / name).read_bytes())
    entries = Registry(folder).list()
    for number, entry in enumerate(entries, start=1):
        files = [file for file in sorted(entry.folder.rglob("*")) if file.is_file() and not _is_hidden(file, folder)]
        # The card comes last, as it does into a folder: with it a version is there.
        for file in sorted(files, key=lambda one: one.name == CARD_FILE):
            name = archive.MODELS + file.relative_to(folder).as_posix()
            with writer.member(name) as sink, file.open("rb") as source:
                while chunk := source.read(archive.CHUNK):
                    sink.write(chunk)
        on_progress("models", number, len(entries))
    return tuple(ModelPart(name=one.card.name, version=one.card.version, active=one.active) for one in entries)


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _write_accounts(writer: ArchiveWriter, path: Path) -> int:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        content = _as_json({"accounts": {}})
    try:
        accounts = json.loads(content)["accounts"]
    except (ValueError, TypeError, KeyError):
        reason = f"DLR_WEB_ACCOUNTS {path} cannot be read as a file of accounts"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    writer.add(archive.ACCOUNTS, content)
    return len(accounts)


def _write_files(
    writer: ArchiveWriter, settings: Settings, connection: Connection, digests: bool, on_progress: OnProgress
) -> FilesPart:
    root, count, missing = settings.storage_root.resolve(), 0, 0
    with _latest_list(settings.backup_dir) as earlier, writer.member(archive.FILES, compressed=True) as sink:
        for file, before in with_earlier(files_of_studies(connection), earlier):
            seen = look(root, file, before, digests=digests)
            sink.write(seen.line())
            count, missing = count + 1, missing + (seen.size is None)
            if count % _EVERY == 0:
                on_progress("studies' files", count, None)
    on_progress("studies' files", count, count)
    return FilesPart(count=count, missing=missing, digests=digests)


@contextmanager
def _latest_list(folder: Path) -> Iterator[Iterator[StoredFile]]:
    """Give the files of the latest archive that can be read; it saves time, and nothing rests on it being there."""
    for path in archives_in(folder):
        try:
            found = Archive(path)
        except SetupRefused:
            continue
        with found:
            yield _readable(found)
        return
    yield iter(())


def _readable(found: Archive) -> Iterator[StoredFile]:
    try:
        for line in found.lines(archive.FILES):
            yield read_line(line)
    except (SetupRefused, ValueError):
        return


@contextmanager
def _one_moment(settings: Settings) -> Iterator[tuple[Connection, str]]:
    """Hold a snapshot of the database, and give its name, by which pg_dump sees the same."""
    engine = make_engine(settings.require_backup_database_url(), role=None, poolclass=NullPool, name="dlr backup")
    held = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with closing(held.connect()) as connection:
        yield connection, str(connection.scalar(text("SELECT pg_export_snapshot()")))


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """One backup at a time in a folder; what a killed one left of its archive goes away."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _unwritable(folder, error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for draft in folder.glob(".dlr-backup-*.part"):
            draft.unlink(missing_ok=True)
        yield
    except BlockingIOError:
        raise SetupRefused(Code.ALREADY_RUNNING, f"another backup is being written to {folder}") from None
    finally:
        os.close(lock)


def _unwritable(folder: Path, error: OSError) -> SetupRefused:
    return SetupRefused(Code.SETTING_INVALID, f"DLR_BACKUP_DIR {folder} cannot be written ({error.strerror})")


def _as_json(value: dict[str, object] | Sequence[object]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
