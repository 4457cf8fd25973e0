"""The schema's versions: upgrade, downgrade, and whether a database is what this software expects.

Works from an installed package: the migrations are found beside the package ``migrations``, not in a checkout.
"""

import time
from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import Script, ScriptDirectory
from alembic.script.revision import RevisionError
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.schema import SchemaItem

import migrations
from db.errors import DatabaseRefused
from db.outages import DatabaseAway
from db.schema.base import TYPE_NAMES
from db.schema.metadata import TABLES
from db.schema.rights import grant, missing_rights
from db.schema.roles import OWNER, WRITER
from db.session import make_engine

LOCK_KEY = 0x646C72  # "dlr"
"""The advisory lock that a migration holds."""

LOCK_WAITS_MS = (*[100] * 5, *[2000] * 25)
"""How long a migration waits for its locks, a try each. Whoever comes after it waits behind it meanwhile, so the first
tries are short. The others outlast ``deadlock_timeout`` (1 s), after which PostgreSQL ends an autovacuum in the way."""

LONGEST_PAUSE_S = 5.0
"""Between two tries; it begins with 0.2 s and is doubled."""

_IN_THE_WAY = ("55P03", "40P01")
"""SQLSTATEs: a lock was not to be had in time; a deadlock, which ended the migration."""

VIEWS = (
    "lesion_result",
    "image_result",
    "worklist",
    "restratification_summary",
    "failed_study",
    "pathology_result",
    "downgraded_cancer",
    "study_count",
    "model_card",
    "lesion_score",
    "reading_order_tier",
    "lesion_verdict",
    "study_result",
    "study_history",
)
"""The public interface for SQL users."""

PAGE_VIEWS = (
    "worklist_place",
    "worklist_backwards",
    "worklist_position",
    "worklist_range",
    "listed_study",
    "waiting_study",
    "worklist_state",
    "lesion_image",
    "study_verdict",
    "lesion_advice",
)
"""What the worklist page reads beside them; not stable, and for ``dlr_web`` alone."""


def upgrade(url: str, revision: str = "head", say: Callable[[str], object] = lambda _: None) -> None:
    """Migrate up to ``revision``, creating the roles where they are missing, and granting what was revoked of the
    latest schema.

    Each migration is a transaction of its own, and is tried again where others hold what it has to lock; into an empty
    database, all of them are one.

    Args:
        url: the database, as a user who is ``dlr_owner``, is a member of it, or is a superuser.
        revision: an Alembic revision.
        say: is told of each migration, and of each wait.

    Raises:
        RoleRefused: a role is missing or out of reach; the message says what an administrator has to grant.
        DatabaseRefused: a migration did not get its locks; those before it are done.
        db.outages.DatabaseAway: no server answers.
    """
    for step in _steps(url, revision):
        say(f"migration {step}")
        _apply(url, step, say)
    if revision == "head":
        _grant_again(url)


def downgrade(url: str, revision: str) -> None:
    """Migrate down to ``revision``; ``base`` drops every table **with its rows**. The roles stay.

    Raises:
        RoleRefused, db.outages.DatabaseAway: as for ``upgrade``.
    """
    command.downgrade(_config(url), revision)


def clear(url: str) -> None:
    """Drop every table **with its rows**, and what is left of the migrations, so that a backup can be restored.

    The roles are made where they are missing, and let into the schema ``public``.

    Raises:
        RoleRefused, db.outages.DatabaseAway: as for ``upgrade``.
    """
    downgrade(url, "base")
    with make_engine(url, role=OWNER, poolclass=NullPool).begin() as connection:
        connection.execute(text("DROP TABLE IF EXISTS alembic_version"))


def knows(revision: str) -> bool:
    """Whether a revision is this software's or an earlier one's."""
    return revision in {step.revision for step in scripts().walk_revisions()}


def scripts() -> ScriptDirectory:
    """Return the migrations of this software."""
    return ScriptDirectory.from_config(_config(""))


def pending(current: tuple[str, ...], revision: str = "heads") -> list[Script]:
    """Return the migrations from a database's up to a revision, in their order.

    Raises:
        DatabaseRefused: it is none of this software's.
    """
    try:
        return list(scripts().iterate_revisions(revision, current or "base"))[::-1]
    except RevisionError:
        raise DatabaseRefused("the database has a migration that this version of the software does not know") from None


def check(url: str) -> list[str]:
    """Say how the database differs from what this software expects, one sentence a difference; empty when it fits.

    Changes nothing and needs no more than the rights of ``dlr_writer``.
    """
    with make_engine(url, role=None, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_ours})
        try:
            if steps := pending(context.get_current_heads()):
                return [f"migration {step.revision} is pending" for step in steps]
        except DatabaseRefused as newer:
            return [str(newer)]
        drift = [f"the tables differ from the models: {_sentence(diff)}" for diff in compare_metadata(context, TABLES)]
        lacking = [f"{WRITER} lacks the right {right}" for right in missing_rights(connection)]
        return drift + _other_words(connection) + _missing_views(connection) + lacking


def is_ours(item: SchemaItem, _name: str | None, kind: str, reflected: bool, counterpart: SchemaItem | None) -> bool:
    """Leave other people's tables in the same database out of comparisons (Alembic's ``include_object``)."""
    del item
    return not (kind == "table" and reflected and counterpart is None)


def _grant_again(url: str) -> None:
    """Give back what somebody revoked; where nothing is missing nothing is written."""
    with make_engine(url, role=OWNER, poolclass=NullPool).begin() as connection:
        grant(connection, missing_rights(connection))


def _config(url: str, **attributes: object) -> Config:
    config = Config(attributes={"url": url, **attributes})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config


def _steps(url: str, revision: str) -> list[str]:
    """Return the revisions that are to be gone to, one after the other."""
    config, found = _config(url), [revision]

    def look(heads: tuple[str, ...], _context: MigrationContext) -> list[object]:
        if heads and knows(heads[0]):
            between = scripts().iterate_revisions(revision, heads, implicit_base=True)
            found[:] = [step.revision for step in between][::-1]
        return []

    script = ScriptDirectory.from_config(config)
    with EnvironmentContext(config, script, fn=look, dont_mutate=True):
        script.run_env()
    return found


def _apply(url: str, step: str, say: Callable[[str], object]) -> None:
    pause = 0.2
    for wait_ms in LOCK_WAITS_MS:
        try:
            command.upgrade(_config(url, lock_timeout_ms=wait_ms), step)
        except DatabaseAway as away:
            if away.sqlstate not in _IN_THE_WAY:
                raise
        else:
            return
        say(f"migration {step} waits: others hold what it has to lock; again in {pause:.1f} s")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_S)
    raise DatabaseRefused(
        f"migration {step} did not get its locks in {len(LOCK_WAITS_MS)} tries: some transaction goes on for minutes, "
        "as that of a backup does. Nothing of this migration was done, and those before it are. Wait for that "
        "transaction (pg_stat_activity says which), and run `dlr db upgrade` again"
    )


def _sentence(diff: object) -> str:
    # A difference is a tuple (what, ..., on which items), or a list of such tuples for the columns of one table.
    first = diff[0] if isinstance(diff, list) else diff
    assert isinstance(first, tuple)  # noqa: S101
    names = [str(getattr(part, "name", part)) for part in first[1:] if isinstance(part, (str, SchemaItem))]
    return " ".join([str(first[0]), *names])


def _other_words(connection: Connection) -> list[str]:
    rows = connection.execute(
        text(
            "SELECT t.typname, array_agg(e.enumlabel::text ORDER BY e.enumsortorder) AS words FROM pg_type t "
            "JOIN pg_enum e ON e.enumtypid = t.oid WHERE t.typnamespace = 'public'::regnamespace GROUP BY t.typname"
        )
    )
    found = {row.typname: row.words for row in rows}
    return [
        f"the enumeration {name} has other words"
        for words, name in TYPE_NAMES.items()
        if found.get(name) != [word.value for word in words]
    ]


def _missing_views(connection: Connection) -> list[str]:
    found = set(connection.scalars(text("SELECT viewname FROM pg_views WHERE schemaname = 'public'")))
    return [f"the view {view} is missing" for view in (*VIEWS, *PAGE_VIEWS) if view not in found]
