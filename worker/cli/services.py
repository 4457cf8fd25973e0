"""``dlr up``, ``dlr worker`` and ``dlr flower``: the processes of the service."""

import gc
import logging
import os
import sys
from enum import StrEnum
from socket import gethostname
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from worker.extras import require_extra
from worker.inference import reference_process

if TYPE_CHECKING:
    from worker.settings import Settings

INTAKE_STUDIES = 32
"""Maximum number of studies in flight per intake worker."""

STOP_MARGIN_S = 10.0
"""How much longer than DLR_STOP_S a worker of several may take to end before it is killed, in seconds."""

logger = logging.getLogger(__name__)


class QueueName(StrEnum):
    """A worker serves one queue."""

    INTAKE = "intake"
    INFERENCE = "inference"


def up() -> None:
    """Start PostgreSQL, Redis, the workers, Flower and the worklist page, until SIGTERM or Ctrl-C.

    PostgreSQL and Redis are not started if DLR_DATABASE_URL and DLR_REDIS_URL name your own. All data is kept under
    DLR_HOME for the next start.
    """
    from worker.services.up import run_up

    raise typer.Exit(run_up())


def worker(
    queue: Annotated[QueueName, typer.Option(help="inference needs the models; intake does not need torch")] = (
        QueueName.INFERENCE
    ),
    concurrency: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum studies in flight (default: DLR_CONCURRENCY, else chosen for the device)",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name in Flower, <name>@<host> (default: its queue and --device)")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Device for both models: auto, cpu, cuda or cuda:N (default: DLR_DEVICE)")
    ] = None,
    devices: Annotated[
        str | None, typer.Option(help="One supervised worker per device: all, or a list such as cuda:0,cuda:1")
    ] = None,
) -> None:
    """Run a Celery worker. On SIGTERM it finishes the studies in flight and stops.

    An inference worker first loads both active models, and does not start if they do not fit. One process drives one
    GPU: --devices all or DLR_DEVICE=all starts one for each, named inference-cuda-0 and so on.
    """
    if devices is not None and (device is not None or name is not None or queue is QueueName.INTAKE):
        raise typer.BadParameter(
            "--devices names each inference worker and its device: leave out --device, --name and --queue intake"
        )
    if queue is QueueName.INFERENCE:
        require_extra("worker", "an inference worker")
    from worker.settings import get_settings, use_device

    if device is not None:
        use_device(device)
    settings = get_settings()
    settings.require_redis_url()
    is_fleet = queue is QueueName.INFERENCE and (devices is not None or _is_several(settings.device))
    if queue is QueueName.INFERENCE and not is_fleet:
        # Before all else that is imported: it takes longer.
        reference_process.begin(settings.device, settings.reference_dir)
    from worker.app import app
    from worker.logs import configure_logging
    from worker.runtime import measures, serve

    configure_logging(settings.log_level, settings.log_format)
    if is_fleet:
        _run_fleet(devices or settings.device, concurrency, settings)
    _tell_old_names()
    look_at_redis(settings)
    serve()
    if name is None and queue is QueueName.INFERENCE and device is not None:
        from worker.services.fleet import name_of

        name = name_of(device)
    measures()
    threads = concurrency or INTAKE_STUDIES
    if queue is QueueName.INFERENCE:
        studies = load_models()
        threads = concurrency or settings.concurrency or studies
    # Not app.worker_main, whose exit status is 0 whatever ended the worker.
    celery = app.Worker(
        hostname=f"{name or queue.value}@{gethostname()}",
        pool_cls="threads",
        concurrency=threads,
        queues=[queue.value],
        loglevel=settings.log_level,
        quiet=True,
        without_gossip=True,
        without_mingle=True,
    )
    celery.start()
    raise typer.Exit(celery.exitcode or 0)


def _is_several(device: str) -> bool:
    return device == "all" or "," in device


def _run_fleet(devices: str, concurrency: int | None, settings: "Settings") -> NoReturn:
    from worker.inference.devices import devices_named
    from worker.services.fleet import run_fleet

    found = devices_named(devices)
    logger.info("one worker on each of %s", ", ".join(found))
    arguments = [] if concurrency is None else ["--concurrency", str(concurrency)]
    raise typer.Exit(run_fleet(found, arguments, logger.warning, settings.stop_s + STOP_MARGIN_S))


def _tell_old_names() -> None:
    from worker.settings import old_names

    if old := old_names():
        logger.warning("settings: %s", "; ".join(map(str, old)))


def look_at_redis(settings: "Settings") -> None:
    """Refuse a Redis that forgets, or with which no worker can work; one that is away is waited for."""
    from worker.broker.abilities import abilities_of
    from worker.broker.connections import connect
    from worker.broker.durability import durability_of
    from worker.outages.retry import retry_while_away

    with connect(settings.require_redis_url()) as client:
        able = retry_while_away(lambda: abilities_of(client, is_behind_sentinels=settings.is_behind_sentinels))
        found = retry_while_away(lambda: durability_of(client))
    for said in (*able.risks, *found.forgets, *found.risks):
        logger.warning("Redis: %s", said)
    able.require()
    found.require(may_forget=settings.redis_may_forget)


def load_models() -> int:
    """Load both models; return how many studies at hand keep their device busy."""
    gc.disable()  # it would look through all of torch, again and again, while that is imported
    from worker.outages.retry import retry_while_away
    from worker.runtime import engine, pipeline

    for card in engine().cards:
        notice = f" ({card.notice})" if card.notice else ""
        logger.info("model %s %s%s", card.name, card.version, notice)
    retry_while_away(pipeline)
    # What is there now stays. Looking through all of torch again and again for garbage would stop every thread for a
    # quarter of a second.
    gc.collect()
    gc.freeze()
    gc.enable()
    return engine().studies


def flower() -> None:
    """Run Flower, read-only, with sign-in by DLR_FLOWER_USER and DLR_FLOWER_PASSWORD, or by OpenID Connect."""
    from worker.network.port import require_free
    from worker.services.flower import flower_command
    from worker.settings import get_settings

    settings = get_settings()
    command = flower_command(settings)
    require_free("DLR_FLOWER_PORT", settings.flower_port, settings.flower_address)
    sys.stdout.flush()
    os.execve(command.argv[0], list(command.argv), dict(os.environ) | dict(command.env))  # noqa: S606
