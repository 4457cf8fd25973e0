"""PgBouncer before a database, where it is installed."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.faults.pooler_process import PROGRAM, pooler

needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed (apt-get install pgbouncer)")


@contextmanager
def pooled(url: str, mode: str, size: int = 20, **more: object) -> Iterator[str]:
    """Run PgBouncer; give the URL of the same database behind it.

    Args:
        url: of the database.
        mode: its ``pool_mode``.
        size: sessions of PostgreSQL that it has to give.
        more: further settings.
    """
    with pooler(url, mode, size, **more) as started:
        yield started.url
