"""A worker whose Redis goes away and comes back."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import Database
from worker.consumer import RECONNECT_S
from worker.services.redis import EmbeddedRedis

AWAY_S = 7.0
"""Celery by itself would call again after 2, 6 and 12 s."""


def until(log: Path, words: str, times: int) -> float:
    """Wait until the log has said it so often; say how long that took, in seconds."""
    started = time.monotonic()
    while log.read_text().count(words) < times:
        assert time.monotonic() < started + 60, log.read_text()
        time.sleep(0.02)
    return time.monotonic() - started


@pytest.mark.slow
def test_it_is_back_soon_after_redis_is_however_long_that_was_away(
    own_redis: EmbeddedRedis, database: Database, tmp_path: Path
) -> None:
    servers = {"DLR_REDIS_URL": own_redis.url(), "DLR_DATABASE_URL": database.writer_url}
    command = [sys.executable, "-m", "worker.cli.main", "worker", "--queue", "intake"]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, env={**os.environ, **servers}, stdout=log, stderr=log)
    try:
        until(tmp_path / "log", " ready.", 1)
        own_redis.stop()
        time.sleep(AWAY_S)
        own_redis.start()
        assert until(tmp_path / "log", "Connected to", 2) < 3 * RECONNECT_S
    finally:
        worker.terminate()
        assert worker.wait(30) == 0
