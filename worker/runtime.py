"""What a worker process holds while it runs: sessions, the engine, the pipeline. Made on first use, once."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy.orm import Session, sessionmaker

from db.schema.roles import SHADOW
from db.session import make_engine, session_factory
from worker.extras import require_extra
from worker.settings import get_settings

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from redis import Redis

    from worker.broker.reconciler import Reconciler
    from worker.imaging.decoder_pool import DecoderPool
    from worker.inference.engine import Engine
    from worker.inference.live_engine import LiveEngine
    from worker.inference.model_card import ModelCard
    from worker.inference.shares import Versions
    from worker.intake.accept_study import Intake
    from worker.intake.fetching import Fetcher
    from worker.intake.study_requests import StudyRequests
    from worker.rescoring.rescorer import Rescorer
    from worker.scoring.leases import LeaseKeeper
    from worker.scoring.pipeline import Pipeline
    from worker.telemetry.measures import Measures
    from worker.telemetry.traces import Tracing

logger = logging.getLogger(__name__)

SHADOW_NAME = "dlr shadow"
"""Under which PostgreSQL lists the connections of shadows and backfills."""

GIVE_BACK_S = 5.0
"""How long PostgreSQL may take to hear what a worker gives back at its end, in seconds."""

T = TypeVar("T")
_making = threading.RLock()
_serves = threading.Event()


def serve() -> None:
    """Say that this process is a service, and no person's command, before it asks PostgreSQL for anything.

    A command may take minutes for a statement, and its transaction last for as long as somebody reads what it prints.
    """
    _serves.set()


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
    """Return the process's database sessions, as the role ``dlr_writer``; those of a service end when it is silent."""
    settings = get_settings()
    limit_s = settings.database_answer_s if _serves.is_set() else None
    return session_factory(make_engine(settings.require_database_url(), answers_within_s=limit_s))


@_once
def measures() -> "Measures":
    """Return what the process counts with, which is served from now on if DLR_METRICS_PORT is set.

    Raises:
        SetupRefused: ``setting_invalid``; no port is free, or the extra ``metrics`` is not installed.
    """
    from worker.telemetry.measures import Measures

    settings = get_settings()
    if settings.metrics_port is None:
        return Measures()
    require_extra("metrics", "DLR_METRICS_PORT")
    from worker.telemetry.exposition import PrometheusMeasures
    from worker.telemetry.metrics_server import PORTS, serve

    made = PrometheusMeasures()
    port = serve(made.registry, settings.metrics_address, settings.metrics_port, PORTS)
    logger.info("metrics at %s:%d", settings.metrics_address, port)
    return made


@_once
def tracing() -> "Tracing":
    """Return what the process traces with.

    Raises:
        SetupRefused: ``setting_invalid``; the extra ``tracing`` is not installed.
    """
    from worker.telemetry.traces import Tracing

    url = get_settings().traces_url
    if url is None:
        return Tracing()
    require_extra("tracing", "DLR_TRACES_URL")
    from worker.telemetry.otlp import OtlpTracing, otlp

    return OtlpTracing(otlp(url))


@_once
def intake() -> "Intake":
    """Return the process's intake."""
    from worker.app import enqueue
    from worker.intake.accept_study import Intake

    return Intake(sessions(), get_settings().storage_root, enqueue, tracing(), decoders)


@_once
def pushed_intake() -> "Intake":
    """Return the intake of what is pushed, by the thousand; a Redis that is full is no reason to keep a job there."""
    from worker.app import enqueue
    from worker.intake.together import Together, unless_full

    own = unless_full(enqueue)
    return replace(intake(), enqueue=own, together=Together(sessions(), own))


@_once
def fetcher() -> "Fetcher":
    """Return what has studies from servers before they are on record.

    Raises:
        SetupRefused: ``setting_invalid``; files of a PACS's TLS cannot be read.
    """
    from worker.imaging.archive import Archives
    from worker.imaging.image_source import remove_abandoned
    from worker.intake.fetching import Fetcher

    settings = get_settings()
    remove_abandoned()
    return Fetcher(Archives(settings.dicomweb, settings.pacs), settings.storage_root, settings.limits)


@_once
def _redis() -> "Redis":
    from worker.broker.connections import connect

    return connect(get_settings().require_redis_url())


def study_requests() -> "StudyRequests":
    """Return what was asked for over HTTP and has to be fetched."""
    from worker.intake.study_requests import StudyRequests

    return StudyRequests(_redis(), get_settings().redis_key_prefix)


def held_message(request: Any) -> "AbstractContextManager[None]":
    """Keep the message of a task, by its request, from being put back while its work takes longer than a lease."""
    from worker.broker.unacknowledged import held

    settings = get_settings()
    tag = (request.get("properties") or {}).get("delivery_tag")
    return nullcontext() if tag is None else held(_redis(), settings.redis_key_prefix, tag, settings.lease_s)


@_once
def answered_intake() -> "Intake":
    """Return the intake of what is answered once it is on record; a Redis that is away is no reason to refuse it."""
    from worker.app import enqueue
    from worker.intake.together import Together, unless_away

    own = unless_away(enqueue)
    return replace(intake(), enqueue=own, together=Together(sessions(), own))


@_once
def engine() -> "LiveEngine":
    """Return the process's engine, with the models in service on its device; it takes up others that are put there.

    Raises:
        ModelRefused: a model is not active, or its card and weights do not fit each other; the reason says what.
    """
    from worker.inference.live_engine import LOOK_S, LiveEngine
    from worker.inference.registry import Registry
    from worker.outages.retry import stopping

    made = LiveEngine(Registry(get_settings().models_dir), _load_engine, _put_on_record)
    made.take_up()  # what has a share, so that its studies are not scored by the active version until a first look
    threading.Thread(target=lambda: made.run(LOOK_S, stopping), name="versions", daemon=True).start()
    return made


def _load_engine(versions: "Versions") -> "Engine":
    from worker.inference.loading import load_engine

    settings = get_settings()
    made = load_engine(
        settings.models_dir,
        settings.device,
        settings.batch_max,
        settings.batch_wait_ms,
        measures(),
        _end_without_device,
        meanwhile=_import_pipeline,
        versions=versions,
        kept_in=settings.reference_dir,
    )
    for card in made.cards:
        if card.decoder_warning is not None:
            logger.warning(card.decoder_warning)
    return made


def _put_on_record(cards: "Sequence[ModelCard]") -> None:
    from db.writes import ledger

    with sessions().begin() as session:
        for card in cards:
            ledger.register_model(session, card.record())


def _import_pipeline() -> None:
    """Import what `pipeline` is made of, pydicom above all."""
    import worker.imaging.decoder_pool
    import worker.scoring.pipeline  # noqa: F401


def _end_without_device() -> None:
    """End a process whose device does nothing more, its studies given to others; who supervises it starts another."""
    giving_back = threading.Thread(target=lease_keeper().give_back, name="give-back", daemon=True)
    giving_back.start()
    giving_back.join(GIVE_BACK_S)
    os._exit(os.EX_SOFTWARE)


@_once
def decoders() -> "DecoderPool":
    """Return the process's decoders, which are started when they are needed."""
    from worker.imaging.decoder_pool import DecoderPool

    settings = get_settings()
    return DecoderPool(settings.limits, settings.decoders, settings.decode_timeout_s, settings.policies, measures())


def same_image(one: "Path", other: "Path") -> bool:
    """Say whether two files are one image in two encodings; ``False`` also where decoders are not installed."""
    try:
        return decoders().same_image(one, other)
    except ImportError:
        return False


@_once
def lease_keeper() -> "LeaseKeeper":
    """Return what keeps the leases of the process's studies."""
    from worker.scoring.leases import LeaseKeeper

    return LeaseKeeper(sessions(), get_settings().lease_s)


@_once
def pipeline() -> "Pipeline":
    """Return the process's pipeline, with its models on record in the ledger.

    Raises:
        ModelRefused: as for `engine`.
    """
    from worker.imaging.image_source import ImageSource, remove_abandoned
    from worker.scoring.bookkeeping import Bookkeeper
    from worker.scoring.pipeline import Pipeline

    settings = get_settings()
    _put_on_record(engine().cards)
    remove_abandoned()
    return Pipeline(
        books=Bookkeeper(sessions(), lease_keeper(), settings.max_attempts, engine().gather_s),
        engine=engine(),
        source=ImageSource(settings.storage_root, settings.dicomweb, settings.pacs),
        decoders=decoders(),
        inference_timeout_s=settings.inference_timeout_s,
        end_worker=lambda: os._exit(os.EX_SOFTWARE),
        measures=measures(),
        tracing=tracing(),
    )


@_once
def reconciler() -> "Reconciler":
    """Return the process's reconciler."""
    from worker.app import enqueue
    from worker.broker.connections import connect
    from worker.broker.reconciler import Reconciler, RedisQueues

    settings = get_settings()
    client = connect(settings.require_redis_url())
    return Reconciler(sessions(), enqueue, RedisQueues(client, settings.redis_key_prefix), settings.lease_s)


@_once
def rescorer() -> "Rescorer":
    """Return what scores stored lesions in this process, as the role ``dlr_shadow``, with one decoder."""
    from worker.imaging.decoder_pool import DecoderPool
    from worker.imaging.image_source import ImageSource, remove_abandoned
    from worker.outages.retry import stopping
    from worker.rescoring.rescorer import Rescorer
    from worker.rescoring.stored_images import StoredImages

    settings = get_settings()
    remove_abandoned()
    url = settings.require_shadow_database_url()
    source = ImageSource(settings.storage_root, settings.dicomweb, settings.pacs)
    # No gate: these lesions were let pass.
    decoder = DecoderPool(settings.limits, 1, settings.decode_timeout_s)
    images = StoredImages(source, decoder, settings.storage_root)
    return Rescorer(session_factory(make_engine(url, SHADOW, name=SHADOW_NAME)), images, stopping)
