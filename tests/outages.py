"""What can happen to a database: that it cannot be written for now, or that it refuses for ever what it is asked."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from sqlalchemy import text

from db.session import make_engine
from tests.conftest import Database


class Outage(NamedTuple):
    """How it begins and how it ends, as the superuser says it; and whether in the database or outside of it."""

    begins: str
    ends: str
    inside: bool = False


OUTAGES = {
    "read-only": Outage(
        "ALTER DATABASE {name} SET default_transaction_read_only = on",
        "ALTER DATABASE {name} RESET default_transaction_read_only",
    ),
    "no connections left": Outage(
        "ALTER DATABASE {name} CONNECTION LIMIT 0", "ALTER DATABASE {name} CONNECTION LIMIT -1"
    ),
    "closed": Outage("ALTER DATABASE {name} ALLOW_CONNECTIONS false", "ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
    "gone": Outage("ALTER DATABASE {name} RENAME TO {name}_away", "ALTER DATABASE {name}_away RENAME TO {name}"),
    "right revoked": Outage("REVOKE INSERT ON study FROM dlr_writer", "GRANT INSERT ON study TO dlr_writer", True),
    "table away": Outage("ALTER TABLE study RENAME TO study_away", "ALTER TABLE study_away RENAME TO study", True),
    "column away": Outage("ALTER TABLE study RENAME source TO other", "ALTER TABLE study RENAME other TO source", True),
    "word away": Outage(
        "ALTER TYPE priority RENAME VALUE 'routine' TO 'other'",
        "ALTER TYPE priority RENAME VALUE 'other' TO 'routine'",
        True,
    ),
    "disk full": Outage(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'disk' USING ERRCODE = 'disk_full'; END $$; "
        "CREATE TRIGGER full_disk BEFORE INSERT ON study FOR EACH ROW EXECUTE FUNCTION full_disk()",
        "DROP TRIGGER full_disk ON study; DROP FUNCTION full_disk()",
        True,
    ),
}
DEFECT = Outage(
    "CREATE FUNCTION defect() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / 0; END $$; "
    "CREATE TRIGGER defect BEFORE INSERT ON study FOR EACH ROW WHEN ({which}) EXECUTE FUNCTION defect()",
    "DROP TRIGGER defect ON study; DROP FUNCTION defect()",
    True,
)
"""No outage: what is written meets it each time, until somebody mends it."""

A_REFUSAL, A_STUDY = "NEW.study_instance_uid IS NULL", "NEW.study_instance_uid IS NOT NULL"


@contextmanager
def away(database: Database, outage: Outage, which: str = "") -> Iterator[None]:
    """Cut a database's sessions, and let an outage begin; it ends with the context.

    Args:
        database: a test's own.
        outage: what happens.
        which: of `DEFECT`: which rows meet it.
    """
    server, name = database.superuser_url.rsplit("/", 1)

    def tell(statement: str, *, inside: bool) -> None:
        engine = make_engine(f"{server}/{name if inside else 'postgres'}", role=None, autocommit=True)
        with engine.connect() as connection:
            connection.execute(text(statement.format(name=name, which=which)))
        engine.dispose()

    tell("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'", inside=False)
    tell(outage.begins, inside=outage.inside)
    try:
        yield
    finally:
        tell(outage.ends, inside=outage.inside)
