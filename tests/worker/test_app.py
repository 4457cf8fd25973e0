"""What holds of the Celery application in each worker."""

import threading
from concurrent.futures import ThreadPoolExecutor

from celery.signals import worker_init

from worker.app import app


def test_the_threads_of_a_worker_share_the_backend_that_was_looked_up_at_its_start() -> None:
    worker_init.send(sender=None)
    at_once = threading.Barrier(8)

    def seen() -> int:
        at_once.wait()
        return id(app.backend)

    with ThreadPoolExecutor(8) as pool:
        assert {future.result() for future in [pool.submit(seen) for _ in range(8)]} == {id(app.backend)}
