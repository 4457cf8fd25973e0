"""A backup is restored: all is looked at before anything is written, and the database is written whole or not."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Engine, NullPool, text

from db import migrate
from db.reads.ledger_contents import LedgerContents, contents_of, missing_roles
from db.schema.roles import OWNER, ROLES
from db.session import make_engine, session_factory
from db.writes.restored import forget_transactions
from worker.backup import archive, postgres_tools
from worker.backup.archive import Archive, OnProgress
from worker.backup.registry_files import Kept, RegistryPlan
from worker.backup.stored_files import FileFinding, compare, read_line
from worker.durable_files import write_private
from worker.errors import Code, SetupRefused
from worker.scoring.reading_policy import complete_places
from worker.settings import SERVICES_FILE, Settings, described

_ABOUT_THIS_MACHINE = ("DLR_HOME", "DLR_DATABASE", "DLR_REDIS", "DLR_READER", "DLR_BACKUP", "_DATABASE_URL")
"""Settings with these in their names differ between machines as a matter of course."""

_SET_BY_NOBODY = ("default", f"DLR_HOME/{SERVICES_FILE}")
"""Where a value was found that no person gave."""


@dataclass(frozen=True, slots=True)
class DifferentSetting:
    """A setting that is not what it was."""

    variable: str
    then: str | None
    now: str | None


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored.

    Attributes:
        studies: on record now.
        open: of them, those that are queued again, or will be within seconds.
        models: versions that were added to the registry.
        accounts: that were added, or replaced.
        kept: what is here and stays, though the backup has another.
        settings: that are not what they were.
    """

    studies: int
    open: int
    models: int
    accounts: int
    kept: list[Kept] = field(default_factory=list)
    settings: list[DifferentSetting] = field(default_factory=list)


def restore(
    found: Archive, settings: Settings, *, replace: bool, on_progress: OnProgress = lambda *_: None
) -> Restored:
    """Put an archive's database, models and accounts in place; settings and files are only compared.

    Args:
        found: the archive; all of it is verified first.
        settings: of this installation.
        replace: remove the studies that are on record here, and put the backup's accounts and active versions before
            those that are here.
        on_progress: is told what is done.

    Raises:
        SetupRefused: nothing was written: ``backup_invalid``, ``backup_newer``, ``database_not_empty``,
            ``postgres_tools_missing``; ``setting_invalid``: a role is missing, or the server is older. Or
            ``backup_failed``: the database is empty, and all of it can be done again.
        ModelRefused: ``model_exists``: the registry has another version of that name; nothing was written.
        Unavailable, db.outages.DatabaseAway: the server is away.
    """
    url = settings.require_owner_url()
    found.verify(on_progress)
    engine = make_engine(url, role=None, poolclass=NullPool, name="dlr backup")
    with engine.connect() as connection:
        here = contents_of(connection)
        absent = missing_roles(connection, found.manifest.database.roles)
    _refuse(found, here, [role for role in absent if role not in ROLES], replace=replace)
    tools = postgres_tools.find_tools(postgres_tools.major_of(found.manifest.database.tool))
    entries = postgres_tools.contents(tools, found.chunks(archive.DATABASE))
    plan = RegistryPlan.of(found, settings.models_dir)

    models, kept = plan.put_in_place(replace=replace)
    migrate.clear(url)
    postgres_tools.restore(tools, url, OWNER, entries, _told(found, on_progress))
    studies, still_open = _bring_up_to_date(url)
    accounts, kept_accounts = _put_accounts(found, settings.web_accounts, replace=replace)
    return Restored(
        studies, still_open, models, accounts, [*kept, *kept_accounts], list(different_settings(found, settings))
    )


def files_since(found: Archive, settings: Settings, on_progress: OnProgress = lambda *_: None) -> list[FileFinding]:
    """Return which files of the studies are not as they were, and which came since."""

    def lines() -> Iterator[bytes]:
        for number, line in enumerate(found.lines(archive.FILES), start=1):
            on_progress("studies' files", number, found.manifest.files.count)
            yield line

    try:
        return list(compare(settings.storage_root.resolve(), map(read_line, lines())))
    except ValueError:
        raise SetupRefused(Code.BACKUP_INVALID, f"{found.path}: its list of files cannot be read") from None


def different_settings(found: Archive, settings: Settings) -> Iterator[DifferentSetting]:
    """Yield what somebody set otherwise than it was, but for where this machine has its servers."""
    now = {one.variable: one for one in described(settings)}
    for then in json.loads(found.read(archive.SETTINGS)):
        variable, here = then["variable"], now.get(then["variable"])
        if here is None or (then["source"] in _SET_BY_NOBODY and here.source in _SET_BY_NOBODY):
            continue
        if then["value"] != here.value and not any(part in variable for part in _ABOUT_THIS_MACHINE):
            yield DifferentSetting(variable, then["value"], here.value)


def _refuse(found: Archive, here: LedgerContents, absent: Sequence[str], *, replace: bool) -> None:
    of = found.manifest.database
    if not migrate.knows(of.revision):
        reason = f"{found.path.name} has the schema {of.revision}, which this version of the software does not know"
        raise SetupRefused(Code.BACKUP_NEWER, reason)
    if postgres_tools.major_of(here.server) < postgres_tools.major_of(of.server):
        reason = f"the backup is of PostgreSQL {of.server}, and this server is {here.server}: use one of that version"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    if here.revision is not None and not migrate.knows(here.revision):
        reason = "the database here has a later schema than this version of the software knows: use another database"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    if sum(here.studies.values()) and not replace:
        reason = f"the database has {sum(here.studies.values())} studies: use an empty one, or say --replace"
        raise SetupRefused(Code.DATABASE_NOT_EMPTY, reason)
    if absent:
        wanted = " ".join(f'CREATE ROLE "{role}" NOLOGIN;' for role in absent)
        reason = f"roles that were granted something are missing; ask an administrator for: {wanted}"
        raise SetupRefused(Code.SETTING_INVALID, reason)


def _told(found: Archive, on_progress: OnProgress) -> Iterator[bytes]:
    done, total = 0, found.manifest.members[archive.DATABASE].bytes
    for chunk in found.chunks(archive.DATABASE):
        yield chunk
        done += len(chunk)
        on_progress("database, bytes", done, total)


def _bring_up_to_date(url: str) -> tuple[int, int]:
    """Migrate an older schema, and let go of what was the former server's; return all studies, and the open ones."""
    migrate.upgrade(url)
    with _as_owner(url) as engine:
        sessions = session_factory(engine)
        with sessions.begin() as session:
            forget_transactions(session)
        complete_places(sessions)
        with engine.begin() as connection:
            connection.execute(text("ANALYZE"))
        with engine.connect() as connection:
            studies = contents_of(connection).studies
    return sum(studies.values()), studies.get("queued", 0) + studies.get("running", 0)


@contextmanager
def _as_owner(url: str) -> Iterator[Engine]:
    engine = make_engine(url, role=OWNER, poolclass=NullPool, name="dlr backup")
    try:
        yield engine
    finally:
        engine.dispose()


def _put_accounts(found: Archive, path: Path, *, replace: bool) -> tuple[int, list[Kept]]:
    """Add the accounts that are not here; those that are keep their passwords, unless they are to be replaced."""
    accounts = json.loads(found.read(archive.ACCOUNTS))["accounts"]
    try:
        here = json.loads(path.read_bytes())["accounts"]
    except FileNotFoundError:
        here = {}
    other = {name for name, account in accounts.items() if name in here and here[name] != account}
    put = {name: account for name, account in accounts.items() if name not in here or (name in other and replace)}
    if put:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, (json.dumps({"accounts": here | put}, indent=2) + "\n").encode())
    return len(put), [] if replace else [Kept("account", name) for name in sorted(other)]
