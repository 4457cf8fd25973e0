"""The schema's versions: upgrade, downgrade, and whether a database is what this software expects.

Works from an installed package: the migrations are found beside the package ``migrations``, not in a checkout.
"""

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.script.revision import RevisionError
from sqlalchemy import Connection, NullPool, text
from sqlalchemy.schema import SchemaItem

import migrations
from db.schema.base import TYPE_NAMES
from db.schema.metadata import TABLES
from db.schema.roles import OWNER
from db.session import make_engine

LOCK_KEY = 0x646C72  # "dlr"
"""The advisory lock that a migration holds."""

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


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate up to ``revision``, creating the roles where they are missing.

    Args:
        url: the database, as a user who is ``dlr_owner``, is a member of it, or is a superuser.
        revision: an Alembic revision.

    Raises:
        RoleRefused: a role is missing or out of reach; the message says what an administrator has to grant.
        db.outages.DatabaseAway: no server answers.
    """
    command.upgrade(_config(url), revision)


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
    return revision in {step.revision for step in ScriptDirectory.from_config(_config("")).walk_revisions()}


def check(url: str) -> list[str]:
    """Say how the database differs from what this software expects, one sentence a difference; empty when it fits.

    Changes nothing and needs no more than the rights of ``dlr_writer``.
    """
    with make_engine(url, role=None, poolclass=NullPool).connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": is_ours})
        pending = _pending(ScriptDirectory.from_config(_config(url)), context.get_current_heads())
        if pending:
            return pending
        drift = [f"the tables differ from the models: {_sentence(diff)}" for diff in compare_metadata(context, TABLES)]
        return drift + _other_words(connection) + _missing_views(connection)


def is_ours(item: SchemaItem, _name: str | None, kind: str, reflected: bool, counterpart: SchemaItem | None) -> bool:
    """Leave other people's tables in the same database out of comparisons (Alembic's ``include_object``)."""
    del item
    return not (kind == "table" and reflected and counterpart is None)


def _config(url: str) -> Config:
    config = Config(attributes={"url": url})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    return config


def _pending(script: ScriptDirectory, current: tuple[str, ...]) -> list[str]:
    try:
        steps = list(script.iterate_revisions("heads", current or "base"))
    except RevisionError:
        return ["the database has a migration that this version of the software does not know"]
    return [f"migration {step.revision} is pending" for step in reversed(steps)]


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
