"""Traces: which spans there are, under which, and what they hold. And what happens without a collector."""

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.waiting import patience
from worker.errors import Code, StudyRefused
from worker.runtime import tracing
from worker.telemetry.otlp import OtlpTracing
from worker.telemetry.traces import Tracing

SECRET = "Doe^Jane"
SENDER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


class Kept(OtlpTracing):
    """As in service, with the spans kept in memory."""

    def __init__(self) -> None:
        self.memory = InMemorySpanExporter()
        super().__init__(self.memory)

    def spans(self) -> dict[str, ReadableSpan]:
        self.provider.force_flush()
        return {span.name: span for span in self.memory.get_finished_spans()}


@pytest.fixture
def traced() -> Iterator[Kept]:
    made = Kept()
    yield made
    made.provider.shutdown()


def test_a_trace_goes_on_in_another_process_by_its_traceparent(traced: Kept) -> None:
    with traced.span("intake", parent=SENDER, source="queue"):
        kept = traced.traceparent()
    assert traced.traceparent() is None
    with traced.span("study", parent=kept), traced.span("decode"):
        pass
    intake, study, decode = (traced.spans()[name] for name in ("intake", "study", "decode"))
    assert {format(span.context.trace_id, "032x") for span in (intake, study, decode)} == {SENDER.split("-")[1]}
    assert format(intake.parent.span_id, "016x") == SENDER.split("-")[2]
    assert study.parent.span_id == intake.context.span_id
    assert decode.parent.span_id == study.context.span_id
    assert dict(intake.attributes or {}) == {"dlr.source": "queue"}


def test_a_step_without_a_parent_begins_a_trace(traced: Kept) -> None:
    with traced.span("one"):
        pass
    with traced.span("other"):
        pass
    one, other = traced.spans().values()
    assert one.context.trace_id != other.context.trace_id
    assert one.parent is None


def test_a_sender_that_keeps_no_trace_gets_none(traced: Kept) -> None:
    unsampled = SENDER[:-2] + "00"
    with traced.span("intake", parent=unsampled):
        kept = traced.traceparent()
    assert kept is not None
    assert kept.endswith("-00")
    assert traced.spans() == {}


def test_a_step_can_have_begun_before(traced: Kept) -> None:
    with traced.span("queue", since=timedelta(seconds=90)):
        pass
    queue = traced.spans()["queue"]
    assert (queue.end_time - queue.start_time) / 1e9 == pytest.approx(90, abs=5)


def test_a_step_that_fails_says_its_code_or_the_type_and_never_the_words(traced: Kept) -> None:
    with pytest.raises(ValueError, match="Jane"), traced.span("foreign"):
        raise ValueError(SECRET)
    with pytest.raises(StudyRefused), traced.span("ours"):
        raise StudyRefused(Code.PATIENT_MISMATCH, SECRET)
    foreign, ours = traced.spans()["foreign"], traced.spans()["ours"]
    assert dict(foreign.attributes or {}) == {"dlr.error": "ValueError"}
    assert dict(ours.attributes or {}) == {"dlr.error": "patient_mismatch"}
    for span in (foreign, ours):
        assert not span.status.is_ok
        assert SECRET not in span.to_json()
        assert span.events == ()


def test_without_an_address_nothing_is_traced_and_opentelemetry_is_not_imported() -> None:
    code = (
        "import sys; from worker.runtime import tracing\n"
        "with tracing().span('x', since=None) as span: span.note(study_id='1')\n"
        "assert tracing().traceparent() is None\n"
        "assert not any(name.startswith(('opentelemetry.exporter', 'prometheus_client')) for name in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert type(tracing.__wrapped__()) is Tracing  # type: ignore[attr-defined]


class Away(SpanExporter):
    """A collector that answers nobody until the test is over."""

    def __init__(self) -> None:
        self.asked, self.over = threading.Event(), threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.over.wait()
        raise ConnectionError(f"{len(spans)} spans of {SECRET}")


def test_a_collector_that_is_away_holds_no_study_up() -> None:
    made = OtlpTracing(collector := Away())
    try:
        for _ in range(5000):  # more than are kept for it: none of them may wait
            with made.span("study"):
                pass
        assert collector.asked.wait(patience(30))
        assert made.traceparent() is None
    finally:
        collector.over.set()
        made.provider.shutdown()
