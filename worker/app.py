"""The Celery application: broker, queues, serializer, signals; nothing else (``celery -A worker.app``)."""

import ssl
from math import ceil
from typing import Any
from uuid import UUID, uuid5

from celery import Celery
from celery.signals import setup_logging, worker_init
from kombu.entity import Exchange, Queue
from sqlalchemy.engine import make_url

from db.schema.records import Queued
from worker.broker.connections import KEEPALIVE, TIMEOUT_S
from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import INFER_STUDY, QUEUE_OF_TASK, QUEUES, REDIS_PRIORITY
from worker.broker.transport import register_transport
from worker.clinical.categories import Priority
from worker.logs import configure_logging
from worker.settings import SentinelAddress, Settings, celery_url, get_settings, sentinel_address


def celery_settings(settings: Settings) -> dict[str, Any]:
    """Return Celery's configuration.

    Args:
        settings: with a Redis URL; without one the application can be imported, and not connected.
    """
    broker: dict[str, Any] = (
        {"broker_transport_options": {}} if settings.redis_url is None else sender_settings(settings)
    )
    return broker | {
        "broker_transport_options": {
            # Flower's page of the broker asks the first Sentinel itself, and so needs to know of them.
            **broker["broker_transport_options"],
            "queue_order_strategy": "priority",
            # A message that is not acknowledged comes back as soon as a lease can have run out. That of a study at work
            # comes back too, and changes nothing: its lease keeps everybody else away.
            "visibility_timeout": ceil(settings.lease_s),
            # Whoever dies while it restores messages holds the others up for no longer than that.
            "unacked_mutex_expire": ceil(settings.lease_s),
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
            "global_keyprefix": settings.redis_key_prefix,
            "socket_keepalive": True,
            "socket_keepalive_options": dict(KEEPALIVE),
            "socket_connect_timeout": TIMEOUT_S,
            "socket_timeout": TIMEOUT_S,
            # A worker's loop waits for no answer: an answer that is overdue for so long, or two, is none.
            "health_check_interval": 5,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "accept_content": ["json"],
        "task_serializer": "json",
        "event_serializer": "json",
        "task_ignore_result": True,
        "result_backend_thread_safe": True,
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in QUEUES],
        "task_routes": {task: {"queue": queue} for task, queue in QUEUE_OF_TASK.items()},
        "task_default_queue": "intake",
        "task_create_missing_queues": False,
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,
        "worker_pool": "threads",
        "worker_consumer": "worker.broker.consumer:Consumer",
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "enable_utc": True,
    }


def sender_settings(settings: Settings) -> dict[str, Any]:
    """Return what Celery needs to know of the broker, as a hospital's own would that pushes jobs."""
    address = sentinel_address(settings.require_redis_url())
    of_sentinels = address and {"master_name": address.service, "sentinel_kwargs": dict(address.of_sentinels)}
    return {
        "broker_url": _url(settings, address),
        "broker_transport_options": of_sentinels or {},
        **_tls(settings),
    }


def _url(settings: Settings, address: SentinelAddress | None) -> str:
    return settings.require_redis_url() if address is None else celery_url(address)


def _tls(settings: Settings) -> dict[str, Any]:
    """Return what the URL says of TLS, in the form in which Flower looks for it."""
    url = make_url(settings.require_redis_url())
    if not url.drivername.startswith("rediss"):
        return {}
    options = {name: url.query[name] for name in ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile") if name in url.query}
    return {"broker_use_ssl": {"ssl_cert_reqs": ssl.CERT_REQUIRED, "ssl_check_hostname": True, **options}}


register_transport()
app = Celery("dlr", set_as_current=True, include=["worker.tasks"])
app.add_defaults(lambda: celery_settings(get_settings()))


@setup_logging.connect  # type: ignore[untyped-decorator]
def _logging(**_kwargs: Any) -> None:
    configure_logging(get_settings().log_level, get_settings().log_format)


@worker_init.connect  # type: ignore[untyped-decorator]
def _backend(**_kwargs: Any) -> None:
    # That there is none is looked up among all installed distributions: once, and not by each thread at its first task.
    _ = app.backend


def enqueue(*studies: Queued) -> None:
    """Queue studies of the ledger for inference, in one step.

    Raises:
        kombu.exceptions.OperationalError: Redis does not answer.
    """
    queue = QUEUE_OF_TASK[INFER_STUDY]
    with app.producer_pool.acquire(block=True) as producer, producer.connection._reraise_as_library_errors():  # noqa: SLF001  as Celery sends a task
        producer.channel.put_all(queue, [envelope(_message_of(study), queue) for study in studies])


def _message_of(study: Queued) -> TaskMessage:
    priority = REDIS_PRIORITY[Priority(study.priority)]
    return TaskMessage(INFER_STUDY, task_id_of(study), [str(study.study_id)], {}, priority)


def task_id_of(study: Queued) -> UUID:
    """Return the id of a study's task: the study's own and, once a person has queued it again, another each time.

    Flower keeps one task an id, and lets no failure follow a success there.
    """
    return uuid5(study.study_id, str(study.uncounted)) if study.uncounted else study.study_id
