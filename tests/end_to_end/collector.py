"""A collector of OpenTelemetry (OTLP over HTTP), as small as can be: it keeps the spans that it is sent."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class Received:
    """A span. Ids are hexadecimal; ``parent`` is empty where there is none; times are seconds since 1970."""

    trace: str
    span: str
    parent: str
    name: str
    attributes: dict[str, str]
    began: float
    ended: float


@dataclass
class Collector:
    url: str = ""
    spans: list[Received] = field(default_factory=list)
    text: str = ""

    def keep(self, body: bytes) -> None:
        request = ExportTraceServiceRequest.FromString(body)
        self.text += str(request)
        for one in (span for whole in request.resource_spans for scope in whole.scope_spans for span in scope.spans):
            attributes = {pair.key: pair.value.string_value for pair in one.attributes}
            began, ended = one.start_time_unix_nano / 1e9, one.end_time_unix_nano / 1e9
            ids = one.trace_id.hex(), one.span_id.hex(), one.parent_span_id.hex()
            self.spans.append(Received(*ids, one.name, attributes, began, ended))

    def of_trace(self, trace: str) -> dict[str, Received]:
        return {span.name: span for span in self.spans if span.trace == trace}


@contextmanager
def collecting() -> Iterator[Collector]:
    """Listen on this machine while the context lasts."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collector.keep(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    collector.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
