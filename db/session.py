"""Connections to the ledger: which driver, which role, and no value of a row in any error."""

import os
from collections.abc import Iterable
from contextlib import closing
from io import BytesIO
from typing import Any, cast

import psycopg2
from sqlalchemy import URL, Connection, Engine, Pool, create_engine, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry

from db.answers import TCP, answering_within
from db.errors import RoleRefused
from db.outages import DatabaseAway, outage_of
from db.schema.impact import REVISION
from db.schema.roles import WRITER

CONNECT_TIMEOUT_S = 5
_PIECE = 1024 * 1024
_BEGINS = "begins"
ENCODING = "UTF8"
"""In which a database keeps text (PostgreSQL's ``server_encoding``); any other lacks letters of some names."""


def driver_url(url: str) -> URL:
    """Return the URL with the driver that this package uses, whatever driver it named or left out."""
    return make_url(url).set(drivername="postgresql+psycopg2")


def make_engine(
    url: str,
    role: str | None = WRITER,
    *,
    poolclass: type[Pool] | None = None,
    name: str | None = None,
    autocommit: bool = False,
    answers_within_s: float | None = None,
) -> Engine:
    """Make an engine; it connects on first use.

    Every transaction acts as ``role``, in UTC, with the schema ``public``; a session keeps nothing of that, so that a
    pooler may give it to somebody else between two transactions. A connection gives up after 5 s where no server
    answers, and 10 s after the server's machine has gone. Errors of the server are raised without the values that
    PostgreSQL puts into its messages. An outage is raised as `DatabaseAway`, whatever the driver calls it, and the
    connections that were there before are replaced.

    Args:
        url: ``postgresql://user:password@host:port/database``.
        role: the role to act as; the login user is a member of it, or is it. ``None``: stay the login user.
        name: under which PostgreSQL lists the connections, with the schema that this software is made for; ``None``:
            ``dlr``, and libpq's ``PGAPPNAME`` after it where that is set.
        autocommit: each statement is its own transaction, none is ever begun, and nobody but the login user acts.
        poolclass: SQLAlchemy's ``NullPool`` for a connection that is used once; else its default pool.
        answers_within_s: how long the server may take for an answer, in seconds, before the connection is cut. For a
            third of it a transaction may say nothing, before the server ends it with its locks. ``None``: for ever.

    Raises:
        RoleRefused: on connecting, when the login user cannot act as the role.
    """
    engine = create_engine(
        driver_url(url),
        poolclass=poolclass,
        pool_pre_ping=True,
        isolation_level="AUTOCOMMIT" if autocommit else None,
        hide_parameters=True,
        use_native_hstore=False,  # which would be asked for at each connection
        executemany_mode="values_plus_batch",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "client_encoding": "utf8",  # whatever the database's is, or PGCLIENTENCODING
            "application_name": f"{name or _own_name()} (schema {REVISION})",
            **TCP,
            **({} if answers_within_s is None else {"connection_factory": answering_within(answers_within_s)}),
        },
    )
    begins = _acting_as(role) + _ending_when_idle(answers_within_s)

    def look(connection: psycopg2.extensions.connection, _entry: ConnectionPoolEntry) -> None:
        _require_role(connection, role)

    def act(connection: Connection) -> None:
        connection.info[_BEGINS] = True

    def first_act(
        connection: Connection, cursor: Any, statement: str, parameters: Any, _context: object, executemany: bool
    ) -> tuple[str, Any]:
        if not connection.info.pop(_BEGINS, False):
            return statement, parameters
        if executemany or cursor.name:  # many rows, or a cursor of the server's: no place for other statements
            with closing(connection.connection.cursor()) as plain:
                plain.execute(begins)
            return statement, parameters
        # Sent with the transaction's first statement: its answer is not waited for by itself.
        return f"{begins}; {statement}", parameters

    if not autocommit:
        if role is not None:
            event.listen(engine, "connect", look)
        event.listen(engine, "begin", act)
        event.listen(engine, "before_cursor_execute", first_act, retval=True)
    event.listen(engine, "handle_error", _withhold_values)
    event.listen(engine, "handle_error", _tell_an_outage)
    return engine


def _own_name() -> str:
    # A name has 63 bytes at most, and what follows this one is not to be cut off.
    return f"dlr {os.environ.get('PGAPPNAME', '')[:32]}".rstrip()


def session_factory(engine: Engine) -> sessionmaker[Session]:
    """Return a factory; ``with factory.begin() as session`` is one transaction."""
    return sessionmaker(engine, expire_on_commit=False)


def copy_lines(session: Session, into: str, lines: Iterable[str]) -> None:
    """Write rows by ``COPY``, which SQLAlchemy does not know; errors are those of a statement.

    Args:
        session: of an engine of `make_engine`.
        into: what stands between ``COPY`` and ``FROM``: a table and its columns.
        lines: of PostgreSQL's text format, without their ends. They are written as seen by everybody (``FREEZE``), into
            a table that this transaction made.
    """
    # The driver gives other threads way before each piece that it sends, and may wait long for its turn after it.
    rows = BytesIO("".join([f"{line}\n" for line in lines]).encode())
    connection = session.connection()
    try:
        with closing(connection.connection.cursor()) as cursor:
            cast("psycopg2.extensions.cursor", cursor).copy_expert(
                f"COPY {into} FROM STDIN WITH (FREEZE)", rows, size=_PIECE
            )
    except psycopg2.Error as error:
        meaning = outage_of(error, is_lost=error.pgcode is None)
        if meaning is not None:
            connection.invalidate()
            raise DatabaseAway(error, meaning) from None
        raise DBAPIError(None, None, error.__class__(_without_values(error)), hide_parameters=True) from None


def _acting_as(role: str | None) -> str:
    """Return what begins each transaction; it ends with it, and no other client of a pooler inherits it."""
    return f"SET LOCAL TIME ZONE 'UTC'; SET LOCAL search_path TO public{f'; SET LOCAL ROLE {role}' if role else ''}"


def _ending_when_idle(limit_s: float | None) -> str:
    """Return what has the server end a transaction whose client is cut off or frozen, before others give up waiting."""
    return "" if limit_s is None else f"; SET LOCAL idle_in_transaction_session_timeout = {limit_s / 3 * 1000:.0f}"


def _require_role(connection: Any, role: str | None) -> None:
    """Try the role once, in a transaction of its own."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(_acting_as(role))
    except (psycopg2.errors.InsufficientPrivilege, psycopg2.errors.InvalidParameterValue):
        connection.close()
        raise RoleRefused(
            f"the database user of this URL cannot act as {role}; ask an administrator for: GRANT {role} TO that user;"
        ) from None
    connection.rollback()


def _tell_an_outage(context: ExceptionContext) -> DatabaseAway | None:
    original = context.original_exception
    if not isinstance(original, psycopg2.Error):
        return None
    meaning = outage_of(original, is_lost=context.is_disconnect or context.connection is None)
    if meaning is None:
        return None
    context.is_disconnect = True  # which has SQLAlchemy throw the connection away, and those in the pool
    # Where a connection is only looked at before its use, SQLAlchemy makes another.
    return None if context.is_pre_ping else DatabaseAway(original, meaning)


def _withhold_values(context: ExceptionContext) -> None:
    # "Key (study_instance_uid)=(1.2.840...) already exists" must not reach a log, so the message becomes the error's
    # class, SQLSTATE and constraint. A message without an SQLSTATE comes from the driver: no connection.
    original = context.original_exception
    if not isinstance(original, psycopg2.Error) or original.pgcode is None or context.sqlalchemy_exception is None:
        return
    kept = _without_values(original)
    original.args = (kept,)
    context.sqlalchemy_exception.args = (kept,)


def _without_values(error: psycopg2.Error) -> str:
    return f"{type(error).__name__} (SQLSTATE {error.pgcode}) {error.diag.constraint_name or ''}".strip()
