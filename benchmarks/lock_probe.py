"""Somebody who reads and somebody who writes all the time: how long each had to wait at most."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg2

PAUSE_S = 0.002
READS = "SELECT id FROM study LIMIT 1"
WRITES = "UPDATE study SET updated_at = updated_at WHERE id = (SELECT id FROM study LIMIT 1)"


@dataclass(slots=True)
class Waited:
    """Longest waits in seconds."""

    reader: float = 0.0
    writer: float = 0.0

    @property
    def longest(self) -> float:
        return max(self.reader, self.writer)


@contextmanager
def probing(url: str) -> Iterator[Waited]:
    """Read and write ``study`` while it lasts, each on a connection of its own; what they waited is known afterwards.

    Args:
        url: as a user who may do both.
    """
    waited, stop = Waited(), threading.Event()

    def ask(statement: str, name: str) -> None:
        connection = psycopg2.connect(url)
        connection.autocommit = True
        with connection.cursor() as cursor:
            while not stop.is_set():
                began = time.perf_counter()
                cursor.execute(statement)
                setattr(waited, name, max(getattr(waited, name), time.perf_counter() - began))
                time.sleep(PAUSE_S)
        connection.close()

    threads = [threading.Thread(target=ask, args=pair) for pair in ((READS, "reader"), (WRITES, "writer"))]
    for thread in threads:
        thread.start()
    try:
        yield waited
    finally:
        stop.set()
        for thread in threads:
            thread.join()
