"""``dlr metrics``: the exporter that Prometheus scrapes."""

import os
import signal
from threading import Event

from worker.cli.output import stderr
from worker.settings import get_settings


def metrics() -> None:
    """Export metrics of PostgreSQL, Redis and the workers for Prometheus, until SIGTERM or Ctrl-C.

    They are read at each scrape, and only counts are kept. The database is read at DLR_READER_URL.
    """
    from worker.extras import require_extra
    from worker.logs import configure_logging

    require_extra("metrics", "`dlr metrics`")
    from worker.exporter.exporter import exporter_of
    from worker.telemetry.metrics_server import serve

    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    port = serve(exporter_of(settings), settings.metrics_address, settings.exporter_port)
    stderr.print(f"metrics at http://{settings.metrics_address}:{port}/metrics", markup=False, highlight=False)
    stopped.wait()
    # A question that still hangs at a server is not waited for.
    os._exit(os.EX_OK)
