"""Celery's Redis transport: messages pass the message gate before Celery sees them.

Messages are taken and acknowledged several at a time. They leave their queue in one step
(`worker.broker.redis_scripts`), and the gate (`worker.broker.message_gate`) sees them before Celery does. Once jobs are
acknowledged, Redis is asked to forget them (`worker.broker.aof_rewriter`).
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from hashlib import sha1
from queue import Empty
from typing import Any
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as kombu_redis
from kombu.transport.virtual.base import QoS as VirtualQoS
from kombu.utils.json import dumps
from redis import Connection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError

from worker.broker.aof_rewriter import AofRewriter
from worker.broker.letting_go import LetGo, LetGoOverTls
from worker.broker.message_gate import clean_envelope
from worker.broker.queues import QUEUE_OF_TASK, QUEUES, SUBMIT_STUDY
from worker.broker.redis_scripts import NOTHING, TAKE, TAKEN, WRITE_DOWN
from worker.broker.sentinels import Followed, FollowedOverTls, primary_pool
from worker.outages.redis_answers import REFUSALS, is_out_of_memory
from worker.settings import get_settings

logger = logging.getLogger(__name__)

TASK_QUEUES = frozenset(QUEUES)
"""The queues that the gate guards; the others are Celery's own, for replies to `celery inspect` and to Flower."""

MOST_AT_ONCE = 32
"""Messages that a worker takes in one step, as far as it has room for them."""

LOOK_INTERVAL_S = 0.02
"""How long a worker whose queues are empty waits before it looks again, in seconds."""

IDLE_LOOKS, IDLE_LOOK_INTERVAL_S = 50, 0.1
"""After so many looks that found nothing it waits longer."""

_TAKE_SHA = sha1(TAKE.encode()).hexdigest()  # noqa: S324  the name by which Redis knows a script


@contextmanager
def _skipped_when_full() -> Iterator[None]:
    """Let what can be done later as well, and adds to what Redis holds, be left undone while Redis is out of memory.

    A worker that ended or connected anew for it would not take messages, and nobody else makes room.
    """
    try:
        yield
    except ResponseError as error:
        if not is_out_of_memory(error):
            raise


class QoS(kombu_redis.QoS):
    """kombu's bookkeeping of unacknowledged messages: written by the channel, and acknowledged several at a time."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._acknowledged: list[str] = []

    def append(self, message: Any, delivery_tag: str) -> None:
        """Remember a message; one of the workers' own queues is written down already (`Channel._write_down`)."""
        if message.delivery_info.get("routing_key") in TASK_QUEUES:
            VirtualQoS.append(self, message, delivery_tag)
        else:
            super().append(message, delivery_tag)  # type: ignore[no-untyped-call]

    def ack(self, delivery_tag: str) -> None:
        """Acknowledge a message; what it named may be forgotten now.

        Raises:
            redis.exceptions.ConnectionError: the channel is closed; the message comes back, and changes nothing.
        """
        self.channel.refuse_when_closed()
        message = self._delivered.get(delivery_tag)
        self._acknowledged.append(delivery_tag)
        VirtualQoS.ack(self, delivery_tag)
        if not self.channel.connection.gathers:
            self.write_acknowledged()
        if message is not None and message.delivery_info.get("routing_key") == QUEUE_OF_TASK[SUBMIT_STUDY]:
            self.channel.aof_rewriter.request()

    def write_acknowledged(self) -> None:
        """Tell Redis what was acknowledged since the last time. What it is not told comes back, and changes nothing."""
        tags, self._acknowledged = self._acknowledged, []
        if tags:
            # No transaction: at `maxmemory` Redis refuses even what makes room in one. The hash first, since a tag of
            # the index that leads nowhere is removed when it is due.
            with self.channel.conn_or_acquire() as client, client.pipeline(transaction=False) as pipe:
                pipe.hdel(self.unacked_key, *tags).zrem(self.unacked_index_key, *tags).execute()

    @property
    def visibility_timeout(self) -> float:
        """How long ago by this machine's clock something was taken that is put back; Redis's clock dated it."""
        with self.channel.conn_or_acquire() as client:
            seconds, microseconds = client.time()
        return float(self.channel.visibility_timeout + time.time() - (seconds + microseconds / 1e6))

    def restore_visible(self, *args: Any, **kwargs: Any) -> None:
        """Put back what nobody has acknowledged in time; for want of memory, later."""
        with _skipped_when_full():
            super().restore_visible(*args, **kwargs)  # type: ignore[no-untyped-call]

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Put back at the end what was not acknowledged, and nothing else."""
        with suppress(*self.channel.connection_errors):
            self.write_acknowledged()
        super().restore_unacked_once(stderr)  # type: ignore[no-untyped-call]


class Channel(kombu_redis.Channel):
    """kombu's channel, which takes messages in one step on the server and reads them through the gate."""

    QoS = QoS
    connection_class: type[Connection] = LetGo
    connection_class_ssl: Any = LetGoOverTls

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        try:
            super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        except RedisError:
            # kombu has 65,535 numbers for channels, and would keep one for each that Redis did not answer.
            self.connection.close_channel(self)
            raise
        self._empty_looks = 0
        self._kept_client: Any = None
        self._taken_as = ""

    @property
    def aof_rewriter(self) -> AofRewriter:
        """That of this connection."""
        transport: Transport = self.connection
        return transport.aof_rewriter

    def refuse_when_closed(self) -> None:
        """Let a late acknowledgement meet a lost connection, which Celery survives.

        Raises:
            redis.exceptions.ConnectionError: the channel is closed.
        """
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the channel is closed")

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        """Refuse to connect once closed."""
        self.refuse_when_closed()
        parameters: dict[str, Any] = super()._connparams(asynchronous=asynchronous)  # type: ignore[no-untyped-call]
        return parameters

    def _queue_bind(self, *args: Any, **kwargs: Any) -> None:
        """Write down who reads what, for those who send; each of them does so too."""
        with _skipped_when_full():
            super()._queue_bind(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _refresh_bindings(self, *args: Any, **kwargs: Any) -> None:
        with _skipped_when_full():
            super()._refresh_bindings(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _create_client(self, asynchronous: bool = False) -> Any:
        """Return one client for all commands; kombu makes another for each."""
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-untyped-call]
        if self._kept_client is None or self._kept_client.connection_pool is not self.pool:
            self._kept_client = super()._create_client()  # type: ignore[no-untyped-call]
        return self._kept_client

    def put_all(self, queue: str, messages: Sequence[dict[str, Any]]) -> None:
        """Put messages on a queue in one step for each priority, in their order."""
        lists: dict[str, list[str]] = {}
        for message in messages:
            step = self._q_for_pri(queue, message["properties"]["priority"])  # type: ignore[no-untyped-call]
            lists.setdefault(step, []).append(dumps(message))
        with self.conn_or_acquire() as client:
            for name, of_priority in lists.items():
                client.lpush(name, *of_priority)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for the next messages; after an answer of none, only once a moment has passed on the server."""
        if not TASK_QUEUES.issuperset(self.active_queues):
            super()._brpop_start(timeout)  # type: ignore[no-untyped-call]
            return
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        lists = [self._q_for_pri(queue, step) for step in self.priority_steps for queue in queues]  # type: ignore[no-untyped-call]
        keys = [f"{self.global_keyprefix}{key}" for key in (TAKEN, *lists)]
        self._taken_as = str(uuid4())
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at: Any = time.monotonic()
        if self._empty_looks:
            wait_s = LOOK_INTERVAL_S if self._empty_looks < IDLE_LOOKS else IDLE_LOOK_INTERVAL_S
            connection.send_command("BRPOP", f"{self.global_keyprefix}{NOTHING}", wait_s)
        most = min(self.qos.can_consume_max_estimate() or MOST_AT_ONCE, MOST_AT_ONCE)
        connection.send_command("EVALSHA", _TAKE_SHA, len(keys), *keys, self._taken_as, most)

    def _brpop_read(self, **options: Any) -> bool:
        """Read the answer, and deliver the messages that it holds."""
        if not TASK_QUEUES.issuperset(self.active_queues):
            return bool(super()._brpop_read(**options))  # type: ignore[no-untyped-call]
        try:
            answer = self._answer()
            self._empty_looks = 0 if answer else self._empty_looks + 1
            if not answer:
                raise Empty
            queues = [self._queue_of(place) for place in answer[::2]]
            limit = get_settings().max_message_bytes
            messages = [clean_envelope(item, queue, limit) for queue, item in zip(queues, answer[1::2], strict=True)]
            self._write_down(messages)
            for queue, message in zip(queues, messages, strict=True):
                self._queue_cycle.rotate(queue)
                self.connection._deliver(message, queue)  # noqa: SLF001  as kombu's own channel does
            return True
        finally:
            self._in_poll: Any = None
            self._flush_brpop_reauth()  # type: ignore[no-untyped-call]

    def _queue_of(self, place: bytes) -> str:
        """Return the queue that a list belongs to."""
        return place.decode().removeprefix(self.global_keyprefix or "").rsplit(self.sep, 1)[0]

    def _write_down(self, messages: Sequence[dict[str, Any]]) -> None:
        """Write messages among the unacknowledged as kombu does, and let go of them in ``dlr.taken``, in one step."""
        written: list[str] = []
        for number, message in enumerate(messages):
            properties = message["properties"]
            place = properties["delivery_info"]
            kept = dumps([message, place["exchange"], place["routing_key"]])
            written += (f"{self._taken_as}:{number}", properties["delivery_tag"], kept)
        # kombu's client puts the prefix before the first key of a script alone.
        keys = [TAKEN, *(f"{self.global_keyprefix}{key}" for key in (self.unacked_key, self.unacked_index_key))]
        with self.conn_or_acquire() as client:
            client.register_script(WRITE_DOWN)(keys=keys, args=written)

    def _answer(self) -> Any:
        connection = self.client.connection
        try:
            if self._empty_looks:
                connection.read_response()
            return connection.read_response()
        except NoScriptError:  # a server that was started anew
            with self.conn_or_acquire() as client:
                client.script_load(TAKE)
            return None
        except self.connection_errors:
            connection.disconnect()
            raise


class Transport(kombu_redis.Transport):
    """Redis as a Celery broker whose senders are not trusted."""

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, *REFUSALS)
    """What Celery waits for and connects anew after. An answer that Redis cannot is no less of an outage than silence,
    and kombu's own list would let it end the worker."""

    gathers = False
    """Acknowledgements gather for a turn of Celery's event loop; without one they are written one by one."""

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Do as kombu does, and write acknowledgements at each turn of the loop."""
        super().register_with_event_loop(connection, loop)  # type: ignore[no-untyped-call]
        self.gathers = True
        loop.on_tick.add(self._write_acknowledged)

    def _write_acknowledged(self) -> None:
        for channel in self.channels:
            channel.qos.write_acknowledged()

    @cached_property
    def aof_rewriter(self) -> AofRewriter:
        """That of this connection; its thread starts with the first request."""
        return AofRewriter(get_settings().require_redis_url())


class SentinelChannel(Channel, kombu_redis.SentinelChannel):
    """The same channel, to the primary that the Sentinels name."""

    connection_class = Followed
    connection_class_ssl: Any = FollowedOverTls

    def _sentinel_managed_pool(self, asynchronous: bool = False) -> Any:
        """Make a pool whose connections follow the primary; the Sentinels are those of the settings."""
        parameters = self._connparams(asynchronous)
        elsewhere = {name: value for name, value in parameters.items() if name not in ("host", "port")}
        return primary_pool(get_settings().require_redis_url(), **elsewhere)


class SentinelTransport(Transport):
    """The same transport, for Celery's ``sentinel://``."""

    Channel = SentinelChannel
    default_port: Any = 26379


def register_transport() -> None:
    """Let ``redis://``, ``rediss://`` and ``sentinel://`` mean these transports in this process.

    Celery's setting ``broker_transport`` would do for a worker, but Flower reads that name and knows no such broker.
    """
    TRANSPORT_ALIASES["redis"] = TRANSPORT_ALIASES["rediss"] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"
