"""Traces: what happened to a study, step by step, across processes. Without DLR_TRACES_URL none are made, at no cost.

A study's trace goes on in other processes by its W3C ``traceparent`` (https://www.w3.org/TR/trace-context/), which the
ledger keeps with the study: whoever takes the study up, and however often, adds to the same trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta


class Span:
    """A step that is under way."""

    def note(self, **attributes: str) -> None:
        """Add attributes: opaque ids and words of this software, and never what came with a study."""


class Tracing:
    """Makes no traces: what a process without DLR_TRACES_URL has. `worker.telemetry.otlp` makes them."""

    @contextmanager
    def span(
        self,
        name: str,
        *,
        parent: str | None = None,
        since: timedelta = timedelta(0),
        **attributes: str,
    ) -> Iterator[Span]:
        """Trace a step, which lasts as long as the context.

        Args:
            name: of the step.
            parent: a traceparent; ``None``: the span that is open on this thread, else the span begins a trace.
            since: how long ago the step began.
            attributes: as for `Span.note`.
        """
        del name, parent, since, attributes
        yield Span()

    def traceparent(self) -> str | None:
        """Return what lets another process go on under the span that is open on this thread."""
        return None
