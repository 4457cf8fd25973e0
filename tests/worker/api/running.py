"""The interface at a real port, in a thread of the test's own process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from tests.waiting import until
from worker.api.application import make_application
from worker.api.service import Service


@contextmanager
def served(service: Service) -> Iterator[str]:
    """Serve until the context ends; give the address."""
    config = uvicorn.Config(make_application(service), port=0, log_config=None, access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
