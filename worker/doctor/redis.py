"""Redis: the server, the queues in it, and the workers, which answer through it."""

import socket

from redis import Redis
from redis.exceptions import ResponseError

from worker.app import app
from worker.broker.abilities import abilities_of
from worker.broker.connections import connect
from worker.broker.durability import ACCEPTED_BY, durability_of
from worker.broker.queues import QUEUES
from worker.broker.reconciler import RedisQueues
from worker.doctor.component import LOOK_S, Component, Health
from worker.settings import Settings


def redis(settings: Settings) -> Component:
    """Connect as a worker does, and write: does it take messages, and keep them?"""
    with _client(settings) as client:
        able = abilities_of(client, is_behind_sentinels=settings.is_behind_sentinels)
        found, version = durability_of(client), _redis_version(client)
        if not able.lacks:
            RedisQueues(client, settings.redis_key_prefix).probe()
    said = "; ".join((*able.lacks, *found.forgets, *able.risks, *found.risks))
    if able.lacks:
        return Component("Redis", Health.DOWN, version, f"{said}: no worker starts")
    if found.forgets and not settings.redis_may_forget:
        return Component("Redis", Health.DOWN, version, f"{said}: no worker starts, unless {ACCEPTED_BY}=true")
    return Component("Redis", Health.WARNING if said else Health.OK, version, said or "answers")


def queues(settings: Settings) -> Component:
    """Count the messages that wait."""
    with _client(settings) as client:
        waiting = RedisQueues(client, settings.redis_key_prefix).waiting()
    said = ", ".join(f"{waiting[queue]} wait for {queue}" for queue in QUEUES)
    return Component("queues", Health.OK, None, said)


def workers(settings: Settings) -> Component:
    """Ask who is at work, on every host."""
    settings.require_redis_url()
    names = sorted(name for answer in app.control.ping(timeout=2.0) for name in answer)
    missing = [queue for queue in QUEUES if not any(queue in name for name in names)]
    if not names:
        return Component("workers", Health.DOWN, None, "none answers: start them (`dlr up`, or `dlr worker`)")
    if missing:
        return Component("workers", Health.WARNING, None, f"{', '.join(names)}; none is named after {missing[0]}")
    return Component("workers", Health.OK, None, ", ".join(names))


def worker_called(name: str, settings: Settings) -> Component:
    """Ask one worker of this host, by its name, whether it is at its work."""
    settings.require_redis_url()
    address = f"{name}@{socket.gethostname()}"
    if app.control.ping(destination=[address], timeout=LOOK_S):
        return Component(f"worker {name}", Health.OK, None, f"{address} answers")
    return Component(f"worker {name}", Health.DOWN, None, f"{address} does not answer")


def _redis_version(client: "Redis") -> str | None:
    try:
        found = client.info("server")
    except ResponseError:
        return None
    version: str | None = found.get("valkey_version") or found.get("redis_version")
    return version


def _client(settings: Settings) -> "Redis":
    return connect(settings.require_redis_url(), LOOK_S)
