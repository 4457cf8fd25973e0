"""Each component that the service needs: whether it is there, in which version, and what to do if it is not.

Every look is bounded: a server that hangs is as good as none after a few seconds.
"""

import os
import socket
import threading
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from redis import Redis
from redis.exceptions import ResponseError
from sqlalchemy import Engine, NullPool, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from db import probe
from db.errors import DatabaseRefused
from db.migrate import check
from db.outages import NO_SCHEMA, DatabaseAway
from db.reads import study_queries
from db.session import ENCODING, make_engine, session_factory
from db.writes import outbox
from worker import __version__
from worker.app import app, set_command_timeout
from worker.broker.durability import ACCEPTED_BY, durability_of
from worker.broker.queues import QUEUES
from worker.broker.reconciler import RedisQueues
from worker.errors import Code, DlrError, Unavailable
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.redis_answers import reason_of
from worker.scoring.worklist_place import place_of_failed
from worker.settings import Settings

LOOK_S = 5.0
"""How long a component may take to answer, in seconds."""

LOCK_S = 3.0
"""How long a table may be somebody else's; less than `LOOK_S`, so that it is told which of the two it was."""

SILENT_S = 180.0
"""A sender that has not looked for so long is at work no more, in seconds."""

SHARED = (
    "a pooler gives PostgreSQL's sessions to several connections in turn (PgBouncer's pool_mode transaction or "
    "statement), so that a role, a time limit or a lock leaks from one to another: use pool_mode = session, or the "
    "server's own address"
)


class Health(StrEnum):
    """How a component is: ``warning`` works, and somebody should look."""

    OK = "ok"
    WARNING = "warning"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Component:
    """One component: its name, how it is, its version if it has one, and a sentence without identifiers."""

    component: str
    health: Health
    version: str | None
    detail: str


Look = Callable[[Settings], Component]
T = TypeVar("T")


def servers(settings: Settings) -> list[Component]:
    """Look at what a study needs to be accepted and kept: PostgreSQL, its schema, Redis."""
    return _servers(settings, postgres)


def everything(settings: Settings) -> list[Component]:
    """Look at all components, the software itself first."""
    others: Sequence[tuple[str, Look]] = (
        ("queues", queues),
        ("studies", studies),
        ("workers", workers),
        ("models", models),
        ("device", device),
        ("storage", storage),
        ("Flower", flower),
        ("worklist page", page),
        ("delivery", delivery),
    )
    software = Component("dlr-worker", Health.OK, __version__, f"DLR_HOME {settings.home}")
    return [software, *_servers(settings, postgres_and_pooler), *(_look(name, look, settings) for name, look in others)]


def _servers(settings: Settings, of_postgres: Look) -> list[Component]:
    looks: Sequence[tuple[str, Look]] = (("PostgreSQL", of_postgres), ("schema", schema), ("Redis", redis))
    return [_look(name, look, settings) for name, look in looks]


def worker_answers(name: str, settings: Settings) -> Component:
    """Ask a worker of this host, by its name, whether it is at its work; it answers through Redis."""
    return _look(f"worker {name}", lambda _: _answer_of(name, settings), settings)


def receiver_answers(settings: Settings) -> Component:
    """Ask the `dlr receive` of this host whether it answers."""
    return _look("receiver", receiver, settings)


def receiver(settings: Settings) -> Component:
    """Send a C-ECHO as one of those who may call."""
    from worker.intake.receiver_config import echo, receiver_config_of

    reception = receiver_config_of(settings)
    place = f"{reception.ae_title} at {reception.address}:{reception.port}"
    if echo(reception):
        return Component("receiver", Health.OK, None, f"{place} answers")
    return Component("receiver", Health.DOWN, None, f"{place} does not answer")


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
            probe.try_write(session, place_of_failed)
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
    found = _look("PostgreSQL", postgres, settings)
    if found.health is Health.OK:
        return replace(found, health=Health.WARNING, detail=SHARED)
    return replace(found, detail=f"{found.detail}; {SHARED}")


def schema(settings: Settings) -> Component:
    """Compare the tables, enumerations and views with what this version expects."""
    faults = _in_time(lambda: check(settings.require_database_url()))
    if faults:
        return Component("schema", Health.DOWN, None, f"{'; '.join(faults[:3])}: run `dlr db upgrade`")
    return Component("schema", Health.OK, None, "matches this version")


def redis(settings: Settings) -> Component:
    """Connect as a worker does, and write: does it take messages, and keep them?"""
    with _client(settings) as client:
        RedisQueues(client, settings.redis_key_prefix).probe()
        found, version = durability_of(client), _redis_version(client)
    said = "; ".join((*found.forgets, *found.risks))
    if found.forgets and not settings.redis_may_forget:
        return Component("Redis", Health.DOWN, version, f"{said}: no worker starts, unless {ACCEPTED_BY}=true")
    return Component("Redis", Health.WARNING if said else Health.OK, version, said or "answers")


def _redis_version(client: "Redis") -> str | None:
    try:
        found = client.info("server")
    except ResponseError:
        return None
    version: str | None = found.get("valkey_version") or found.get("redis_version")
    return version


def queues(settings: Settings) -> Component:
    """Count the messages that wait."""
    with _client(settings) as client:
        waiting = RedisQueues(client, settings.redis_key_prefix).waiting()
    said = ", ".join(f"{waiting[queue]} wait for {queue}" for queue in QUEUES)
    return Component("queues", Health.OK, None, said)


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


def workers(settings: Settings) -> Component:
    """Ask who is at work, on every host."""
    settings.require_redis_url()
    names = sorted(name for answer in app.control.ping(timeout=2.0) for name in answer)
    missing = [queue for queue in QUEUES if not any(queue in name for name in names)]
    if not names:
        return Component("workers", Health.DOWN, None, "none answers: start them (`dlr up`, or `dlr worker`)")
    if missing:
        return Component("workers", Health.WARNING, None, f"{', '.join(names)}; none is named after {missing[0]}")
    return Component("workers", Health.OK, None, ", ".join(names))


def models(settings: Settings) -> Component:
    """Read the active models' cards and hash their weights."""
    from worker.inference.card import MODEL_NAMES
    from worker.inference.registry import Registry

    registry = Registry(settings.models_dir)
    entries = [registry.active(name) for name in MODEL_NAMES]
    versions = ", ".join(f"{entry.card.name} {entry.card.version}" for entry in entries)
    broken = [entry.card.name for entry in entries if not registry.is_sound(entry)]
    if broken:
        return Component("models", Health.DOWN, versions, f"{broken[0]}: the weights are not those of its card")
    notices = "; ".join(sorted({entry.card.notice for entry in entries if entry.card.notice}))
    return Component("models", Health.WARNING if notices else Health.OK, versions, notices or "active")


def device(settings: Settings) -> Component:
    """Find the devices that inference workers here would take."""
    try:
        import torch

        from worker.inference.devices import devices_named
    except ImportError:
        return Component("device", Health.OK, None, "no torch here: this installation is a client")
    return Component("device", Health.OK, f"torch {torch.__version__}", ", ".join(devices_named(settings.device)))


def storage(settings: Settings) -> Component:
    """Look whether the files' folder is there and can be read."""
    root = settings.storage_root
    if not root.is_dir() or not os.access(root, os.R_OK | os.X_OK):
        return Component("storage", Health.DOWN, None, f"DLR_STORAGE_ROOT {root} is not a readable folder")
    with os.scandir(root) as entries:
        said = str(root) if any(entries) else f"{root} is empty: is its disk mounted?"
    return Component("storage", Health.OK, None, said)


def flower(settings: Settings) -> Component:
    """Ask Flower whether it serves."""
    from worker.services.flower import healthcheck_url

    try:
        with urllib.request.urlopen(healthcheck_url(settings), timeout=LOOK_S):  # noqa: S310  our own http:// address
            return Component("Flower", Health.OK, None, "serves")
    except OSError:
        return Component("Flower", Health.WARNING, None, "does not serve; studies are scored without it")


def page(settings: Settings) -> Component:
    """Look whether somebody listens where the worklist page does."""
    from worker.services.web_process import web_is_installed

    if not web_is_installed() or not settings.web_accounts.exists():
        return Component("worklist page", Health.OK, None, "not used: it has no accounts")
    try:
        with socket.create_connection((settings.web_address, settings.web_port), LOOK_S):
            return Component("worklist page", Health.OK, None, "listens")
    except OSError:
        return Component("worklist page", Health.WARNING, None, "does not listen; `dlr worklist` shows the same")


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


def _answer_of(name: str, settings: Settings) -> Component:
    settings.require_redis_url()
    address = f"{name}@{socket.gethostname()}"
    if app.control.ping(destination=[address], timeout=LOOK_S):
        return Component(f"worker {name}", Health.OK, None, f"{address} answers")
    return Component(f"worker {name}", Health.DOWN, None, f"{address} does not answer")


def _look(name: str, look: Look, settings: Settings) -> Component:
    """Look at one component; whatever keeps it from answering is told in our words, and keeps no other from it."""
    set_command_timeout()
    try:
        return look(settings)
    except Exception as error:  # noqa: BLE001  a row of its own, whatever it is
        return Component(name, Health.DOWN, None, _said_of(error))


def _said_of(error: Exception) -> str:
    match error:
        case DlrError():
            return f"{error.code}: {error.reason}"
        case DatabaseRefused():
            return str(error)
        case SQLAlchemyError():
            return _said_of_postgresql(error)
        case _ if isinstance(error, REDIS_AWAY):
            return f"Redis {reason_of(error)}"
        case ImportError():
            return f"this installation lacks {error.name}: install the extra that has it"
        case OSError(strerror=str() as strerror):
            return strerror if error.filename is None else f"{error.filename}: {strerror}"
        case _:
            return f"could not be checked: a defect of this software ({type(error).__qualname__})"


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


def _said_of_postgresql(error: SQLAlchemyError) -> str:
    if isinstance(error, DatabaseAway):
        return error.sentence if error.sqlstate else "PostgreSQL does not answer at DLR_DATABASE_URL"
    return f"PostgreSQL refuses (SQLSTATE {getattr(getattr(error, 'orig', None), 'pgcode', None)})"


def _client(settings: Settings) -> "Redis":
    return Redis.from_url(settings.require_redis_url(), socket_timeout=LOOK_S, socket_connect_timeout=LOOK_S)
