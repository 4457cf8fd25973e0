"""Sends a collector what is on record and has not been sent, in the order in which it was noted."""

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.orm import Session, sessionmaker

from db.writes import audit
from worker.audit.message import Source, audit_message
from worker.audit.syslog import Collector, parse_collector, syslog_message
from worker.errors import Code, SetupRefused, Unavailable
from worker.logs import story_of
from worker.outages.backoff import backoff_s
from worker.outages.retry import AWAY
from worker.settings import Settings

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often it is looked for what was noted meanwhile, in seconds."""

AT_ONCE: Final = 100
"""Messages of one connection. Where it breaks they are all sent again."""

LONGEST_WAIT_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one look.

    Attributes:
        sent: messages.
        away: why none was.
        is_idle: there is no more to do now.
    """

    sent: int
    away: Unavailable | None
    is_idle: bool


@dataclass(frozen=True, slots=True)
class Forwarder:
    """Sends to one collector; several forwarders take turns.

    Attributes:
        sessions: the ledger's, of ``dlr_writer``.
        source: who reports.
        retry_wait_s: the first wait while the collector is away; it doubles.
        retry_while_away: does work again while the database is away; raises when the process ends.
        stopped: set when it is to end.
    """

    collector: Collector
    sessions: sessionmaker[Session]
    source: Source
    retry_wait_s: float
    retry_while_away: Callable[[Callable[[], Round]], Round]
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send until ``stopped``. What cannot be sent stays on record, and is sent once the collector is back.

        Raises:
            Stopping: the database is away, and the process ends.
        """
        failures = 0
        while not self.stopped.is_set():
            done = self.retry_while_away(self._tried)
            failures = 0 if done.away is None else failures + 1
            if done.away is not None:
                logger.warning("audit messages wait: %s", done.away.reason)
                self.stopped.wait(backoff_s(failures, self.retry_wait_s, LONGEST_WAIT_S))
            elif done.is_idle:
                self.stopped.wait(LOOK_S)

    def _tried(self) -> Round:
        """Do as `work`. A defect would end the process, and hold up the results that it delivers."""
        try:
            return self.work()
        except AWAY:
            raise
        except Exception as error:  # noqa: BLE001
            logger.error("no audit messages are sent because of a defect:\n%s", story_of(error))
            return Round(0, Unavailable(Code.INTERNAL_ERROR, "a defect of this software"), is_idle=True)

    def work(self) -> Round:
        """Send what has not been sent, `AT_ONCE` messages at most."""
        away = None
        with self.sessions.begin() as session:
            events = audit.not_sent(session, AT_ONCE)
            try:
                if events:
                    self._send(events)
                    audit.sent(session, [event.id for event in events])
            except Unavailable as why:
                away = why
        return Round(0 if away else len(events), away, len(events) < AT_ONCE)

    def _send(self, events: list[audit.AuditEvent]) -> None:
        host = socket.gethostname()
        with self.collector.connected() as send:
            for event in events:
                send(syslog_message(audit_message(event, self.source), event.at, host))


def collector_of(settings: Settings) -> Collector | None:
    """Return the collector that the settings name.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    if settings.audit_collector is None:
        return None
    try:
        tls = ssl.create_default_context(cafile=settings.audit_ca)
        if settings.audit_certificate is not None:
            tls.load_cert_chain(settings.audit_certificate, settings.audit_key)
    except OSError:
        reason = "DLR_AUDIT_CA, DLR_AUDIT_CERTIFICATE or DLR_AUDIT_KEY cannot be read, or do not match"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return parse_collector(settings.audit_collector, settings.audit_timeout_s, tls)


def source_of(settings: Settings) -> Source:
    """Return who reports, as the settings say."""
    return Source(settings.audit_source or socket.gethostname(), settings.audit_site)
