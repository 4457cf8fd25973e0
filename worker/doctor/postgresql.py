"""PostgreSQL: the server and what is before it, its schema, and what the ledger and the outbox hold."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from typing import TypeVar

from sqlalchemy import Engine, NullPool, text
from sqlalchemy.orm import Session

from db import probe
from db.migrate import check
from db.outages import NO_SCHEMA, DatabaseAway
from db.reads import study_queries
from db.session import ENCODING, make_engine, session_factory
from db.writes import outbox
from db.writes.reading_order import served_policies
from worker.doctor.component import LOOK_S, Component, Health, look_at
from worker.errors import Code, Unavailable
from worker.settings import Settings

LOCK_S = 3.0
"""How long a table may be somebody else's; less than `LOOK_S`, so that it is told which of the two it was."""

SILENT_S = 180.0
"""A sender that has not looked for so long is at work no more, in seconds."""

SHARED = "behind a pooler that gives PostgreSQL's sessions to several connections in turn"
BY_STATEMENT = (
    f"{SHARED}: with PgBouncer use pool_mode = transaction or session, since with pool_mode = statement nothing can be "
    "written"
)

T = TypeVar("T")


def postgres(settings: Settings) -> Component:
    """Connect as a worker does, and try to write: a standby, or a server whose disk is full, answers all the same."""
    return _in_time(lambda: _postgres(make_engine(settings.require_database_url(), poolclass=NullPool)))


def _postgres(engine: Engine) -> Component:
    with session_factory(engine)() as session:
        session.execute(
            text(f"SET LOCAL statement_timeout = '{LOOK_S:.0f}s'; SET LOCAL lock_timeout = '{LOCK_S:.0f}s'")
        )
        version = str(session.scalar(text("SHOW server_version"))).split()[0]
        encoding = session.scalar(text("SHOW server_encoding"))
        try:
            probe.try_write(session)
        except DatabaseAway as away:
            if away.sqlstate not in NO_SCHEMA:  # which is the next look's
                return Component("PostgreSQL", Health.DOWN, version, f"cannot be written: {away.sentence}")
    if encoding != ENCODING:
        detail = (
            f"keeps text in {encoding}, and cannot record a study whose texts have other characters: move it into a "
            f"database created with createdb --template=template0 --encoding={ENCODING}"
        )
        return Component("PostgreSQL", Health.WARNING, version, detail)
    return Component("PostgreSQL", Health.OK, version, "answers and accepts writes")


def postgres_and_pooler(settings: Settings) -> Component:
    """Look at PostgreSQL, and whether each connection has a session of it to itself."""
    engine = make_engine(settings.require_database_url(), poolclass=NullPool, autocommit=True)
    if not _in_time(lambda: probe.shares_sessions(engine)):
        return postgres(settings)
    found = look_at("PostgreSQL", postgres, settings)
    return replace(found, detail=f"{found.detail}; {SHARED if found.health is Health.OK else BY_STATEMENT}")


def schema(settings: Settings) -> Component:
    """Compare the tables, enumerations and views with what this version expects."""
    faults = _in_time(lambda: check(settings.require_database_url()))
    if faults:
        return Component("schema", Health.DOWN, None, f"{'; '.join(faults[:3])}: run `dlr db upgrade`")
    return Component("schema", Health.OK, None, "matches this version")


def studies(settings: Settings) -> Component:
    """Count the studies of the ledger, and say since when the oldest one waits."""
    counts, oldest = _asked(
        settings, lambda session: (study_queries.counts_by_state(session), study_queries.oldest_open(session))
    )
    said = ", ".join(f"{count} {state}" for state, count in counts.items())
    if oldest is not None:
        waits = (datetime.now(UTC) - oldest).total_seconds()
        said += f"; the oldest unfinished one arrived {waits:.0f} s ago"
    return Component("studies", Health.OK, None, said)


def reading_order(settings: Settings) -> Component:
    """Name the active policy of reading order, and say where places are still to be computed."""
    policies = _asked(settings, served_policies)
    active = next(policy for policy in policies if policy.active)
    if not active.placed:
        detail = "studies of before the upgrade have no place on the worklist yet: run `dlr db upgrade`"
        return Component("reading order", Health.WARNING, active.label, detail)
    built = next((policy.label for policy in policies if not policy.active), None)
    if built is not None:
        detail = f"{built} is being applied, or was broken off: then run `dlr worklist policy apply` again"
        return Component("reading order", Health.WARNING, active.label, detail)
    return Component("reading order", Health.OK, active.label, "every study has its place")


def delivery(settings: Settings) -> Component:
    """Count what waits to be sent and what was refused, and look whether a sender is at work."""
    states = _asked(settings, outbox.outbox_states)
    if not states:
        return Component("delivery", Health.OK, None, "no destination has been enabled")
    now = datetime.now(UTC)
    silent = [state.destination for state in states if (now - state.looked_at).total_seconds() > SILENT_S]
    said = ", ".join(f"{one.destination}: {one.waiting} wait, {one.failed} failed" for one in states)
    if silent:
        said += f"; nobody has sent to {', '.join(silent)} for minutes: is `dlr send` running?"
    well = not silent and not any(one.failed for one in states)
    return Component("delivery", Health.OK if well else Health.WARNING, None, said)


def _asked(settings: Settings, question: Callable[[Session], T]) -> T:
    engine = make_engine(settings.require_database_url(), poolclass=NullPool)

    def ask() -> T:
        with session_factory(engine)() as session:
            return question(session)

    return _in_time(ask)


def _in_time(work: Callable[[], T]) -> T:
    """Ask PostgreSQL on a thread that is given up: a pooler takes connections that it has no session for."""
    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(work())
        except Exception as error:  # noqa: BLE001  it is the asker's
            answer.set_exception(error)

    threading.Thread(target=ask, name="look", daemon=True).start()
    try:
        return answer.result(2 * LOOK_S)
    except TimeoutError:
        reason = (
            "PostgreSQL takes connections and does not answer: is a table locked, or a pooler in front of it without a "
            "free session?"
        )
        raise Unavailable(Code.SERVICE_UNAVAILABLE, reason) from None
