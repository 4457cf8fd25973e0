"""The performer: claims work items that are ours, has their studies scored, and ends the items; nothing is forgotten.

See docs/decisions/0073-a-claim-is-written-down-first.md.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from pydicom import Dataset
from pydicom.uid import generate_uid
from sqlalchemy.orm import Session, sessionmaker

from worker.contract import parse_pushed
from worker.errors import Code, DlrError, JobRefused, LesionRefused, StudyRefused, Unavailable
from worker.intake.accept_study import Intake
from worker.intake.fetching import Fetcher
from worker.outages.backoff import backoff_s
from worker.outages.retry import AWAY
from worker.performing.claims import Claim, Claims, State
from worker.performing.manager import Answer, Manager, StepState, Worklist
from worker.performing.outcome import Reports, outcome_of
from worker.performing.performed import AT_WORK, CLAIMED, Canceled, Outcome, ending, progress
from worker.performing.scheduled import Coded, Ours, job_of, uid_of, workitem_of

logger = logging.getLogger(__name__)

SOURCE: Final = "perform"

RetryWhileAway = Callable[[Callable[[], bool]], bool]
"""As `worker.outages.retry.retry_while_away`."""

LONGEST_WAIT_S: Final = 60.0
"""For no longer is a study's server left alone that was away, in seconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is claimed, and how.

    Attributes:
        ours: which items.
        images: where their studies are, as a job has it.
        station: who performs them.
        most: items that are held at a time.
        retry_wait_s: the first wait before a server that was away is asked again, in seconds; it doubles.
        reports: where their reports are stored; ``None``: nowhere that an item could refer to.
    """

    ours: Ours
    images: dict[str, str]
    station: Coded
    most: int
    retry_wait_s: float
    reports: Reports | None = None


@dataclass(frozen=True, slots=True)
class Performer:
    """Performs the work items of one manager; one process has its claims.

    Attributes:
        manager: who has the worklist.
        claims: what we hold.
        terms: what is claimed, and how.
        fetcher: has studies from their server.
        intake: records and queues them.
        sessions: the ledger's.
        refused: is told each code for which an item is refused.
        now: the clock.
    """

    manager: Manager
    claims: Claims
    terms: Terms
    fetcher: Fetcher
    intake: Intake
    sessions: sessionmaker[Session]
    refused: Callable[[Code], None] = lambda _code: None
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _left: set[str] = field(default_factory=set)
    _put_off: dict[str, tuple[int, float]] = field(default_factory=dict)

    def run(self, look_s: float, retry_while_away: RetryWhileAway, stopped: threading.Event) -> None:
        """Work until ``stopped``.

        Args:
            look_s: how often the worklist is looked at while there is nothing to do, in seconds.
            retry_while_away: does work again while the manager or the database is away; raises when the process ends.
            stopped: set when it is to end; what is held is gone on with at the next start.
        """
        while not stopped.is_set():
            if not retry_while_away(lambda: self.work(stopped)):
                stopped.wait(look_s)

    def work(self, stopped: threading.Event | None = None) -> bool:
        """Ask the manager once, and then hand in what it gave us; say whether anything was handed in.

        Raises:
            Unavailable: ``destination_unavailable``; the manager is away, and what is held stays so.
            SetupRefused: ``setting_invalid``; a claim cannot be read.
        """
        with self.manager.opened() as worklist:
            for claim in self._of(State.ASKED):
                self._ask(worklist, claim, again=True)
            for claim in self._of(State.RECORDED, State.WAITING):
                self._end(worklist, claim)
            self._claim_more(worklist)
        self.claims.looked()
        handed_in = 0
        for claim in self._of(State.HELD):
            if (stopped is not None and stopped.is_set()) or not self._is_due(claim):
                continue
            handed_in += self._hand_in(claim)
            self.claims.looked()
        return handed_in > 0

    def _of(self, *states: State) -> list[Claim]:
        return [one for one in self.claims.all() if one.state in states]

    # --- claim

    def _claim_more(self, worklist: Worklist) -> None:
        known = {claim.uid for claim in self.claims.all()} | self._left
        room = self.terms.most - len(self._of(State.ASKED, State.HELD, State.RECORDED, State.WAITING))
        if room <= 0:
            return
        for item in worklist.scheduled(self.terms.ours):
            uid = uid_of(item)
            if room <= 0:
                return
            if uid and uid not in known and self.terms.ours.includes(item):
                known.add(uid)
                room -= self._claim(worklist, item, uid)

    def _claim(self, worklist: Worklist, item: Dataset, uid: str) -> bool:
        """Write a claim down, and then make it; say whether the item is ours now."""
        code: Code | None = None
        reason: str | None = None
        try:
            job = job_of(item, self.terms.images)
        except JobRefused as refused:
            job, code, reason = {"work_item": uid}, refused.code, refused.reason
        claim = self.claims.keep(
            Claim(
                uid=uid,
                transaction_uid=str(generate_uid(None)),
                job=job,
                workitem=workitem_of(item),
                claimed_at=self.now(),
                code=code,
                reason=reason,
            )
        )
        return self._ask(worklist, claim)

    def _ask(self, worklist: Worklist, claim: Claim, *, again: bool = False) -> bool:
        """Ask for an item; say whether it is ours now.

        Where we may have asked ``again``, before this process was ended, an item in progress may be ours: only who has
        its Transaction UID can say anything of it.
        """
        try:
            answer = worklist.change(claim.uid, claim.transaction_uid, StepState.IN_PROGRESS)
        except StudyRefused as refused:
            logger.warning("a work item was not to be had: %s", refused.code)
            self._left.add(claim.uid)
            self.claims.drop(claim)
            return False
        if answer is Answer.DONE or (answer is Answer.IN_PROGRESS and again):
            answer = self._tell(worklist, claim, CLAIMED)
        if answer in (Answer.NOT_OURS, Answer.IN_PROGRESS, Answer.ENDED, Answer.UNKNOWN):
            logger.info("a work item is not ours: %s", answer.value)
            self.claims.drop(claim)
            return False
        self.claims.keep(claim.now(State.HELD))
        logger.info("work item %s is ours", claim.name)
        return True

    # --- hand in

    def _hand_in(self, claim: Claim) -> bool:
        """Put a claim's study on record, or why it cannot be; say whether that is done."""
        if claim.code is not None:
            self._refuse(claim, JobRefused(claim.code, claim.reason))
            return True
        try:
            whole = self.fetcher.whole(parse_pushed(claim.job))
            self.intake.accept(whole, SOURCE)
        except Unavailable as away:
            failures = self._put_off.get(claim.uid, (0, 0.0))[0] + 1
            wait_s = backoff_s(failures, self.terms.retry_wait_s, LONGEST_WAIT_S)
            self._put_off[claim.uid] = failures, time.monotonic() + wait_s
            logger.warning("work item %s: its study cannot be fetched for now: %s", claim.name, away.code)
            return False
        except (JobRefused, StudyRefused, LesionRefused) as refused:
            self._refuse(claim, refused)
        except AWAY:
            raise
        except Exception as error:
            logger.error("a defect of this software", exc_info=error)
            self._refuse(claim, JobRefused(Code.INTERNAL_ERROR))
        else:
            uid = whole.study_instance_uid
            self.claims.keep(claim.now(State.RECORDED, study_instance_uid=uid))
            logger.info("the study of work item %s is on record", claim.name)
        self._put_off.pop(claim.uid, None)
        return True

    def _refuse(self, claim: Claim, refused: DlrError) -> None:
        self.intake.refuse(claim.job, refused, SOURCE)
        self.claims.keep(claim.now(State.RECORDED, code=refused.code, reason=refused.reason))
        self.refused(refused.code)
        logger.warning("work item %s was refused: %s", claim.name, refused.code)

    def _is_due(self, claim: Claim) -> bool:
        return time.monotonic() >= self._put_off.get(claim.uid, (0, 0.0))[1]

    # --- end

    def _end(self, worklist: Worklist, claim: Claim) -> None:
        with self.sessions() as session:
            outcome = outcome_of(session, claim, self.terms.reports)
        if outcome is not None:
            self._finish(worklist, claim, outcome)
        elif claim.state is State.RECORDED:
            self._tell(worklist, claim, AT_WORK)
            self.claims.keep(claim.now(State.WAITING))

    def _finish(self, worklist: Worklist, claim: Claim, outcome: Outcome) -> None:
        """Say what came of an item, and end it: what the manager does not take is canceled, or else given up."""
        state = StepState.CANCELED if isinstance(outcome, Canceled) else StepState.COMPLETED
        said = ending(claim, outcome, self.terms.station, self.now())
        try:
            answer = worklist.update(claim.uid, claim.transaction_uid, said)
            if answer is Answer.DONE:
                answer = worklist.change(claim.uid, claim.transaction_uid, state)
        except StudyRefused as refused:
            logger.warning("work item %s cannot be %s: %s", claim.name, state.lower(), refused.code)
            if isinstance(outcome, Canceled):
                self.claims.keep(claim.now(State.GIVEN_UP, code=refused.code, reason=refused.reason))
            else:
                self._finish(worklist, claim, Canceled(refused.code))
            return
        done = state.lower() if answer is Answer.DONE else f"let go: {answer.value}"
        logger.info("work item %s is %s", claim.name, done)
        self.claims.drop(claim)

    def _tell(self, worklist: Worklist, claim: Claim, step: tuple[int, str]) -> Answer:
        """Say how far the work is. Where the manager refuses that, nothing changes: the end shows whose the item is."""
        try:
            return worklist.update(claim.uid, claim.transaction_uid, progress(step))
        except StudyRefused as refused:
            logger.info("the progress of a work item was not taken: %s", refused.code)
            return Answer.DONE
