from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
from celery import Celery
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError
from redis.retry import Retry

from tests.waiting import until
from worker.errors import Code, SetupRefused
from worker.network.port import LOOPBACK
from worker.services.embedded_redis import EmbeddedRedis
from worker.services.home import Home, redis_url_of
from worker.settings import Settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    server = EmbeddedRedis(Home(tmp_path / "a home, später"))
    server.start()
    yield server
    server.stop()


def process(server: EmbeddedRedis) -> psutil.Process:
    return psutil.Process(int((server.home.path / "redis" / "redis.pid").read_text()))


def test_what_was_accepted_is_there_after_a_stop_and_a_start_on_the_same_port(server: EmbeddedRedis) -> None:
    port = server.port
    Redis.from_url(server.url()).lpush("intake", "message")
    server.stop()
    assert not server.is_running
    server.start()
    assert server.port == port
    assert Redis.from_url(server.url()).lrange("intake", 0, -1) == [b"message"]


def test_what_was_accepted_is_there_after_it_was_killed(server: EmbeddedRedis) -> None:
    Redis.from_url(server.url()).lpush("intake", "message")
    process(server).kill()
    server.start()
    assert Redis.from_url(server.url()).lrange("intake", 0, -1) == [b"message"]


def test_a_server_that_an_earlier_run_left_behind_is_stopped_first(server: EmbeddedRedis) -> None:
    orphan = process(server)
    later = EmbeddedRedis(server.home)
    later.start()
    try:
        assert not server.is_running
        assert process(later).pid != orphan.pid
    finally:
        later.stop()


def test_each_write_goes_to_the_append_only_file(server: EmbeddedRedis) -> None:
    client = Redis.from_url(server.url())
    client.set("written", "at once")
    persistence = client.info("persistence")
    assert persistence["aof_enabled"] == 1
    assert persistence["aof_pending_bio_fsync"] == 0
    assert "appendfsync always\n" in (server.home.path / "redis" / "redis.conf").read_text()
    folder = server.home.path / "redis" / "appendonlydir"
    assert b"at once" in b"".join(file.read_bytes() for file in folder.glob("*.incr.aof"))


def test_its_user_can_make_it_forget_on_disk_what_was_deleted(server: EmbeddedRedis) -> None:
    client = Redis.from_url(server.url())
    client.set("study", "1.2.826.0.1")
    client.delete("study")
    client.bgrewriteaof()
    folder = server.home.path / "redis" / "appendonlydir"

    def is_rewritten() -> bool:
        persistence = client.info("persistence")
        return persistence["aof_rewrites"] == 1 and persistence["aof_rewrite_in_progress"] == 0

    until(is_rewritten)
    assert b"1.2.826.0.1" not in b"".join(file.read_bytes() for file in folder.iterdir())


def test_nobody_gets_in_without_the_password(server: EmbeddedRedis) -> None:
    once = Retry(NoBackoff(), retries=0)
    with pytest.raises(AuthenticationError):
        Redis(host=LOOPBACK, port=server.port, retry=once).ping()
    with pytest.raises(AuthenticationError):
        Redis.from_url(server.url().replace(server.home.secret("redis"), "wrong"), retry=once).ping()


@pytest.mark.parametrize(
    "command",
    [
        "FLUSHALL", "FLUSHDB", "CONFIG GET *", "CONFIG SET appendonly no", "KEYS *", "SHUTDOWN", "ACL LIST", "MONITOR",
        "CLIENT LIST", "REPLICAOF NO ONE", "SAVE", "SWAPDB 0 1", "MODULE LIST", "EVAL return(1) 0", "SCRIPT FLUSH",
        "FUNCTION LIST", "RESTORE key 0 value",
    ],
)  # fmt: skip
def test_its_user_may_not(redis_url: str, command: str) -> None:
    with pytest.raises(NoPermissionError):
        Redis.from_url(redis_url).execute_command(*command.split(" "))  # type: ignore[no-untyped-call]


def test_its_user_may_do_what_a_queue_needs(redis_url: str) -> None:
    client = Redis.from_url(redis_url)
    assert client.info("server")["tcp_port"] > 0
    assert client.lock("mutex", timeout=1).acquire()
    with client.lock("another", timeout=1):
        assert client.publish("/9.celeryev/worker.heartbeat", "{}") == 0
    with client.pipeline() as pipeline:
        pipeline.lpush("queue", "1")
        pipeline.llen("queue")
        assert pipeline.execute() == [1, 1]


def test_it_listens_on_the_loopback_interface_alone(server: EmbeddedRedis) -> None:
    listening = [item for item in process(server).net_connections("all") if item.status == psutil.CONN_LISTEN]
    assert [(item.laddr.ip, item.laddr.port) for item in listening] == [(LOOPBACK, server.port)]


def test_its_password_is_on_disk_once_and_every_file_is_its_users_alone(server: EmbeddedRedis) -> None:
    secret = server.home.secret("redis")
    folder = server.home.path / "redis"
    for file in (folder / "users.acl", folder / "redis.conf", server.home.secret_file("redis")):
        assert file.stat().st_mode & 0o777 == 0o600
    assert secret not in (folder / "users.acl").read_text() + (folder / "redis.conf").read_text()
    assert sha256(secret.encode()).hexdigest() in (folder / "users.acl").read_text()
    assert secret not in " ".join(process(server).cmdline())


def test_its_sender_pushes_jobs_by_celery_or_without_and_can_not_read_them(server: EmbeddedRedis) -> None:
    settings = Settings(home=server.home.path, redis_url=server.url())
    url = redis_url_of(settings, "sender")
    with Celery(broker=url, set_as_current=False) as hospital:
        hospital.send_task("dlr.submit_study", kwargs={"job": {}}, queue="intake")
    sender = Redis.from_url(url)
    sender.lpush("intake", "{}")
    assert Redis.from_url(redis_url_of(settings, "worker")).llen("intake") == 2
    for forbidden in ("lrange intake 0 -1", "rpop intake", "lpush inference {}", "hgetall unacked", "del intake"):
        with pytest.raises(NoPermissionError):
            sender.execute_command(*forbidden.split())


def test_the_sender_of_a_redis_of_somebody_else_is_not_made_up(server: EmbeddedRedis) -> None:
    settings = Settings(home=server.home.path, redis_url="redis://dlr:theirs@queue.hospital:6379/0")
    assert redis_url_of(settings, "worker") == "redis://dlr:theirs@queue.hospital:6379/0"
    with pytest.raises(SetupRefused) as refused:
        redis_url_of(settings, "sender")
    assert refused.value.code is Code.SETTING_INVALID
