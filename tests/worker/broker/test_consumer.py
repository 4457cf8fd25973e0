"""A worker whose Redis goes away and comes back."""

import json
import os
import subprocess
import sys
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.waiting import patience, until
from worker.services.embedded_redis import EmbeddedRedis

CALLS = 5
"""After which Celery by itself would wait 8 s, four times as long as at first."""


def calls(log: str) -> list[datetime]:
    """When a worker found nobody, by its log."""
    lines = [json.loads(line) for line in log.splitlines() if "Cannot connect" in line]
    return [datetime.fromisoformat(line["time"]) for line in lines]


@pytest.mark.slow
def test_it_is_back_soon_after_redis_is_however_long_that_was_away(
    own_redis: EmbeddedRedis, database: Database, tmp_path: Path
) -> None:
    servers = {"DLR_REDIS_URL": own_redis.url(), "DLR_DATABASE_URL": database.writer_url}
    command = [sys.executable, "-m", "worker.cli.main", "worker", "--queue", "intake"]
    said = (tmp_path / "log").read_text
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, env={**os.environ, **servers}, stdout=log, stderr=log)
    try:
        until(lambda: " ready." in said(), 60, said=said)
        own_redis.stop()
        until(lambda: len(calls(said())) >= CALLS, said=said)
        own_redis.start()
        until(lambda: said().count("Connected to") == 2, said=said)
        waited = [later - earlier for earlier, later in pairwise(calls(said()))]
        assert waited[CALLS - 2] < 3 * waited[0]
    finally:
        worker.terminate()
        assert worker.wait(patience(30)) == 0
