"""``dlr receive`` and ``dlr watch``: studies that arrive by DICOM or in a folder."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import stderr
from worker.intake.inbox import Inbox
from worker.intake.receiver import Receiver, listening
from worker.intake.receiver_config import receiver_config_of
from worker.intake.watch import DropFolder, Watcher
from worker.settings import Settings, get_settings


def receive() -> None:
    """Receive studies by DICOM C-STORE (a Storage SCP), keep the images and queue each study.

    Lesions and their BI-RADS categories are read from the study's DICOM SR (TID 1500), else its segmentations, else its
    presentation states. A study is queued as soon as its report, segmentations and images are there, any other after
    DLR_RECEIVE_QUIET_S. A study without lesions is in `dlr failed list` until they arrive. SIGTERM or Ctrl-C stops the
    receiver; nothing answered with "success" is lost.
    """
    from worker.outages.retry import Stopping, retry_while_away, stopping
    from worker.runtime import intake, same_image

    reception = receiver_config_of(get_settings())
    settings = _ready()
    with Inbox.held(settings.storage_root, same_image) as inbox:
        asked_as = settings.fetch_ae_title.strip()
        receiver = Receiver(inbox, intake(), settings.limits, settings.receive_quiet_s, retry_while_away, asked_as)
        with suppress(Stopping), listening(receiver, reception) as (host, port):
            stderr.print(f"{reception.ae_title} listens at {host}:{port}", markup=False, highlight=False)
            receiver.run(stopping)


def watch(
    folder: Annotated[Path, typer.Argument(help="Folder where job files, or folders of DICOM files, are dropped")],
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without a change after which an entry is complete")
    ] = 5.0,
) -> None:
    """Submit whatever is dropped into a folder, until SIGTERM or Ctrl-C. Several watchers may share a folder.

    An entry is a job file (*.json), or a folder of one study's DICOM files with its lesions in a DICOM SR, SEG or GSPS
    or in lesions.json. While you write it, give it a name that starts with a dot or ends in .part; otherwise an entry
    counts as complete after --settle seconds. Submitted entries are moved to .dlr/done, refused ones to .dlr/refused
    with a text that says why.
    """
    from worker.outages.retry import Stopping, retry_while_away, stopping
    from worker.runtime import intake

    settings = _ready()
    with suppress(Stopping), DropFolder.watched(folder, settings.storage_root) as drop:
        stderr.print(f"watching {drop.root}", markup=False, highlight=False)
        Watcher(drop, intake(), settings.limits, settle, retry_while_away).run(stopping)


def _ready() -> Settings:
    settings = get_settings()
    settings.require_database_url()
    settings.require_redis_url()
    ready()
    return settings


def ready() -> None:
    """Let this process run until it is told to end, with logs as a worker has them."""
    from worker.logs import configure_logging
    from worker.outages.retry import stopping
    from worker.runtime import serve

    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    serve()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
