"""What the queue costs: the whole service against plain Celery, on the same Redis, with every guarantee on."""

import json
import signal
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

import psycopg2
from redis import Redis

from benchmarks import celery_peer
from benchmarks.celery_peer import Peer
from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.studies import ROIS, MadeStudy
from benchmarks.measuring import Figure, Ratio, Say, in_turns
from benchmarks.simulated_gpu import BATCH, N_MAX
from benchmarks.task_of_20_ms import AT_ONCE
from db.session import make_engine, session_factory
from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import INFER_STUDY
from worker.contract import parse_job
from worker.intake.accept_study import Intake
from worker.study import Roi

OURS, PEER = "inference", "celery"
ENDED = "state IN ('done', 'partial', 'failed')"
_LOOK_S = 0.05
_PATIENCE_S = 300


def one_by_one(say: Say, *, quick: bool) -> Figure:
    """Lesions a second, in batches across studies, against a task a lesion; 64 lesions in flight, two a study."""
    ours, peers = (300, 120) if quick else (1200, 400)
    at_hand = N_MAX // len(ROIS)
    with _both(say, "benchmarks.simulated_gpu", at_hand, ("solo", 1), {BATCH: str(N_MAX)}) as (service, peer):
        ratio = _compared(service, peer, celery_peer.LESION, (ours, peers), ROIS, 2 if quick else 5)
        alone = emptied(service, [OURS], service.studies.make(ours, rois=ROIS[:1]))
    return Figure(
        "one-by-one",
        f"lesions/s, {at_hand} studies of two lesions in flight / plain Celery, solo, a task a lesion, early ack; "
        f"simulated device of T(n) = 19 + n ms",
        ratio.median,
        ratio.spread,
        ratio.median >= 8,
        f"{statistics.median(ratio.ours):.0f} lesions/s: decoded, scored, committed, acknowledged late; "
        f"{alone:.0f} from studies of one lesion",
        f"{statistics.median(ratio.peers):.0f} lesions/s: the device alone",
    )


def queue_overhead(say: Say, *, quick: bool) -> Figure:
    """Tasks of 20 ms a second, 8 at once: with late acknowledgement, ledger and reconciler, against bare ones."""
    return _of_20_ms(say, "queue", N_MAX, 0.85, 800 if quick else 2400, 2 if quick else 5)


def queue_without_spare(say: Say, *, quick: bool) -> Figure:
    """The same with no more tasks at hand than are at work at once."""
    return _of_20_ms(say, "queue-8", AT_ONCE, 0.7, 400 if quick else 1600, 2 if quick else 5)


def _of_20_ms(say: Say, name: str, at_hand: int, goal: float, count: int, rounds: int) -> Figure:
    with _both(say, "benchmarks.task_of_20_ms", at_hand, ("threads", AT_ONCE), {}) as (service, peer):
        ratio = _compared(service, peer, celery_peer.TASK_OF_20_MS, (count, count), ROIS[:1], rounds)
    return Figure(
        name,
        f"tasks/s of 20 ms, {AT_ONCE} at work at once: acks late, ledger, reconciler, {at_hand} at hand / "
        f"bare Celery, {AT_ONCE} threads, early ack",
        ratio.median,
        ratio.spread,
        ratio.median >= goal,
        f"{statistics.median(ratio.ours):.0f} tasks/s",
        f"{statistics.median(ratio.peers):.0f} tasks/s",
    )


@contextmanager
def _both(
    say: Say, module: str, concurrency: int, pool: tuple[str, int], environment: Mapping[str, str]
) -> Iterator[tuple[FaultService, Peer]]:
    """Run our worker and the peer's beside each other, on one Redis, both frozen."""
    with fault_service(say) as service:
        say("starts both workers")
        peer = Peer(service.redis.url(), service.services.home.path / "done")
        start_inference(service, OURS, module, concurrency, environment)
        service.start_module(PEER, *celery_peer.command(*pool), **peer.environment)
        yield service, peer


def start_inference(
    service: FaultService, name: str, module: str, concurrency: int, environment: Mapping[str, str]
) -> None:
    """Start a worker on the queue ``inference``, by the module that gives it its device."""
    service.start_module(name, module, "--name", name, "--concurrency", str(concurrency), **environment)


def _compared(
    service: FaultService, peer: Peer, task: str, counts: tuple[int, int], rois: Sequence[Roi], rounds: int
) -> Ratio:
    ours, peers = counts

    def our_turn(count: int = ours) -> float:
        return emptied(service, [OURS], service.studies.make(count, rois=rois))

    def peers_turn(count: int = peers) -> float:
        before = peer.done
        return _turn(service, [PEER], lambda: peer.push(task, count), lambda: peer.done - before, count)

    our_turn(count=64), peers_turn(count=64)
    ratio = in_turns(our_turn, peers_turn, rounds)
    service.say(
        f"ours {[round(rate) for rate in ratio.ours]}, peer's {[round(rate) for rate in ratio.peers]}, a second"
    )
    return ratio


def emptied(service: FaultService, workers: Sequence[str], studies: Sequence[MadeStudy]) -> float:
    """Put studies on the queue ``inference``, thaw workers, and return how many lesions a second they finish."""
    with counting(service, "is_current AND state IN ('queued', 'running')") as left:
        rate = _turn(service, workers, lambda: queue(service, studies), lambda: len(studies) - left(), len(studies))
    return rate * len(studies[0].job["lesions"])


def queue(service: FaultService, studies: Sequence[MadeStudy]) -> None:
    """Write studies into the ledger and put their messages on the queue, as `dlr submit` does."""
    settings = service.services.settings
    engine = make_engine(settings.require_database_url())
    intake = Intake(session_factory(engine), settings.storage_root, lambda *_: None)
    ids = [intake.accept(parse_job(study.job), "benchmark").study_id for study in studies]
    engine.dispose()
    messages = [envelope(TaskMessage(INFER_STUDY, study_id, [str(study_id)], {}), "inference") for study_id in ids]
    with Redis.from_url(service.redis.url()) as client:
        client.lpush("inference", *map(json.dumps, messages))


@contextmanager
def counting(service: FaultService, which: str = ENDED) -> Iterator[Callable[[], int]]:
    """Give a function that counts studies, those that have ended unless told, on one connection.

    What is counted often is best counted by the partial index of those that are left: it shrinks, and costs nothing.
    """
    with closing(psycopg2.connect(service.postgres.url("postgres"))) as connection:
        connection.autocommit = True

        def count() -> int:
            with connection.cursor() as cursor:
                cursor.execute(f"SELECT count(*) FROM study WHERE {which}")
                return int(cursor.fetchone()[0])

        yield count


def _turn(
    service: FaultService, workers: Sequence[str], push: Callable[[], None], done: Callable[[], int], count: int
) -> float:
    """Freeze all workers, fill the queue, thaw these, and return how many things a second they do."""
    with service.frozen():
        push()
        service.signal_workers(signal.SIGCONT, workers)
        started = time.monotonic()
        service.until(lambda: done() >= count, _PATIENCE_S, "the end of the queue", _LOOK_S)
        return count / (time.monotonic() - started)
