"""The running service that faults are done to: real servers, and workers whose processes this program holds."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import psycopg2
import psycopg2.extras
from celery import Celery
from redis.exceptions import RedisError

from benchmarks.faults.sentinel_set import SentinelSet
from benchmarks.faults.studies import MadeStudy, StudyMaker
from benchmarks.faults.waiting import wait_until
from benchmarks.measuring import Say
from worker.broker.connections import connect
from worker.broker.queues import QUEUES, REDIS_PRIORITY, SUBMIT_STUDY
from worker.broker.reconciler import RedisQueues
from worker.broker.redis_scripts import TAKEN
from worker.clinical.categories import Priority
from worker.services.embedded_redis import EmbeddedRedis
from worker.services.running_services import Services, running_services
from worker.settings import isolated

ROOT = Path(__file__).resolve().parents[2]
LOOK_S = 0.05
LOG_LINES = 300
TAKEN_FOR_S = 15
"""How long a job may be in nobody's hands but a dead worker's, in seconds: the lease, and the start of another."""
ENDED = ["done", "partial", "failed"]


class FaultService:
    """Servers in a home of their own, workers by name, and what a hospital does: push, look, wait."""

    def __init__(
        self, services: Services, environment: Mapping[str, str], say: Say, broker: SentinelSet | None = None
    ) -> None:
        if services.postgres is None or (services.redis is None and broker is None):
            sys.exit("faults are done to the embedded servers: unset DLR_DATABASE_URL and DLR_REDIS_URL")
        self.services = services
        self.postgres = services.postgres
        self._broker = broker
        self.say = say
        self.studies = StudyMaker(services.settings.storage_root)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.roots: dict[str, Path] = {}
        """Of workers that are another checkout's than this one's, by their names."""
        self.before: Callable[[str], Sequence[str]] = lambda _: ()
        """What stands before the command of a worker, by its name."""
        self._environment = {**services.environment, "PYTHONPATH": _found_from(ROOT), **environment}
        self._sender: Celery | None = None

    @property
    def redis(self) -> EmbeddedRedis:
        """The embedded Redis."""
        assert self.services.redis is not None
        return self.services.redis

    # --- workers

    def start_worker(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start ``intake...`` or ``inference...``, a process group of its own."""
        queue = "intake" if name.startswith("intake") else "inference"
        real, simulated = ["worker.cli.main", "worker", "--queue", "intake"], ["benchmarks.faults.simulated_device"]
        command = [sys.executable, "-m", *(real if queue == "intake" else simulated), "--name", name, *arguments]
        root = self.roots.get(name, ROOT)
        return self.start_program(name, command, self.environment(root), root)

    def environment(self, root: Path = ROOT) -> dict[str, str]:
        """Return what the programs of a checkout find the servers by."""
        return {**self._environment, "PYTHONPATH": _found_from(root)}

    def start_program(
        self, name: str, command: Sequence[str], environment: Mapping[str, str], root: Path = ROOT
    ) -> "subprocess.Popen[bytes]":
        """Start a program of a checkout beside the workers, its output in a log of its name."""
        with self.services.home.log_file(name).open("ab") as output:
            self.workers[name] = subprocess.Popen(
                [*self.before(name), *command],
                cwd=root,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self.workers[name]

    def start_module(self, name: str, module: str, *arguments: str, **environment: str) -> None:
        """Start a module of this checkout, which finds the servers, beside the workers."""
        self.start_program(name, [sys.executable, "-m", module, *arguments], {**self._environment, **environment})

    def run(self, *arguments: str) -> None:
        """Run Python with these arguments as a person would who finds the servers, to its end."""
        subprocess.run([sys.executable, *arguments], cwd=ROOT, env=self._environment, check=True, capture_output=True)

    def give_workers(self, **environment: str) -> None:
        """Let the workers that are started from now on have other settings."""
        self._environment |= environment

    def start_workers(self) -> None:
        """Start one worker of each queue."""
        for queue in QUEUES:
            self.start_worker(queue)

    def signal_workers(self, number: int, names: Iterable[str] | None = None) -> None:
        """Send a signal to the whole tree of workers; all of them if none is named."""
        for name in list(self.workers) if names is None else names:
            with suppress(ProcessLookupError):
                os.killpg(self.workers[name].pid, number)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze all workers while it lasts."""
        self.signal_workers(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal_workers(signal.SIGCONT)

    def kill_workers(self, names: Sequence[str] | None = None) -> None:
        """kill -9 whole trees, and wait until they are gone."""
        self.signal_workers(signal.SIGKILL, names)
        for name in list(self.workers) if names is None else names:
            self.workers.pop(name).wait()

    def keep_alive(self) -> int:
        """Start each worker again that has ended; say how many those were."""
        dead = [name for name, process in self.workers.items() if process.poll() is not None]
        for name in dead:
            self.start_worker(name)
        return len(dead)

    # --- a hospital

    def push(self, study: MadeStudy) -> None:
        """Push a job as a hospital's system would, and again until Redis has taken it."""
        self._send(
            SUBMIT_STUDY,
            kwargs={"job": study.job},
            queue="intake",
            priority=REDIS_PRIORITY[Priority(study.job["priority"])],
        )

    def push_lost(self, studies: Sequence[MadeStudy]) -> int:
        """Push again what neither the ledger nor Redis has, as a sender does after a Redis lost data; say how many."""
        self.until(lambda: self.intake_waits() == 0, 60, "the intake")
        with suppress(TimeoutError):
            self.until(lambda: len(self.recorded(studies)) == len(studies), TAKEN_FOR_S, "what the intake has at hand")
        known = self.recorded(studies)
        gone = [study for study in studies if study.uid not in known]
        for study in gone:
            self.push(study)
        return len(gone)

    def push_nonsense(self, number: int) -> None:
        """Push a job that has to be refused; no two numbers are alike."""
        self._send(SUBMIT_STUDY, kwargs={"job": {"schema_version": 1, "number": number}}, queue="intake")

    def _send(self, task: str, **options: Any) -> None:
        while True:
            try:
                self.sender().send_task(task, retry=False, **options)
            except Exception:  # noqa: BLE001  whatever Celery raises while Redis is away
                self.hang_up()
                time.sleep(0.2)
            else:
                return

    def sender(self) -> Celery:
        """Return the hospital's Celery, connected."""
        if self._sender is None:
            limits = {"socket_timeout": 5, "socket_connect_timeout": 5}
            own = {"broker_url": self.redis.url(), "broker_transport_options": limits} if self._broker is None else None
            self._sender = Celery(set_as_current=False)
            self._sender.conf.update(own or self._broker.celery())
        return self._sender

    def hang_up(self) -> None:
        """Forget the hospital's connection."""
        if self._sender is not None:
            with suppress(Exception):
                self._sender.close()
            self._sender = None

    def requeue_given_up(self, studies: Sequence[MadeStudy], seconds: float) -> set[str]:
        """Have the studies that were given up done again, as a person does, once all have ended; return their UIDs.

        One that was at work in the last fault is given up only when it is claimed anew.
        """
        self.until_ended(studies, seconds)
        code = "attempts_exhausted"
        failed = self.sql("SELECT study_instance_uid AS uid FROM failed_study WHERE error_code = %s", code)
        if failed:
            self.run("-m", "worker.cli.main", "failed", "requeue", "--code", code, "--yes")
        self.until_ended(studies, seconds)
        return {row["uid"] for row in failed}

    # --- looking

    def sql(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """Ask the database, as its superuser; wait while it is away."""
        while True:
            try:
                connection = psycopg2.connect(self.postgres.url("postgres"), connect_timeout=5)
                try:
                    with connection, connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
                        cursor.execute(statement, values)
                        return [dict(row) for row in cursor.fetchall()]
                finally:
                    connection.close()
            except psycopg2.OperationalError:
                time.sleep(0.2)

    def administer(self, statement: str) -> None:
        """Do what an administrator does from a database of his own."""
        with self.postgres.as_superuser() as cursor:
            cursor.execute(statement)

    def said_by(self, *command: str) -> str:
        """Run `dlr` as a person would, and return all that it says, whatever its exit status."""
        done = self.dlr(*command)
        return done.stdout + done.stderr

    def dlr(self, *command: str, root: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        """Run `dlr` of a checkout as a person would, to its end."""
        return subprocess.run(
            [sys.executable, "-m", "worker.cli.main", *command],
            cwd=root, env=self.environment(root), capture_output=True, text=True, check=False,
        )  # fmt: skip

    def count_refused(self) -> int:
        """Count the refused messages on record."""
        return int(self.sql("SELECT count(*) FROM failed_study WHERE error_code = 'job_invalid'")[0]["count"])

    def ended(self, studies: Sequence[MadeStudy]) -> int:
        """Count those that have ended."""
        statement = (
            "SELECT count(*) FROM study WHERE is_current AND state::text = ANY(%s) AND study_instance_uid = ANY(%s)"
        )
        return int(self.sql(statement, ENDED, [study.uid for study in studies])[0]["count"])

    def recorded(self, studies: Sequence[MadeStudy]) -> set[str]:
        """Return the UIDs of those that the ledger has."""
        uids = [study.uid for study in studies]
        rows = self.sql("SELECT study_instance_uid FROM study WHERE study_instance_uid = ANY(%s)", uids)
        return {row["study_instance_uid"] for row in rows}

    def until(self, found: Callable[[], Any], seconds: float, what: str, every_s: float = LOOK_S) -> float:
        """Wait until something is found, and say after how many seconds; too long is the end of the row."""
        return wait_until(found, seconds, lambda: f"{what}: not within {seconds:.0f} s", every_s)

    def until_ended(self, studies: Sequence[MadeStudy], seconds: float) -> float:
        """Wait until all have ended, whatever it takes to keep the workers alive; never raises for some that do not."""
        started = time.monotonic()
        told = started
        while (ended := self.ended(studies)) < len(studies) and time.monotonic() - started < seconds:
            self.keep_alive()
            if time.monotonic() - told > 10:
                told = time.monotonic()
                self.say(f"{ended} of {len(studies)} studies have ended")
            time.sleep(0.2)
        return time.monotonic() - started

    def intake_waits(self) -> int:
        """Count the jobs on the queue; -1 while Redis is away."""
        try:
            with connect(self.services.settings.require_redis_url()) as client:
                return RedisQueues(client, "").waiting()["intake"]
        except RedisError:
            return -1

    def waiting(self) -> int:
        """Count the messages in Redis: waiting, taken, and not acknowledged."""
        try:
            with connect(self.services.settings.require_redis_url()) as client:
                waiting = sum(RedisQueues(client, "").waiting().values())
                return waiting + client.hlen("unacked") + client.hlen(TAKEN)
        except RedisError:
            return -1


def _found_from(root: Path) -> str:
    """Return where Python looks: in a checkout first, and then where this process was told to."""
    return os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))


@contextmanager
def fault_service(say: Say, *, broker: SentinelSet | None = None, **environment: str) -> Iterator[FaultService]:
    """Run PostgreSQL and Redis in a folder that is gone afterwards; workers are started by name.

    Args:
        say: is told what goes on.
        broker: a Redis in place of the embedded one.
        environment: of the workers.
    """
    with (
        isolated(),
        mock.patch.dict(os.environ, {} if broker is None else broker.environment()),
        TemporaryDirectory(prefix="dlr-faults-") as folder,
        running_services(Path(folder), lambda _: None) as services,
    ):
        service = FaultService(services, environment, say, broker)
        try:
            yield service
        except (TimeoutError, AssertionError):
            for log in sorted((service.services.home.path / "logs").glob("*.log")):
                say(f"{log.name}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:]))
            raise
        finally:
            service.kill_workers()
            service.hang_up()
