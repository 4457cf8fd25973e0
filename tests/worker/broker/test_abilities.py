"""A Redis that leaves commands out or denies them, as managed ones do: told by name, refused where it must be."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.faults.refusals import Refusing, refusing_redis
from tests.command_line import dlr, dlr_process
from tests.waiting import until
from worker.broker.abilities import Abilities, abilities_of
from worker.network.port import free_port
from worker.services.embedded_redis import embedded_binary

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Refusing]:
    with refusing_redis(tmp_path_factory.mktemp("redis") / "home") as refusing:
        yield refusing


@contextmanager
def managed(folder: Path, *arguments: str) -> Iterator[str]:
    """A server that is set up otherwise; give its URL."""
    port = free_port(folder / "port")
    command = [embedded_binary(), "--port", str(port), "--dir", folder, "--appendonly", "yes", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port))
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return bool(Redis(port=port, retry=None).ping())
    except RedisError:
        return False


def redis_row(url: str) -> tuple[str, str]:
    rows = json.loads(dlr("doctor", "--format", "json", DLR_REDIS_URL=url).stdout)
    return next((row["health"], row["detail"]) for row in rows if row["component"] == "Redis")


def test_the_redis_of_dlr_up_lacks_nothing(server: Refusing) -> None:
    with Redis.from_url(server.server.url()) as client:
        assert abilities_of(client) == Abilities([], [])


@pytest.mark.parametrize("rules", [["-@scripting"], ["-evalsha"], ["-script"]])
def test_without_scripts_no_worker_starts_and_doctor_says_why(server: Refusing, rules: list[str]) -> None:
    with server.user(*rules):
        health, said = redis_row(server.server.url())
        started = dlr_process("worker", "--queue", "intake", DLR_REDIS_URL=server.server.url())
    assert health == "down"
    assert "denies this user EVALSHA and SCRIPT" in said
    assert "cannot take messages" in said
    assert started.returncode == 1
    assert "error: setting_invalid: Redis denies this user EVALSHA and SCRIPT" in started.stderr


def test_without_bgrewriteaof_the_workers_run_and_what_stays_on_its_disk_is_told(server: Refusing) -> None:
    with server.user("-bgrewriteaof"):
        health, said = redis_row(server.server.url())
    assert health == "warning"
    assert "denies this user BGREWRITEAOF" in said
    assert "identifiers of pushed jobs stay" in said


@pytest.mark.parametrize(
    ("command", "health"), [("bgrewriteaof", "warning"), ("evalsha", "down"), ("script", "down"), ("config", "ok")]
)
def test_a_command_that_the_server_does_not_have_is_found_as_well(command: str, health: str, tmp_path: Path) -> None:
    with managed(tmp_path, "--appendfsync", "always", "--rename-command", command, "") as url:
        found, said = redis_row(url)
    assert found == health
    assert (command.upper() in said) == (health != "ok")


def test_asking_does_nothing(server: Refusing) -> None:
    with Redis.from_url(server.server.url()) as client, server.client() as administrator:
        keys = administrator.keys()
        before = administrator.info("persistence")["aof_rewrites"]
        loaded = administrator.info("memory")["number_of_cached_scripts"]
        for _ in range(3):
            abilities_of(client)
        assert administrator.info("persistence")["aof_rewrites"] == before
        assert administrator.info("memory")["number_of_cached_scripts"] == loaded
        assert administrator.keys() == keys


def test_a_cluster_is_refused_by_its_name(tmp_path: Path) -> None:
    bus = str(free_port(tmp_path / "bus"))  # by default 10,000 above the other, where there may be none
    with managed(tmp_path, "--appendfsync", "always", "--cluster-enabled", "yes", "--cluster-port", bus) as url:
        health, said = redis_row(url)
        started = dlr_process("worker", "--queue", "intake", DLR_REDIS_URL=url)
    assert (health, "is a cluster (cluster_enabled)" in said) == ("down", True)
    assert started.returncode == 1
    assert "error: setting_invalid: Redis is a cluster (cluster_enabled)" in started.stderr
    assert "between several keys" in started.stderr
