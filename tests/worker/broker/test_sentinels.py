"""A Redis behind Sentinels: found, followed to its new primary by whoever is connected, with users, passwords and TLS.

Real servers and real Sentinels. That no study is lost meanwhile: `benchmarks.faults.sentinel`, run by `make faults`.
"""

import json
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.sentinel import MasterNotFoundError

from benchmarks.faults.sentinel_set import OF_SENTINELS, PASSWORD, SERVICE, SentinelSet, Tls, sentinel_set
from tests.command_line import dlr
from tests.conftest import Database
from tests.waiting import patience, until
from tests.worker.services.test_flower import KNOWN, answer, rows_of, running_flower
from worker.broker.connections import connect
from worker.broker.sentinels import LOOK_S, sentinels_of
from worker.network.port import free_port
from worker.outages.redis_answers import NO_PRIMARY, NO_SENTINEL, reason_of
from worker.settings import get_settings

pytestmark = pytest.mark.slow

DEBIANS = shutil.which("redis-server")
needs_redis = pytest.mark.skipif(DEBIANS is None, reason="redis-server is not installed (apt-get install redis-server)")


@pytest.fixture(scope="module")
def servers() -> Iterator[SentinelSet]:
    """Whole at the beginning of each test, if each makes it so again."""
    with sentinel_set() as made:
        yield made


@pytest.fixture
def url(servers: SentinelSet, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the settings of a site make of its URL."""
    for name, value in servers.environment().items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()
    return get_settings().require_redis_url()


def primary_of(servers: SentinelSet) -> int:
    found = servers.primary()
    assert found is not None
    return found


def test_a_client_writes_to_the_primary(servers: SentinelSet, url: str) -> None:
    with connect(url) as client:
        client.set("written", "1")
    with servers.client(primary_of(servers)) as primary:
        assert primary.get("written") == b"1"


def test_celerys_form_of_the_url_leads_to_the_same(
    servers: SentinelSet, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DLR_REDIS_URL", servers.url("sentinel"))
    get_settings.cache_clear()
    assert get_settings().require_redis_url() == url


def test_who_waits_for_the_answer_of_a_frozen_primary_is_cut_off_and_follows_the_next_one(
    servers: SentinelSet, url: str
) -> None:
    former = primary_of(servers)
    ended: list[float] = []

    def wait() -> None:
        with connect(url, timeout_s=None) as client, pytest.raises(RedisConnectionError):
            client.blpop(["dlr.nothing"], timeout=0)
        ended.append(time.monotonic())

    waiting = threading.Thread(target=wait)
    waiting.start()
    with servers.client(former) as client:
        until(lambda: client.info("clients")["blocked_clients"] == 1)
    servers.kill(former, signal.SIGSTOP)
    try:
        promoted = servers.until_promoted(former)
        since = time.monotonic()
        waiting.join(patience(10))
        assert ended
        assert ended[0] - since < patience(LOOK_S + 3)
        with connect(url) as client:
            until(lambda: _writes(client))
        with servers.client(promoted) as client:
            assert client.get("after") == b"1"
    finally:
        servers.kill(former, signal.SIGCONT)
        servers.until_whole()


def _writes(client: object) -> bool:
    try:
        client.set("after", "1")  # type: ignore[attr-defined]
    except RedisError:
        return False
    return True


def test_a_client_that_stays_is_cut_off_once_and_follows_a_primary_that_was_killed(
    servers: SentinelSet, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def cuts() -> int:
        return sum("made anew" in line for line in caplog.messages)

    with connect(url) as client:
        client.set("before", "1")
        former = primary_of(servers)
        servers.kill(former)
        try:
            promoted = servers.until_promoted(former)
            until(cuts)
            sentinels_of(url).watch.look()
            assert cuts() == 1
            until(lambda: _writes(client))
        finally:
            servers.start_node(former)
            servers.until_whole()
    with servers.client(promoted) as primary:
        assert primary.get("before") == primary.get("after") == b"1"


def test_a_sentinel_that_hangs_holds_nobody_up_for_long_and_is_asked_last(servers: SentinelSet, url: str) -> None:
    sentinels = sentinels_of(url)
    first = int(sentinels.sentinels[0].get_connection_kwargs()["port"])
    servers.kill(first, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert sentinels.discover_master(SERVICE) == ("127.0.0.1", primary_of(servers))
        assert time.monotonic() - started < patience(3)
        assert int(sentinels.sentinels[-1].get_connection_kwargs()["port"]) == first
    finally:
        servers.kill(first, signal.SIGCONT)
    until(lambda: servers.primary() is not None)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("/dlr/", "/nobody/"), f"has no primary: {NO_PRIMARY}"),
        ((OF_SENTINELS, "wrong"), f"has no primary: {NO_SENTINEL}"),
        ((PASSWORD, "wrong"), "refuses the user or the password"),
    ],
)
def test_what_is_wrong_is_told(url: str, change: tuple[str, str], reason: str) -> None:
    with (
        connect(url.replace(*change)) as client,
        pytest.raises((MasterNotFoundError, ResponseError, RedisError)) as failed,
    ):
        client.ping()
    assert reason in reason_of(failed.value)


def test_without_any_sentinel_that_is_told(url: str, tmp_path: Path) -> None:
    nobody = f"redis+sentinel://[127.0.0.1:{free_port(tmp_path / 'port')}]/dlr/0"
    with connect(nobody) as client, pytest.raises(MasterNotFoundError) as failed:
        client.ping()
    assert NO_SENTINEL in reason_of(failed.value)


def redis_row(servers: SentinelSet, database: Database) -> tuple[str, str]:
    done = dlr("doctor", "--format", "json", DLR_DATABASE_URL=database.writer_url, **servers.environment())
    return next((row["health"], row["detail"]) for row in json.loads(done.stdout) if row["component"] == "Redis")


def test_doctor_looks_behind_the_sentinels_for_replicas(servers: SentinelSet, database: Database) -> None:
    assert redis_row(servers, database) == ("ok", "answers")
    primary = primary_of(servers)
    with servers.client(primary) as client:
        client.config_set("min-replicas-to-write", 0)
    try:
        health, said = redis_row(servers, database)
    finally:
        with servers.client(primary) as client:
            client.config_set("min-replicas-to-write", 1)
    assert health == "warning"
    assert "min-replicas-to-write is 0" in said


def test_flowers_page_of_the_broker_counts_behind_sentinels(servers: SentinelSet, url: str, tmp_path: Path) -> None:
    with connect(url) as client:
        client.lpush("inference\x06\x163", "{}", "{}")
    try:
        with running_flower(url, tmp_path, **servers.environment()) as (port, _):
            status, page = answer(port, "GET", "/broker", KNOWN)
    finally:
        with connect(url) as client:
            client.delete("inference\x06\x163")
    assert (status, dict(rows_of(page))["inference"]) == (200, "2")


@needs_redis
def test_debians_redis_and_its_sentinels_are_found_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    own = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "certificate.pem"))
    tls = Tls(tmp_path / "ca.pem", tmp_path / "certificate.pem", tmp_path / "key.pem")
    with sentinel_set(Path(str(DEBIANS)), tls) as secure:
        for name, value in secure.environment().items():
            monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        with connect(get_settings().require_redis_url()) as client:
            assert client.set("written", "1")
        former = primary_of(secure)
        secure.kill(former)
        secure.until_promoted(former)
        with connect(get_settings().require_redis_url()) as client:
            until(lambda: _writes(client))
            assert client.get("written") == b"1"
        stranger = trustme.CA()
        stranger.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        another = get_settings().require_redis_url().replace("dlr/0", "dlr/1")
        with connect(another) as client, pytest.raises(RedisError):
            client.ping()
