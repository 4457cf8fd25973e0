"""The sender: takes deliveries from the outbox and brings them to one destination, however long that is away."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Final, Protocol, TypeVar

from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import Due
from db.schema.vocabulary import DeliveryState
from db.writes import commitments, outbox
from worker.errors import Code, DlrError, Refused, SetupRefused, StudyRefused, Unavailable
from worker.logs import story_of
from worker.outages.backoff import backoff_s
from worker.reporting.result import read_results
from worker.sending.commitment_record import CommitmentRecord
from worker.sending.destination import Awaited, Busy, Deferred, Deliver, Opens, Parcel
from worker.sending.rules import why_not
from worker.sending.terms import Terms

logger = logging.getLogger(__name__)

LOOK_S: Final = 1.0
"""How often the outbox is looked at while nothing is due, in seconds."""

UNASKED_S: Final = 30.0
"""For so long a DICOMweb server that was away is not asked for images again, in seconds: an answer that does not come
keeps all behind it waiting."""

MOST_AT_ONCE: Final = 50
"""Deliveries that one sender takes."""

MADE_AT_ONCE: Final = 500
"""Deliveries that one look makes."""

HOLDS_UP: Final[Mapping[Code, str]] = {
    Code.DICOMWEB_SERVER_UNKNOWN: "DLR_DICOMWEB_SERVERS of the sender lacks the server",
    Code.DICOMWEB_FAILED: "the server no longer answers as it did when the study was scored",
    Code.SOP_INSTANCE_NOT_FOUND: "the archive may have moved the image, or its address may be wrong",
    Code.FILE_NOT_FOUND: "another folder may be mounted as DLR_STORAGE_ROOT",
    Code.FILE_NOT_READABLE: "the sender's user may not read the file",
    Code.FILE_TOO_LARGE: "DLR_MAX_FILE_BYTES or DLR_DICOMWEB_MAX_BYTES of the sender is smaller than the workers'",
    Code.PIXELS_TOO_LARGE: "DLR_MAX_FRAME_PIXELS of the sender is smaller than the workers'",
}
"""Refusals that hold a delivery up and are not for good: somebody mends them without touching the study, as what is
unavailable. Every other one is of the study or of the destination, and trying the same again mends none."""

T = TypeVar("T")


class RetryWhileAway(Protocol):
    """As `worker.outages.retry.retry_while_away`."""

    def __call__(self, work: Callable[[], T], /) -> T:
        """Do work, and do it again while something is away."""


_AWAY = (Unavailable, SetupRefused)
_COUNTED: Final = (DeliveryState.SENT, DeliveryState.FAILED, DeliveryState.WAITING, DeliveryState.OBSOLETE)


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one look at the outbox.

    Attributes:
        sent: deliveries that arrived.
        failed: those that were refused for good.
        held_up: those that wait for something of their own, such as their images' server.
        away: why all have to wait: the destination is.
        not_taken: results that the destination's rules leave out.
        quiet_until: when the hours end in which nothing is sent to it; ``None``: it is in none.
        is_idle: there is no more to do now.
    """

    sent: int = 0
    failed: int = 0
    held_up: int = 0
    away: Unavailable | SetupRefused | None = None
    not_taken: int = 0
    quiet_until: datetime | None = None
    is_idle: bool = False


@dataclass(frozen=True, slots=True)
class Sender:
    """Delivers to one destination; any number of senders may do so at once.

    Attributes:
        destination: where to.
        sessions: the ledger's.
        retry_wait_s: the first wait before something is tried again; it doubles.
        lease_s: for so long what was taken is kept from other senders.
        retry_while_away: does work again while the database is away; raises when the process ends.
        stopped: set when it is to end; what is being delivered is delivered, and the rest given back.
        terms: on which the destination is served.
        now: the clock by which it has quiet hours.
    """

    destination: Opens
    sessions: sessionmaker[Session]
    retry_wait_s: float
    lease_s: float
    retry_while_away: RetryWhileAway
    stopped: threading.Event = field(default_factory=threading.Event)
    terms: Terms = field(default_factory=Terms)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _asked_again_at: dict[str | None, float] = field(default_factory=dict)

    def switch_on(self, since: datetime | None = None) -> None:
        """Deliver what ends from the first time on that this is called, and what has ended since a time."""
        with self.sessions.begin() as session:
            outbox.switch_on(session, self.destination.name, since)

    def run(self, since: datetime | None = None) -> None:
        """Deliver until ``stopped``. While the destination is away it is asked ever more seldom, and nothing is lost.

        Raises:
            Stopping: the database is away, and the process ends.
        """
        self.retry_while_away(partial(self.switch_on, since))
        failures = 0
        while not self.stopped.is_set():
            done = self.retry_while_away(self.work)
            failures = 0 if done.away is None else failures + 1
            if done.away is not None:
                self.stopped.wait(self._wait_s(failures, done.away))
            elif done.is_idle:
                self.stopped.wait(LOOK_S)

    def work(self) -> Round:
        """Look at the outbox once: make the deliveries that are missing, and try those that are due."""
        name = self.destination.name
        with self.sessions.begin() as session:
            made = outbox.make_deliveries(session, name, MADE_AT_ONCE)
        quiet_until = None if self.terms.quiet is None else self.terms.quiet.until(self.now())
        if quiet_until is not None:
            return Round(quiet_until=quiet_until, is_idle=made < MADE_AT_ONCE)
        with self.sessions.begin() as session:
            due = outbox.take(session, name, MOST_AT_ONCE, self.lease_s, by_priority=self.terms.by_priority)
        return self._deliver(due) if due else Round(is_idle=made < MADE_AT_ONCE)

    def _deliver(self, due: Sequence[Due]) -> Round:
        enough = time.monotonic() + self.lease_s / 2
        came_of: list[DeliveryState] = []
        away = None
        left = list(due)
        try:
            with self.destination.opened() as deliver:
                while left and time.monotonic() < enough and not self.stopped.is_set():
                    came_of.append(self._one(deliver, left[0]))
                    left.pop(0)
        except _AWAY as why:
            away = why
            self._put_off(left.pop(0), why)
        with self.sessions.begin() as session:
            outbox.give_back(session, [one.delivery_id for one in left])
        sent, failed, held_up, not_taken = (came_of.count(state) for state in _COUNTED)
        return Round(sent, failed, held_up, away, not_taken)

    def _one(self, deliver: Deliver, due: Due) -> DeliveryState:
        """Try one delivery, and write down what came of it; raise where the destination itself is away."""
        parcel = self._wanted(due)
        if parcel is None:
            return DeliveryState.OBSOLETE
        server = parcel.result.dicomweb_server
        if time.monotonic() < self._asked_again_at.get(server, 0):
            return self._put_off(due, Unavailable(Code.DICOMWEB_UNAVAILABLE))
        try:
            uid = deliver(parcel)
        except SetupRefused:
            raise
        except Deferred as why:
            return self._defer(due, why)
        except (Unavailable, Refused) as why:
            if why.code is Code.DESTINATION_UNAVAILABLE:
                raise
            if why.code in (Code.DICOMWEB_UNAVAILABLE, Code.PACS_UNAVAILABLE):
                self._asked_again_at[server] = time.monotonic() + UNASKED_S
            if isinstance(why, Unavailable) or why.code in HOLDS_UP:
                return self._put_off(due, why)
            return self._fail(due, why.code, why.reason)
        except Exception as error:  # noqa: BLE001  a defect stops one delivery, and not those behind it
            logger.error("a delivery failed because of a defect:\n%s", story_of(error))
            return self._fail(due, Code.INTERNAL_ERROR, f"a defect of this software: {type(error).__qualname__}")
        with self.sessions.begin() as session:
            outbox.sent(session, due.delivery_id, uid)
        logger.info("sent to %s: %s", self.destination.name, due.study_id)
        return DeliveryState.SENT

    def _wanted(self, due: Due) -> Parcel | None:
        """Return what is to be delivered; of what is not, write down why."""
        parcel = self._parcel(due)
        with self.sessions.begin() as session:
            if parcel is None:
                outbox.obsolete(session, due.delivery_id)
                return None
            rule = why_not(self.terms.rules, parcel.result, has_earlier=parcel.replaces is not None)
            if rule is None:
                return parcel
            outbox.not_taken(session, due.delivery_id, Code.RESULT_NOT_TAKEN.value, f"the rule: {rule}")
        return None

    def _parcel(self, due: Due) -> Parcel | None:
        """Read the result that a delivery is of; ``None`` when it is the study's no more."""
        with self.sessions() as session:
            try:
                (result,) = read_results(session, due.study_id)
            except StudyRefused:
                return None
            if not result.endings or result.endings[-1].event_id != due.event_id:
                return None
            before = {ending.event_id: ending for ending in result.endings[:-1]}
            last = outbox.last_sent(session, self.destination.name, before.keys())
        return Parcel(due.delivery_id, result, before.get(last or 0), CommitmentRecord(self.sessions, due.delivery_id))

    def _fail(self, due: Due, code: Code, reason: str) -> DeliveryState:
        logger.warning("not sent to %s: %s: %s", self.destination.name, due.study_id, code)
        with self.sessions.begin() as session:
            outbox.failed(session, due.delivery_id, code.value, reason)
        return DeliveryState.FAILED

    def _defer(self, due: Due, why: Deferred) -> DeliveryState:
        """Send a delivery later, as the destination asks; after so many times that is a refusal."""
        times = due.deferrals + 1
        if times >= self.terms.most_deferrals:
            return self._fail(due, why.refused_as, f"{why.reason}, {times} times")
        return self._put_off(due, why, deferred=True)

    def _put_off(self, due: Due, why: DlrError, *, deferred: bool = False) -> DeliveryState:
        wait_s = self._wait_s(due.attempts, why)
        if isinstance(why, Awaited):
            logger.info("%s has yet to report that it keeps: %s", self.destination.name, due.study_id)
        else:
            logger.warning("not sent to %s yet, will be retried: %s: %s", self.destination.name, due.study_id, why.code)
        with self.sessions.begin() as session:
            outbox.put_off(session, due.delivery_id, wait_s, why.code.value, why.reason, deferred=deferred)
            if isinstance(why, Awaited):
                commitments.wake(session, due.delivery_id)
        return DeliveryState.WAITING

    def _wait_s(self, failures: int, why: DlrError | None = None) -> float:
        """Return how long to wait: longer each time, and as long as the destination asks for."""
        asked_s = why.wait_s if isinstance(why, Busy | Awaited) else 0
        first_s = self.terms.first_wait_s or self.retry_wait_s
        return max(backoff_s(failures, first_s, self.terms.longest_wait_s), asked_s)
