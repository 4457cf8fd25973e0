"""A Redis that forgets what it accepted: refused by a worker, and told by `dlr doctor` and `dlr health`."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis

from benchmarks.faults.refusals import Refusing, refusing_redis
from tests.command_line import dlr, dlr_process
from tests.conftest import Database
from tests.test_compose import PASSWORD, composed_redis
from tests.waiting import patience, until
from worker.broker.durability import Durability, durability_of
from worker.errors import SetupRefused
from worker.services.running_services import running_services

pytestmark = pytest.mark.slow

FORGETS = [
    ({"appendonly": "no"}, "appendonly is off"),
    ({"maxmemory-policy": "allkeys-lru"}, "maxmemory-policy is allkeys-lru"),
    ({"maxmemory-policy": "volatile-ttl"}, "maxmemory-policy is volatile-ttl"),
    ({"appendonly": "no", "save": "3600 1"}, "appendonly is off"),
]
"""How it is set up, and what is said of it."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    with refusing_redis(tmp_path_factory.mktemp("redis") / "home") as refusing:
        yield refusing


@contextmanager
def set_up(server: Refusing, configuration: Mapping[str, str]) -> Iterator[None]:
    with server.configured(configuration, {"maxmemory-policy": "noeviction", "appendonly": "yes", "save": ""}):
        yield


def test_the_redis_of_dlr_up_and_that_of_compose_keep_what_they_accept(server: Refusing, tmp_path: Path) -> None:
    with Redis.from_url(server.server.url()) as client:
        assert durability_of(client) == Durability([], [])
    with composed_redis(tmp_path) as port, Redis(port=port, username="dlr", password=PASSWORD) as client:
        assert durability_of(client) == Durability([], [])


@pytest.mark.parametrize(("configuration", "said"), FORGETS)
def test_a_redis_that_forgets_is_told_by_doctor_and_health_until_a_setting_accepts_it(
    server: Refusing, database: Database, configuration: Mapping[str, str], said: str
) -> None:
    servers = {"DLR_REDIS_URL": server.server.url(), "DLR_DATABASE_URL": database.writer_url}
    with set_up(server, configuration):
        refused = dlr("health", **servers)
        accepted = dlr("health", DLR_REDIS_MAY_FORGET="true", **servers)
        (row,) = [
            one for one in json.loads(dlr("doctor", "-f", "json", **servers).stdout) if one["component"] == "Redis"
        ]
    assert (refused.returncode, accepted.returncode) == (1, 0)
    assert said in refused.stderr
    assert said in accepted.stderr
    assert (row["health"], said in row["detail"]) == ("down", True)
    assert dlr("health", **servers).stderr == ""


@pytest.mark.parametrize(("configuration", "said"), FORGETS[:2])
def test_a_worker_refuses_a_redis_that_forgets(
    server: Refusing, database: Database, configuration: Mapping[str, str], said: str
) -> None:
    servers = {"DLR_REDIS_URL": server.server.url(), "DLR_DATABASE_URL": database.writer_url}
    with set_up(server, configuration):
        refused = dlr_process("worker", "--queue", "intake", **servers)
    assert refused.returncode == 1
    assert "error: setting_invalid: Redis may lose jobs" in refused.stderr
    assert said in refused.stderr
    assert "DLR_REDIS_MAY_FORGET" in refused.stderr


def test_dlr_up_refuses_it_before_it_starts_anything(
    server: Refusing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", server.server.url())
    with set_up(server, {"appendonly": "no"}), pytest.raises(SetupRefused) as refused, running_services(tmp_path):
        pass
    assert "appendonly is off" in refused.value.reason
    assert not (tmp_path / "postgres").exists()


def test_a_worker_runs_on_a_redis_that_forgets_where_the_site_accepts_that(
    server: Refusing, database: Database, tmp_path: Path
) -> None:
    servers = {"DLR_REDIS_URL": server.server.url(), "DLR_DATABASE_URL": database.writer_url}
    command = [sys.executable, "-m", "worker.cli.main", "worker", "--queue", "intake"]
    with set_up(server, {"appendonly": "no"}), (tmp_path / "log").open("wb") as log:
        environment = {**os.environ, **servers, "DLR_REDIS_MAY_FORGET": "true"}
        worker = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            until(lambda: " ready." in (tmp_path / "log").read_text(), said=(tmp_path / "log").read_text)
            assert "appendonly is off" in (tmp_path / "log").read_text()
        finally:
            worker.terminate()
            assert worker.wait(patience(30)) == 0


def test_where_the_user_may_not_ask_that_is_said_and_nothing_is_refused(server: Refusing) -> None:
    with server.user("-info"), Redis.from_url(server.server.url()) as client:
        found = durability_of(client)
    assert not found.forgets
    assert "cannot check whether it keeps accepted jobs" in found.risks[0]


@pytest.mark.parametrize(("syncs", "forgets"), [("no", True), ("everysec", False)])
def test_who_may_ask_is_told_how_often_the_file_reaches_the_disk(
    server: Refusing, syncs: str, *, forgets: bool
) -> None:
    with server.configured({"appendfsync": syncs}, {"appendfsync": "always"}), server.client() as client:
        found = durability_of(client)
    assert bool(found.forgets) is forgets
    assert f"appendfsync is {syncs}" in (found.forgets or found.risks)[0]
