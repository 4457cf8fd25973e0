"""Traces sent by OTLP over HTTP, in the background; a collector that is away costs spans and nothing else.

Celery's own instrumentation is not used: docs/decisions/0023-traces-go-through-the-ledger.md.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter as Exporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker import __version__
from worker.outages.retry import kind_of
from worker.telemetry.traces import Span, Tracing

SEND_S = 5
"""How long the collector may take to answer, in seconds."""

PREFIX = "dlr."
"""Before the name of each attribute."""

_CARRIER = TraceContextTextMapPropagator()


def otlp(url: str) -> Exporter:
    """Return what sends spans to a collector: ``http://host:4318``."""
    return OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=SEND_S)


class OtlpTracing(Tracing):
    """Makes spans, which a thread of its own hands to an exporter; what is left is sent when the process ends."""

    def __init__(self, exporter: Exporter) -> None:
        resource = Resource.create({"service.name": "dlr-worker", "service.version": __version__})
        self.provider = TracerProvider(resource=resource)
        self.provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self.provider.get_tracer("dlr")

    @contextmanager
    def span(  # noqa: D102  as in Tracing
        self, name: str, *, parent: str | None = None, since: timedelta = timedelta(0), **attributes: str
    ) -> Iterator[Span]:
        context = None if parent is None else _CARRIER.extract({"traceparent": parent})
        began = time.time_ns() - round(since.total_seconds() * 1e9)
        # Not the exception itself, whose text may quote a header.
        with self._tracer.start_as_current_span(
            name, context, start_time=began, record_exception=False, set_status_on_exception=False
        ) as span:
            ours = _Recorded(span)
            ours.note(**attributes)
            try:
                yield ours
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR)
                ours.note(error=kind_of(error))
                raise

    def traceparent(self) -> str | None:  # noqa: D102
        carrier: dict[str, str] = {}
        _CARRIER.inject(carrier)
        return carrier.get("traceparent")


class _Recorded(Span):
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def note(self, **attributes: str) -> None:
        self._span.set_attributes({f"{PREFIX}{name}": value for name, value in attributes.items()})
