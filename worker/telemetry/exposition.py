"""A worker's measures as Prometheus reads them: counted in memory, and served over HTTP by a thread of its own."""

from itertools import product

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, disable_created_metrics

from db.schema.vocabulary import ENDED_STATES
from worker.clinical.categories import Outcome, Priority
from worker.errors import Code
from worker.telemetry import metric_catalog
from worker.telemetry.measures import Measures
from worker.telemetry.metric_catalog import Metric


class PrometheusMeasures(Measures):
    """Counts into a registry of its own. For any number of threads; a count is one short lock, held by no one else."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._batch = self._histogram(metric_catalog.BATCH_SIZE)
        self._device = self._histogram(metric_catalog.DEVICE_TIME)
        self._decode = self._histogram(metric_catalog.DECODE_TIME)
        self._ended = self._counter(metric_catalog.STUDIES_ENDED)
        self._study = self._histogram(metric_catalog.STUDY_TIME)
        self._scored = self._counter(metric_catalog.LESIONS_SCORED)
        self._failed = self._counter(metric_catalog.LESIONS_FAILED)
        self._refused = self._counter(metric_catalog.REFUSED)
        self._attempts = self._counter(metric_catalog.ATTEMPTS_FAILED)
        # There from the start, at 0: Prometheus sees no increase in a series that begins at 1.
        for reason in ("defect", "away"):
            self._attempts.labels(reason)
        for code in Code:
            self._failed.labels(code.value)
            self._refused.labels(code.value)
        for outcome in Outcome:
            self._scored.labels(outcome.value)
        for priority, state in product(Priority, ENDED_STATES):
            self._ended.labels(state.value, priority.value)

    def batch(self, lesions: int, seconds: float) -> None:  # noqa: D102  as in Measures
        self._batch.observe(lesions)
        self._device.observe(seconds)

    def decoded(self, seconds: float, *, refused: bool) -> None:  # noqa: D102
        self._decode.labels("refused" if refused else "ok").observe(seconds)

    def ended(self, state: str, priority: Priority, seconds: float) -> None:  # noqa: D102
        self._ended.labels(state, priority.value).inc()
        self._study.labels(priority.value).observe(seconds)

    def scored(self, outcome: Outcome) -> None:  # noqa: D102
        self._scored.labels(outcome.value).inc()

    def failed(self, code: Code) -> None:  # noqa: D102
        self._failed.labels(code.value).inc()

    def refused(self, code: Code) -> None:  # noqa: D102
        self._refused.labels(code.value).inc()

    def attempt_failed(self, reason: str) -> None:  # noqa: D102
        self._attempts.labels(reason).inc()

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets)
