"""What an upgrade of the schema would do, to which tables, and beside whom: looked at, and nothing changed."""

from dataclasses import dataclass

from alembic.migration import MigrationContext
from sqlalchemy import NullPool, text

from db.migrate import pending
from db.schema.impact import REVISION, Impact
from db.session import make_engine

# Everybody may see the name under which a connection is listed, and no more of another user's.
_CONNECTED = text(r"""
    SELECT substring(application_name FROM '\(schema ([^)]+)\)$') AS revision, count(*) AS connections
    FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name ~ '^dlr( |$)'
    GROUP BY 1 ORDER BY 1 NULLS FIRST
""")


@dataclass(frozen=True, slots=True)
class Step:
    """A migration that is to come."""

    revision: str
    does: str
    impact: Impact


@dataclass(frozen=True, slots=True)
class Connected:
    """Programs of ours that are connected now.

    Attributes:
        revision: the schema that they are made for; ``None``: a version that does not say so.
        connections: how many they have.
    """

    revision: str | None
    connections: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        current: the database's schema; ``None``: it has none.
        steps: in their order; empty where there is nothing to do.
        connected: those who are at work now. Behind a pooler some may be missing.
    """

    current: str | None
    steps: tuple[Step, ...]
    connected: tuple[Connected, ...]

    @property
    def earlier(self) -> int:
        """How many connections programs of another version have."""
        return sum(one.connections for one in self.connected if one.revision != REVISION)

    @property
    def workers_go_on(self) -> bool:
        """Whether workers that are made for the schema as it is work on the one that it becomes."""
        return all(step.impact.workers_go_on for step in self.steps)

    @property
    def may_be_done_now(self) -> bool:
        """Whether nobody who is at work has to be stopped first."""
        return self.workers_go_on or not self.earlier


def plan(url: str) -> Plan:
    """Look at a database, and at who is connected to it.

    Raises:
        DatabaseRefused: the schema is a later version's.
        db.outages.DatabaseAway: no server answers.
    """
    with make_engine(url, role=None, poolclass=NullPool).connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
        connected = tuple(Connected(row.revision, row.connections) for row in connection.execute(_CONNECTED))
    steps = tuple(Step(step.revision, step.doc, step.module.impact) for step in pending(heads))
    return Plan(heads[0] if heads else None, steps, connected)
