"""What a ledger holds as a whole, for a backup of it: how many studies, of which schema, and which files they name."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

_GRANTEES = text("""
    SELECT DISTINCT rolname
    FROM (
        SELECT relacl AS acl FROM pg_class WHERE relnamespace = 'public'::regnamespace
        UNION ALL SELECT proacl FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT typacl FROM pg_type WHERE typnamespace = 'public'::regnamespace
        UNION ALL
        SELECT attacl FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace
    ) AS object, aclexplode(acl) AS given JOIN pg_roles ON pg_roles.oid = grantee
    ORDER BY rolname
""")
_FILES = text("""
    SELECT path, array_agg(id::text ORDER BY received_at, id) AS studies
    FROM (
        SELECT id, received_at, job -> 'images' -> 'paths' AS paths
        FROM study
        WHERE study_instance_uid IS NOT NULL AND jsonb_typeof(job -> 'images' -> 'paths') = 'array'
    ) AS given, jsonb_array_elements_text(paths) AS path
    GROUP BY path
    ORDER BY path COLLATE "C"
""")
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class LedgerContents:
    """A ledger at one moment.

    Attributes:
        server: PostgreSQL's version, such as ``18.4``.
        revision: of the schema; ``None``: there is none.
        studies: how many are in each state, earlier revisions and refused messages included.
        newest: when the latest one arrived.
        roles: that were granted something in the schema ``public``, its owner included.
    """

    server: str
    revision: str | None
    studies: dict[str, int]
    newest: datetime | None
    roles: tuple[str, ...]


def contents_of(connection: Connection) -> LedgerContents:
    """Look at all of it."""
    server = str(connection.scalar(text("SHOW server_version"))).split()[0]
    roles = tuple(connection.scalars(_GRANTEES))
    if connection.scalar(text("SELECT to_regclass('public.study')")) is None:
        return LedgerContents(server, None, {}, None, roles)
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    rows = connection.execute(
        text("SELECT state::text, count(*) AS number, max(received_at) AS newest FROM study GROUP BY state")
    ).all()
    newest = max((row.newest for row in rows), default=None)
    return LedgerContents(server, revision, {row.state: row.number for row in rows}, newest, roles)


def files_of_studies(connection: Connection) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield each path that studies on record name, by the storage root, with the ids of those studies.

    The paths come in the order of their bytes in UTF-8; a cursor of the server's holds them.
    """
    rows = connection.execution_options(stream_results=True, yield_per=_AT_ONCE).execute(_FILES)
    yield from ((row.path, tuple(row.studies)) for row in rows)


def missing_roles(connection: Connection, roles: tuple[str, ...]) -> list[str]:
    """Return those of some roles that the server does not have."""
    there = set(connection.scalars(text("SELECT rolname FROM pg_roles")))
    return [role for role in roles if role not in there]
