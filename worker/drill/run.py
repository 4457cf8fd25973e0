"""The drill, fault by fault: phantoms are pushed as a hospital pushes, and each has to end once, with its scores."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.orm import Session, sessionmaker

from db.outages import DATABASE_AWAY
from db.reads.study_records import StudyDetail
from db.schema.vocabulary import Event, StudyState
from db.writes import ledger
from worker.app import app
from worker.broker.queues import QUEUE_OF_TASK, QUEUES, REDIS_PRIORITY, SUBMIT_STUDY
from worker.clinical.categories import Priority
from worker.drill.crew import Crew
from worker.drill.findings import Finding, count_ended, faults_of, on_record, scores_of
from worker.drill.phantoms import Phantoms
from worker.drill.servers import Primaries, cut_connections, is_connected, is_synchronous, primaries
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.settings import Settings

STUDIES = 12
"""Of each fault."""

TRIES = 5
"""How often so many are pushed, until one is seen at work."""

CUTS = 20
"""How often connections are cut, each time a quarter of a second after the last."""

START_S = 180.0
"""How long the drill's workers may take to start, and to score the first study, in seconds."""

END_S = 180.0
"""How long the studies of a fault may take to end, in seconds."""

PROMOTION_S = 600.0
"""How long an administrator has to promote a standby, in seconds."""

POLL_S = 0.25
_BEHIND_S = 5.0
"""For how long studies are pushed on after a promotion, in seconds."""

T = TypeVar("T")
Say = Callable[[str], object]


@dataclass
class Drill:
    """One drill.

    Attributes:
        settings: of the site.
        sessions: of ``dlr_writer``.
        crew: the drill's own workers.
        phantoms: the drill's studies.
        say: is told what goes on.
        expected: the scores of the first study.
    """

    settings: Settings
    sessions: sessionmaker[Session]
    crew: Crew
    phantoms: Phantoms
    say: Say
    expected: dict[str, float] = field(default_factory=dict)

    def faults(self, *, failover: bool) -> Iterator[Finding]:
        """Do one fault after the other. Where the first study does not end, no more is done."""
        first = self.a_study()
        yield first
        if not first.kept:
            return
        yield self.an_inference_worker_is_killed()
        yield self.an_intake_worker_is_killed()
        yield self.connections_are_cut()
        if failover:
            yield self.a_standby_is_promoted()

    def a_study(self) -> Finding:
        """Push a study, and take its scores as what the others have to have."""
        started = time.monotonic()
        jobs = self._push(1)
        self._until_ended(jobs, START_S)
        finding = self._finding(
            "a study", "intake, inference, storage and models", f"{time.monotonic() - started:.1f} s", jobs
        )
        if finding.kept:
            [[study]] = self._asked(lambda session: on_record(session, jobs))
            self.expected = scores_of(study)
        return finding

    def an_inference_worker_is_killed(self) -> Finding:
        """Kill it with a study at hand, which another one takes up once the lease has run out."""
        self._until_ready()
        jobs: list[dict[str, Any]] = []
        is_hit = False
        while not is_hit and len(jobs) < TRIES * STUDIES:  # a fast device may end them before one is seen at work
            more = self._push(STUDIES)
            jobs += more
            is_hit = self._is_seen_at_work(more)
        self.crew.kill("inference")
        killed = time.monotonic()
        self._until_ended(jobs, END_S)
        rests_on = f"leases in PostgreSQL (DLR_LEASE_S = {self.settings.lease_s:g})"
        figure = f"all ended {time.monotonic() - killed:.1f} s after kill -9"
        return self._finding("an inference worker killed", rests_on, figure, jobs, is_done=is_hit)

    def an_intake_worker_is_killed(self) -> Finding:
        """Freeze it while jobs come, and kill it: what it had taken and not recorded comes back by Redis alone."""
        is_ready = self._until_ready()
        jobs = self._push(STUDIES)
        self.crew.freeze("intake", frozen=True)
        jobs += self._push(STUDIES)
        self.crew.kill("intake")
        killed = time.monotonic()
        self._until_ended(jobs, END_S)
        figure = f"all ended {time.monotonic() - killed:.1f} s after kill -9"
        rests_on = "Redis, which gives back what is not acknowledged, and its append-only file"
        return self._finding("an intake worker killed", rests_on, figure, jobs, is_done=is_ready)

    def connections_are_cut(self) -> Finding:
        """End the sessions that the drill's workers have, again and again while they work."""
        self._until_ready()
        jobs = self._push(STUDIES)
        cut = 0
        for _ in range(CUTS):
            cut += self._asked(lambda session: cut_connections(session, self.crew.application))
            time.sleep(POLL_S)
        self._until_ended(jobs, END_S)
        rests_on = "transactions: a result is written whole, or not at all and again"
        figure = f"{cut} sessions ended by pg_terminate_backend"
        return self._finding("connections to PostgreSQL cut", rests_on, figure, jobs, is_done=cut > 0)

    def a_standby_is_promoted(self) -> Finding:
        """Push a study a second until another server answers, and push again what none of the two knows in the end."""
        before, is_synchronous_ = self._asked(lambda one: (primaries(one, self.settings), is_synchronous(one)))
        self.say(f"promote the standby of PostgreSQL, or let the Sentinels fail over, within {PROMOTION_S:.0f} s")
        jobs: list[dict[str, Any]] = []
        now = before
        deadline = time.monotonic() + PROMOTION_S
        while now == before and time.monotonic() < deadline:
            jobs += self._push(1)
            self.crew.keep_alive()
            now = self._primaries_within(1.0) or before
        promoted = time.monotonic()
        while time.monotonic() < promoted + _BEHIND_S:
            jobs += self._push(1)
            time.sleep(1.0)
        again = self._push_lost(jobs)
        self._until_ended(jobs, END_S)
        now = self._primaries_within(0) or now  # one may have failed over after the other
        which = ", ".join(
            name for name, one, other in (
                ("PostgreSQL", before.postgres, now.postgres), ("Redis", before.redis, now.redis)
            ) if one != other
        )  # fmt: skip
        figure = (
            f"{which}: all ended {time.monotonic() - promoted:.1f} s after; {again} jobs that the former primary alone "
            "had were pushed again" if which else f"nothing was promoted within {PROMOTION_S:.0f} s"
        )  # fmt: skip
        rests_on = (
            "a synchronous standby (synchronous_standby_names)" if is_synchronous_ else
            "the senders, who push again what an asynchronous standby had not received"
        )  # fmt: skip
        return self._finding("a standby promoted", rests_on, figure, jobs, is_done=bool(which))

    def clean_up(self) -> None:
        """Remove the drill's files, and the identifiers of its studies."""
        jobs = self.phantoms.jobs
        ids = [study.study_id for rows in self._asked(lambda one: on_record(one, jobs)) for study in rows]
        with suppress(*DATABASE_AWAY), self.sessions.begin() as session:
            ledger.purge_these(session, ids, {"by": "dlr doctor --drill"})
        self.phantoms.remove()

    def _push(self, count: int) -> list[dict[str, Any]]:
        jobs = self.phantoms.make(count)
        for job in jobs:
            self._send(job)
        return jobs

    def _push_lost(self, jobs: Sequence[dict[str, Any]]) -> int:
        """Push again what does not reach the ledger, as a sender does; say how many those were."""
        self._waited(lambda: all(self._found(jobs)), self.settings.lease_s + 15)
        gone = [job for job, rows in zip(jobs, self._found(jobs), strict=True) if not rows]
        for job in gone:
            self._send(job)
        return len(gone)

    def _send(self, job: dict[str, Any]) -> None:
        while True:
            try:
                app.send_task(
                    SUBMIT_STUDY,
                    kwargs={"job": job},
                    queue=QUEUE_OF_TASK[SUBMIT_STUDY],
                    priority=REDIS_PRIORITY[Priority.ROUTINE],
                    retry=False,
                )
            except REDIS_AWAY:
                time.sleep(POLL_S)
            else:
                return

    def _until_ready(self) -> bool:
        """Wait until both workers of the drill have started; the last fault may have killed one."""
        names = [self.crew.name_of(queue) for queue in QUEUES]
        return self._waited(lambda: self._asked(lambda one: all(is_connected(one, name) for name in names)), START_S)

    def _until_ended(self, jobs: Sequence[dict[str, Any]], seconds: float) -> None:
        def ended() -> bool:
            self.crew.keep_alive()
            return count_ended(self._found(jobs)) == len(jobs)

        self._waited(ended, seconds)

    def _is_seen_at_work(self, jobs: Sequence[dict[str, Any]]) -> bool:
        """Look until a study is at work in the drill's own worker, or all have ended."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            found = self._found(jobs)
            if any(self._is_at_work(study) for rows in found for study in rows):
                return True
            if count_ended(found) == len(jobs):
                return False
        return False

    def _is_at_work(self, study: StudyDetail) -> bool:
        claims = [event.detail.get("worker") for event in study.events if event.event == Event.CLAIMED]
        return study.state == StudyState.RUNNING and bool(claims) and self.crew.is_at_work(claims[-1])

    def _found(self, jobs: Sequence[dict[str, Any]]) -> list[list[StudyDetail]]:
        return self._asked(lambda session: on_record(session, jobs))

    def _primaries_within(self, seconds: float) -> Primaries | None:
        """Return who answers, ``seconds`` later; ``None`` while one of them does not."""
        time.sleep(seconds)
        try:
            with self.sessions() as session:
                return primaries(session, self.settings)
        except (*DATABASE_AWAY, *REDIS_AWAY):
            return None

    def _asked(self, question: Callable[[Session], T]) -> T:
        """Ask the ledger, and wait while it is away."""
        while True:
            try:
                with self.sessions.begin() as session:
                    return question(session)
            except DATABASE_AWAY:
                time.sleep(POLL_S)

    def _finding(
        self, check: str, rests_on: str, figure: str, jobs: Sequence[dict[str, Any]], *, is_done: bool = True
    ) -> Finding:
        found = self._found(jobs)
        lost = len(jobs) - count_ended(found)
        return Finding(check, rests_on, figure, len(jobs), lost, faults_of(found, self.expected), is_done)

    @staticmethod
    def _waited(condition: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not (is_so := condition()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return is_so


@contextmanager
def drill(settings: Settings, sessions: sessionmaker[Session], say: Say) -> Iterator[Drill]:
    """Start the drill's own workers, and leave nothing of it behind but purged rows and the workers' logs."""
    with Crew() as crew:
        say(f"the drill's workers start; their logs are in {crew.log}")
        made = Drill(settings, sessions, crew, Phantoms(settings.storage_root), say)
        try:
            yield made
        finally:
            made.clean_up()
