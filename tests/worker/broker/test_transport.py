"""The gate and the rewriting of the append-only file, on a real Redis."""

import os
import signal
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from kombu import Connection, Consumer, Queue
from kombu.asynchronous import Hub
from kombu.exceptions import OperationalError
from kombu.transport import redis as kombu_redis
from redis import Redis
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from tests.waiting import pace, patience, until
from worker.app import celery_settings
from worker.broker import aof_rewriter, transport
from worker.broker.aof_rewriter import AofRewriter
from worker.broker.queues import RECORD_REFUSAL, SUBMIT_STUDY
from worker.broker.redis_scripts import TAKEN, put_back
from worker.network.port import free_port
from worker.services.embedded_redis import EmbeddedRedis
from worker.settings import get_settings

TRANSPORT = "worker.broker.transport:Transport"
SECRET = "1.2.826.777.SECRET"


@pytest.fixture
def own_redis(own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch) -> EmbeddedRedis:
    """The one that the settings name."""
    monkeypatch.setenv("DLR_REDIS_URL", own_redis.url())
    get_settings.cache_clear()
    return own_redis


def taken(url: str, count: int = 1, *, ack: bool = True, options: dict[str, str] | None = None) -> list[Any]:
    """Take so many messages of the intake queue, as a worker would."""
    messages: list[Any] = []
    with Connection(url, transport=TRANSPORT, transport_options=options or {}) as connection:
        with Consumer(connection, [Queue("intake")], on_message=messages.append, accept=["json"]):
            while len(messages) < count:
                connection.drain_events(timeout=patience(10))
        if ack:
            for message in messages:
                message.ack()
    return messages


def on_disk(tmp_path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file() and "redis" in str(file.parent))


def push_job(url: str) -> None:
    sender = Celery(broker=url)
    sender.send_task(SUBMIT_STUDY, kwargs={"job": {"study_instance_uid": SECRET}}, queue="intake", shadow=SECRET)
    sender.close()


def test_a_job_pushed_by_any_celery_comes_without_the_sender_s_representations(own_redis: EmbeddedRedis) -> None:
    push_job(own_redis.url())
    (message,) = taken(own_redis.url())
    assert SECRET not in str(message.headers)
    assert message.payload == [[], {"job": {"study_instance_uid": SECRET}}, {}]


@pytest.mark.parametrize("queue", ["intake", "intake\x06\x163"])
def test_what_is_no_message_at_all_comes_as_its_refusal(own_redis: EmbeddedRedis, queue: str) -> None:
    Redis.from_url(own_redis.url()).lpush(queue, b"\x80\x04not a message")
    (message,) = taken(own_redis.url())
    assert message.headers["task"] == RECORD_REFUSAL
    assert message.payload[1]["code"] == "message_undecodable"


def test_a_more_urgent_job_is_taken_first(own_redis: EmbeddedRedis) -> None:
    sender = Celery(broker=own_redis.url(), broker_transport_options={"queue_order_strategy": "priority"})
    for priority in (6, 3, 0):
        job = {"job": {"priority": priority}}
        sender.send_task(SUBMIT_STUDY, kwargs=job, queue="intake", priority=priority, task_id=str(uuid4()))
    assert [message.payload[1]["job"]["priority"] for message in taken(own_redis.url(), 3)] == [0, 3, 6]


def test_once_a_job_was_taken_nothing_of_it_is_left_on_redis_s_disk(own_redis: EmbeddedRedis, tmp_path: Path) -> None:
    push_job(own_redis.url())
    assert SECRET.encode() in on_disk(tmp_path)
    taken(own_redis.url())
    until(lambda: SECRET.encode() not in on_disk(tmp_path))


def test_a_message_that_was_not_acknowledged_comes_back(own_redis: EmbeddedRedis) -> None:
    push_job(own_redis.url())
    taken(own_redis.url(), ack=False)
    assert len(taken(own_redis.url())) == 1


@pytest.mark.parametrize("ahead_s", [600, -600])
def test_when_it_comes_back_depends_on_no_worker_s_clock(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch, ahead_s: float
) -> None:
    """The worker that takes it has another time than the one that puts it back."""
    redis = Redis.from_url(own_redis.url())
    push_job(own_redis.url())
    options = {"visibility_timeout": pace(2)}
    with Connection(own_redis.url(), transport=TRANSPORT, transport_options=options) as taker:
        messages: list[Any] = []
        with monkeypatch.context() as clock, Consumer(taker, [Queue("intake")], on_message=messages.append) as consumer:
            for module in (transport, kombu_redis):
                clock.setattr(module, "time", _clock(module, ahead_s))
            while not messages:
                taker.drain_events(timeout=patience(10))
        consumer.channel.qos.restore_visible()
        assert redis.hlen("unacked") == 1
        until(lambda: consumer.channel.qos.restore_visible() or redis.llen("intake") == 1)


def _clock(module: ModuleType, ahead_s: float) -> Any:
    def ahead() -> float:
        return time.time() + ahead_s

    return ahead if module is kombu_redis else SimpleNamespace(time=ahead, monotonic=time.monotonic)


def test_a_redis_that_falls_silent_is_given_up_within_seconds(own_redis: EmbeddedRedis) -> None:
    options = celery_settings(get_settings())["broker_transport_options"]
    with Connection(own_redis.url(), transport=TRANSPORT, transport_options=options) as connection:
        channel = connection.default_channel
        channel.client.ping()
        pid = int((own_redis.home.folder("redis") / "redis.pid").read_text())
        os.kill(pid, signal.SIGSTOP)
        started = time.monotonic()
        try:
            with pytest.raises(RedisTimeoutError):
                channel.client.ping()
        finally:
            os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - started < patience(10)


def test_several_messages_are_taken_in_one_step_as_far_as_there_is_room(own_redis: EmbeddedRedis) -> None:
    redis = Redis.from_url(own_redis.url())
    for _ in range(7):
        push_job(own_redis.url())
    messages: list[Any] = []
    with (
        Connection(own_redis.url(), transport=TRANSPORT) as connection,
        Consumer(connection, [Queue("intake")], on_message=messages.append, accept=["json"]) as consumer,
    ):
        consumer.qos(prefetch_count=5)
        connection.drain_events(timeout=patience(10))
        assert (len(messages), redis.llen("intake")) == (5, 2)
        assert (redis.hlen("unacked"), redis.zcard("unacked_index"), redis.hlen(TAKEN)) == (5, 5, 0)
        for message in messages:
            message.ack()
        assert (redis.hlen("unacked"), redis.zcard("unacked_index")) == (0, 0)


def test_acknowledgements_gather_for_a_turn_of_the_event_loop(own_redis: EmbeddedRedis) -> None:
    redis = Redis.from_url(own_redis.url())
    for _ in range(3):
        push_job(own_redis.url())
    messages: list[Any] = []
    with Connection(own_redis.url(), transport=TRANSPORT) as connection:
        loop = Hub()
        with Consumer(connection, [Queue("intake")], on_message=messages.append, accept=["json"]):
            connection.register_with_event_loop(loop)
            turns = loop.create_loop()
            deadline = time.monotonic() + patience(10)
            while len(messages) < 3 and time.monotonic() < deadline:
                next(turns)
            for message in messages:
                message.ack()
            assert redis.hlen("unacked") == 3
            next(turns)
            assert redis.hlen("unacked") == 0
        loop.close()


def test_a_file_that_takes_long_to_rewrite_is_rewritten_less_often(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[float] = []
    rested = threading.Event()

    def rest(seconds: float) -> None:
        rests.append(seconds)
        rested.set()
        raise SystemExit

    monkeypatch.setattr(aof_rewriter, "_rewriting_s", lambda _client: 3.0)
    monkeypatch.setattr(aof_rewriter, "time", SimpleNamespace(sleep=rest, monotonic=time.monotonic))
    AofRewriter(own_redis.url(), interval_s=1.0).request()
    assert rested.wait(patience(10))
    assert rests == [30.0]


def test_celery_s_own_queues_are_none_of_the_gate_s_business(own_redis: EmbeddedRedis) -> None:
    with Connection(own_redis.url(), transport=TRANSPORT) as connection:
        answers: list[Any] = []
        queue = Queue("reply.celery.pidbox")
        with Consumer(connection, [queue], callbacks=[lambda body, _message: answers.append(body)], accept=["json"]):
            connection.Producer().publish({"ok": "pong"}, routing_key="reply.celery.pidbox", serializer="json")
            connection.drain_events(timeout=patience(10))
    assert answers == [{"ok": "pong"}]


def test_a_worker_that_dies_between_taking_a_message_and_writing_it_down_leaves_it_behind(
    own_redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = Redis.from_url(own_redis.url())
    push_job(own_redis.url())
    with monkeypatch.context() as dying:
        dying.setattr(transport, "clean_envelope", lambda *_: sys.exit())
        with pytest.raises(SystemExit):
            taken(own_redis.url())
    assert (redis.llen("intake"), redis.hlen("unacked"), redis.hlen(TAKEN)) == (0, 0, 1)
    assert put_back(redis, "", older_than_s=60) == 0
    assert until(lambda: put_back(redis, "", older_than_s=0.05)) == 1
    (message,) = taken(own_redis.url())
    assert message.payload[1]["job"] == {"study_instance_uid": SECRET}
    assert redis.hlen(TAKEN) == 0


def test_messages_are_taken_though_the_server_was_started_anew(own_redis: EmbeddedRedis) -> None:
    push_job(own_redis.url())
    assert len(taken(own_redis.url())) == 1
    port = own_redis.port
    own_redis.stop()
    own_redis.start()
    assert own_redis.port == port
    push_job(own_redis.url())
    assert len(taken(own_redis.url())) == 1


def test_with_a_key_prefix_every_key_has_it(own_redis: EmbeddedRedis) -> None:
    redis, options = Redis.from_url(own_redis.url()), {"global_keyprefix": "site."}
    sender = Celery(broker=own_redis.url(), broker_transport_options=options)
    sender.send_task(SUBMIT_STUDY, kwargs={"job": {}}, queue="intake")
    (message,) = taken(own_redis.url(), ack=False, options=options)
    assert message.payload == [[], {"job": {}}, {}]
    assert all(key.startswith(b"site.") for key in redis.scan_iter())


def test_a_redis_that_is_away_for_long_uses_up_no_numbers_of_channels(tmp_path: Path) -> None:
    nobody = f"redis://127.0.0.1:{free_port(tmp_path / 'port')}/0"
    with Connection(nobody, transport=TRANSPORT) as connection:
        for _ in range(3):
            with pytest.raises(OperationalError):
                connection.ensure_connection(max_retries=1, interval_start=0, interval_step=0)
        assert list(connection.transport._used_channel_ids) == []


@pytest.mark.parametrize("redis_runs", [True, False])
@pytest.mark.parametrize("lose", ["collect", "close the channel"])
def test_an_acknowledgement_after_the_connection_was_lost_meets_a_lost_connection_which_celery_survives(
    own_redis: EmbeddedRedis, lose: str, *, redis_runs: bool
) -> None:
    push_job(own_redis.url())
    messages: list[Any] = []
    connection = Connection(own_redis.url(), transport=TRANSPORT)
    consumer = Consumer(connection, [Queue("intake")], on_message=messages.append, accept=["json"])
    consumer.consume()
    connection.drain_events(timeout=patience(10))
    if not redis_runs:
        own_redis.stop()
    if lose == "collect":
        connection.collect()
    else:
        with suppress(*connection.connection_errors):
            messages[0].channel.close()
    with pytest.raises(connection.connection_errors):
        messages[0].ack()


def connections(redis: "Redis") -> int:
    return int(redis.info("stats")["total_connections_received"])


def test_a_connection_is_kept_until_something_was_refused_on_it(own_redis: EmbeddedRedis) -> None:
    redis = Redis.from_url(own_redis.url())
    with Connection(own_redis.url(), transport=TRANSPORT) as connection:
        channel = connection.default_channel
        with channel.conn_or_acquire() as client:
            client.set("text", "x")
            before = connections(redis)
            for _ in range(3):
                client.get("text")
            assert connections(redis) == before
            with pytest.raises(ResponseError):
                client.llen("text")
            client.get("text")
            assert connections(redis) == before + 1


def test_events_reach_whoever_listens(own_redis: EmbeddedRedis) -> None:
    app = Celery(broker=own_redis.url(), set_as_current=False)
    heard: list[str] = []
    with app.connection() as connection, app.events.default_dispatcher(hostname="a@b") as events:
        receiver = app.events.Receiver(connection, handlers={"*": lambda event: heard.append(event["type"])})
        with receiver.consumer_context() as (listening, _, _):

            def all_are_heard() -> bool:
                events.send("task-received", uuid="1", name="x")
                with suppress(TimeoutError):
                    listening.drain_events(timeout=patience(0.2))
                return len(heard) > 2

            assert until(all_are_heard)
