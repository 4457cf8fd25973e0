"""What a worker process holds while it runs: sessions, the engine, the pipeline. Made on first use, once."""

import os
import threading
from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, TypeVar

from redis import Redis
from sqlalchemy.orm import Session, sessionmaker

from db import ledger
from db.session import make_engine, session_factory
from worker.intake.accept import Intake
from worker.pulse import Pulse
from worker.reconciler import Messages, Reconciler
from worker.settings import get_settings

if TYPE_CHECKING:
    from worker.imaging.decoder_pool import DecoderPool
    from worker.inference.engine import Engine
    from worker.pipeline import Pipeline


T = TypeVar("T")
_making = threading.RLock()


def _once(make: Callable[[], T]) -> Callable[[], T]:
    """Make it on the first call; threads that ask meanwhile wait for that one, and no second model is loaded."""
    kept = lru_cache(maxsize=1)(make)

    @wraps(make)
    def ask() -> T:
        with _making:
            return kept()

    return ask


@_once
def sessions() -> sessionmaker[Session]:
    """Return the process's database sessions, as the role ``dlr_writer``."""
    return session_factory(make_engine(get_settings().require_database_url()))


@_once
def intake() -> Intake:
    """Return the process's intake."""
    from worker.app import enqueue

    return Intake(sessions(), get_settings().storage_root, enqueue)


@_once
def engine() -> "Engine":
    """Return the process's engine, with both active models on its device.

    Raises:
        ModelRefused: a model is not active, or its card and weights do not fit each other; the reason says what.
    """
    from worker.inference.engine import load_engine

    settings = get_settings()
    return load_engine(settings.models_dir, settings.device, settings.batch_max, settings.batch_wait_ms)


@_once
def decoders() -> "DecoderPool":
    """Return the process's decoders, which are started when they are needed."""
    from worker.imaging.decoder_pool import DecoderPool

    settings = get_settings()
    return DecoderPool(settings.limits, settings.decoders, settings.decode_timeout_s, settings.gate)


@_once
def pulse() -> Pulse:
    """Return the process's pulse."""
    return Pulse(sessions(), get_settings().lease_s)


@_once
def pipeline() -> "Pipeline":
    """Return the process's pipeline, with its models on record in the ledger.

    Raises:
        ModelRefused: as for `engine`.
    """
    from worker.bookkeeping import Bookkeeper
    from worker.imaging.source import ImageSource
    from worker.pipeline import Pipeline

    settings = get_settings()
    with sessions().begin() as session:
        for card in engine().cards:
            ledger.register_model(session, card.record())
    return Pipeline(
        books=Bookkeeper(sessions(), pulse(), settings.max_attempts, engine().gather_s),
        engine=engine(),
        source=ImageSource(settings.storage_root, settings.dicomweb),
        decoders=decoders(),
        inference_timeout_s=settings.inference_timeout_s,
        end_worker=lambda: os._exit(os.EX_SOFTWARE),
    )


@_once
def reconciler() -> Reconciler:
    """Return the process's reconciler."""
    from worker.app import enqueue

    settings = get_settings()
    client = Redis.from_url(settings.require_redis_url(), socket_timeout=5, socket_connect_timeout=5)
    return Reconciler(sessions(), enqueue, Messages(client, settings.redis_key_prefix), settings.lease_s)
