"""How Alembic runs here: on a live database, one at a time, as ``dlr_owner``.

The URL comes from ``db.migrate``, or from a developer's ``alembic -x url=postgresql://... revision --autogenerate``.
"""

from alembic import context
from sqlalchemy import Connection, NullPool, text

from db.errors import DatabaseRefused, RoleRefused
from db.migrate import LOCK_KEY, is_ours
from db.schema.metadata import TABLES
from db.schema.roles import OWNER, prepare_roles
from db.session import ENCODING, make_engine


def _url() -> str:
    url = context.config.attributes.get("url") or context.get_x_argument(as_dictionary=True).get("url")
    if not url:
        raise DatabaseRefused("no database to migrate: give -x url=postgresql://...")
    return str(url)


def _migrate() -> None:
    if context.is_offline_mode():
        raise DatabaseRefused("migrations run on a live database; there is no offline mode")
    with make_engine(_url(), role=None, poolclass=NullPool).connect() as connection:
        _wait_for_turn(connection)
        prepare_roles(connection)
        connection.commit()
        if not connection.scalar(text("SELECT pg_has_role(:role, 'MEMBER')"), {"role": OWNER}):
            raise RoleRefused(f"migrations run as {OWNER}; ask an administrator for: GRANT {OWNER} TO this user;")
        connection.commit()
        context.configure(connection=connection, target_metadata=TABLES, include_object=is_ours)
        encoding = connection.scalar(text("SHOW server_encoding"))
        connection.commit()
        if encoding != ENCODING and not context.get_context().get_current_heads():
            raise DatabaseRefused(
                f"the database keeps text in {encoding}, which has not every name and number: make it anew with "
                f"createdb --template=template0 --encoding={ENCODING}"
            )
        with context.begin_transaction():
            # The revision is read in the same transaction: a second migration finds nothing to do.
            _wait_for_turn(connection)
            connection.execute(text(f"SET LOCAL ROLE {OWNER}"))
            if (wait_ms := context.config.attributes.get("lock_timeout_ms")) is not None:
                connection.execute(text(f"SET LOCAL lock_timeout = {int(wait_ms)}"))
            context.run_migrations()


def _wait_for_turn(connection: Connection) -> None:
    """Take the lock of migrations until the end of the transaction: a session may be a pooler's, and another's next."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK_KEY})


_migrate()
