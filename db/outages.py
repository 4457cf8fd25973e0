"""Which errors are an outage of the database, and which a defect: one table, used wherever something waits.

An outage says nothing of the work that met it: any work would have, and the same work can be done later. The session
that met it is thrown away, with whatever else its pool holds: a server that was demoted keeps its connections, and a
session that began read-only stays so. Everything else that the server refuses is a defect of what it was asked, which
would be refused for ever.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import psycopg2
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from db.errors import RoleRefused

_OTHER_SCHEMA: Final = "the database has no schema yet, or not this version's: run `dlr db upgrade`"

OUTAGES: Final[dict[str, str]] = {
    "08": "the connection is broken",
    "25006": "the database is read-only: a standby, or default_transaction_read_only is on (a full disk?)",
    "25P03": "the server ended a session for being idle in a transaction",
    "25P04": "the server ended a transaction for taking too long",
    "28": "the server rejects the user or the password",
    "3D000": "the database does not exist",
    "3F000": _OTHER_SCHEMA,
    "40000": "a conflict with another transaction",
    "40001": "a conflict with another transaction",
    "40003": "it is unknown whether the transaction was committed",
    "40P01": "a deadlock between two transactions",
    "42501": "the user no longer has the right: run `dlr db upgrade`, which grants it again",
    "42703": _OTHER_SCHEMA,
    "42704": _OTHER_SCHEMA,
    "42883": _OTHER_SCHEMA,
    "42P01": _OTHER_SCHEMA,
    "42P10": _OTHER_SCHEMA,
    "53": "the server is out of disk space, memory or connections",
    "55": "the object is in use, or the state of the server does not allow it",
    "57": "ended by an administrator, a time limit, or a start of the server",
    "58": "the server's disk or operating system failed",
    "72000": "a snapshot was too old",
    "F0": "the server's own configuration is broken",
    "XX": "the server reports an internal error or data corruption",
}
"""Each outage by its SQLSTATE, or by its class of two characters (PostgreSQL's documentation, appendix A), with what it
means for a person. Of class 42, what depends on the schema alone, and on no value of a row."""

_RIGHT: Final = "42501"

NO_SCHEMA: Final = frozenset(state for state, meaning in OUTAGES.items() if meaning is _OTHER_SCHEMA)

NO_ANSWER: Final = "it does not answer"
"""What it means that an error has no SQLSTATE: the driver raised it, who has no connection (any more)."""

_AT_CONNECTING: Final[Mapping[str, str]] = {
    "53300": r"too many (clients|connections)|connection slots are reserved|no more connections allowed",
    "28000": r"authentication failed|no password supplied|pg_hba\.conf|not permitted to log in|role .* does not exist",
    "57P03": r"the database system is ",
    "3D000": r"database .* does not exist|no such database",
    "55000": r"not currently accepting connections",
    "42501": r"permission denied for database",
}
"""What PostgreSQL and PgBouncer say when they refuse a connection, by its SQLSTATE, which libpq keeps to itself then. A
server that speaks another language (``lc_messages``) is taken for one that does not answer."""

OF_ENUMERATIONS: Final = "enum_in"
"""The function of PostgreSQL that refuses a word which an enumeration lacks. The words are this version's, and no value
of a message is one: the schema is another version's."""

_OF_THE_CONNECTION = (psycopg2.OperationalError, psycopg2.InterfaceError)


class DatabaseAway(OperationalError):
    """PostgreSQL cannot do this now. Its session is gone; the same work can be done in a new one, later.

    Attributes:
        sqlstate: the server's, also of a connection that it refused; ``None`` where it did not answer.
        meaning: what that means, in our words.
    """

    def __init__(self, error: psycopg2.Error, meaning: str) -> None:
        super().__init__(None, None, error, hide_parameters=True, connection_invalidated=True)
        self.sqlstate: str | None = error.pgcode or _refused_with(error)
        self.meaning = meaning
        self.args = (self.sentence,)

    @property
    def sentence(self) -> str:
        """What a person is told."""
        return f"PostgreSQL: {self.meaning}" + (f" (SQLSTATE {self.sqlstate})" if self.sqlstate else "")

    def __reduce__(self) -> tuple[Any, ...]:
        return DatabaseAway, (self.orig, self.meaning)


_RIGHT_ON: Final = re.compile(r"permission denied for (\w+ [a-z][a-z0-9_]*)")
"""The object that the server names: one of its catalogue, never a value. In another language it is not told."""

DATABASE_AWAY: Final = (DatabaseAway, PoolExhausted, RoleRefused)
"""What work with the ledger raises when it can be done later: an outage, all connections in use, or a role that a
person has to grant."""


def meaning_of(sqlstate: str) -> str | None:
    """Return what an outage means; ``None`` where the SQLSTATE is that of a defect."""
    return OUTAGES.get(sqlstate) or OUTAGES.get(sqlstate[:2])


def outage_of(error: psycopg2.Error, *, is_lost: bool) -> str | None:
    """Return what an error means if it is an outage; ``None`` if it is a defect.

    Args:
        error: the driver's.
        is_lost: there is no connection, or none any more, so that nothing was refused but the connection.
    """
    if error.pgcode is not None and (meaning := meaning_of(error.pgcode)) is not None:
        return _with_object(error, meaning)
    if isinstance(error, psycopg2.errors.InvalidTextRepresentation) and error.diag.source_function == OF_ENUMERATIONS:
        return _OTHER_SCHEMA
    if (refused := _refused_with(error)) is not None:
        return meaning_of(refused)
    if is_lost or (error.pgcode is None and _is_of_the_connection(error)):
        return NO_ANSWER
    return None


def is_of_a_right(error: Exception) -> bool:
    """Whether the database refuses because a right or a role is missing, which nothing but a person's grant mends."""
    return isinstance(error, RoleRefused) or (isinstance(error, DatabaseAway) and error.sqlstate == _RIGHT)


def _with_object(error: psycopg2.Error, meaning: str) -> str:
    """Add what the right is on, where the server said it."""
    if error.pgcode != _RIGHT:
        return meaning
    found = _RIGHT_ON.search(error.diag.message_primary or "")
    return f"{meaning} ({found[1]})" if found else meaning


def _refused_with(error: psycopg2.Error) -> str | None:
    """Return the SQLSTATE of a refusal to connect."""
    if error.pgcode is not None or not isinstance(error, psycopg2.OperationalError):
        return None
    said = str(error)
    return next((state for state, sentence in _AT_CONNECTING.items() if re.search(sentence, said)), None)


def _is_of_the_connection(error: psycopg2.Error) -> bool:
    # Where libpq has no message, psycopg2 raises the base class: the connection broke in the middle of an answer.
    return isinstance(error, _OF_THE_CONNECTION) or type(error) is psycopg2.DatabaseError
