"""The exporter: asks PostgreSQL, Redis and the workers when Prometheus scrapes it, and never waits for long."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from itertools import groupby

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from db.session import make_engine, session_factory
from worker.broker.connections import connect
from worker.broker.reconciler import RedisQueues
from worker.exporter import collectors
from worker.exporter.collectors import Sample
from worker.outages.retry import kind_of
from worker.settings import Settings
from worker.telemetry import metric_catalog

logger = logging.getLogger(__name__)

SCRAPE_S = 7.0
"""How long a scrape may take, in seconds, Prometheus's own limit being 10. What has not answered by then is down."""

TOTALS_KEPT_S = 60.0
"""How long counts of the whole ledger are kept, in seconds, before they are counted anew."""

DRIFT_KEPT_S = 300.0
"""The same for drift."""


@dataclass
class Question:
    """One question, asked by one thread at a time: what hangs is not asked again until it has ended.

    Attributes:
        component: its name in ``dlr_component_up``.
        ask: raises what it likes where nobody answers.
        kept_s: an answer is as good as new for so long, in seconds, and shown for twice as long.
    """

    component: str
    ask: Callable[[], Sequence[Sample]]
    kept_s: float = 0.0
    _asked: "Future[Sequence[Sample]] | None" = None
    _answer: Sequence[Sample] | None = None
    _answered: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, pool: ThreadPoolExecutor) -> "Future[Sequence[Sample]] | None":
        """Ask, unless the last answer is new enough; return what to wait for, which another scrape may have asked."""
        with self._lock:
            if self._asked is None and time.monotonic() - self._answered >= self.kept_s:
                self._asked = pool.submit(self.ask)
            return self._asked

    def end(self, began: float) -> Sequence[Sample] | None:
        """Return the latest answer; ``None`` where it came before ``began`` (monotonic) and is not kept for so long."""
        with self._lock:
            if self._asked is not None and self._asked.done():
                asked, self._asked = self._asked, None
                error = asked.exception()
                if error is None:
                    self._answer, self._answered = asked.result(), time.monotonic()
                else:
                    logger.warning("%s: no answer, %s", self.component, kind_of(error))
            is_new = self._answered >= began or time.monotonic() - self._answered < 2 * self.kept_s
            return self._answer if is_new else None


class Exporter(Collector):
    """Asks all questions at once, at each scrape. Scrapes at the same time share the questions.

    Args:
        questions: what is asked.
        scrape_s: how long a scrape may take, in seconds.
    """

    def __init__(self, questions: Sequence[Question], scrape_s: float = SCRAPE_S) -> None:
        self._questions = questions
        self._scrape_s = scrape_s
        self._pool = ThreadPoolExecutor(len(questions), "question")

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Ask, wait for as long as a scrape may take, and give what was answered."""
        began = time.monotonic()
        wait(
            [asked for question in self._questions if (asked := question.begin(self._pool)) is not None], self._scrape_s
        )
        answers = {question.component: question.end(began) for question in self._questions}
        samples = [sample for answer in answers.values() for sample in answer or ()]
        samples += [Sample(metric_catalog.UP, (name,), answer is not None) for name, answer in answers.items()]
        return _families(samples)


def _families(samples: Sequence[Sample]) -> Iterator[GaugeMetricFamily]:
    for metric, same in groupby(sorted(samples, key=lambda one: one.metric.name), key=lambda one: one.metric):
        family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for sample in same:
            family.add_metric(sample.labels, sample.value)
        yield family


def exporter_of(settings: Settings) -> CollectorRegistry:
    """Make the exporter of an installation. Nothing is asked yet."""
    sessions = session_factory(make_engine(settings.require_reader_url(), role=None))
    client = connect(settings.require_redis_url())
    messages = RedisQueues(client, settings.redis_key_prefix)
    window = timedelta(days=settings.drift_days)
    registry = CollectorRegistry()
    registry.register(
        Exporter(
            [
                Question("postgresql", partial(collectors.ledger, sessions)),
                Question("totals", partial(collectors.ended_studies, sessions), TOTALS_KEPT_S),
                Question("drift", partial(collectors.drifts, sessions, window), DRIFT_KEPT_S),
                Question("redis", partial(collectors.messages, messages)),
                Question("workers", collectors.workers),
            ]
        )
    )
    return registry
