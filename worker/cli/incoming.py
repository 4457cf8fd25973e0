"""``dlr receive`` and ``dlr watch``: studies that come by themselves, by DICOM or into a folder."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import stderr
from worker.intake.inbox import Inbox
from worker.intake.receiver import Receiver, listening
from worker.intake.receiver_config import reception_of
from worker.intake.watch import DropFolder, Watcher
from worker.settings import Settings, get_settings


def receive() -> None:
    """Receive studies by DICOM: a Storage SCP, which keeps what arrives and queues each study.

    Where the lesions are, and their BI-RADS categories, is read from the study's DICOM SR (TID 1500), else from its
    segmentations, else from its presentation states. A study whose report, segmentations and images have come is
    queued at once, any other after DLR_RECEIVE_QUIET_S; one without lesions ends in `dlr failed list`, until they come.
    SIGTERM or Ctrl-C stops it; nothing that was answered "success" is lost.
    """
    from worker.outages.retry import Stopping, patiently, stopping
    from worker.runtime import intake, same_image

    reception = reception_of(get_settings())
    settings = _ready()
    with Inbox.held(settings.storage_root, same_image) as inbox:
        receiver = Receiver(inbox, intake(), settings.limits, settings.receive_quiet_s, patiently)
        with suppress(Stopping), listening(receiver, reception) as (host, port):
            stderr.print(f"{reception.ae_title} listens at {host}:{port}", markup=False, highlight=False)
            receiver.run(stopping)


def watch(
    folder: Annotated[Path, typer.Argument(help="Where studies are dropped: job files, or folders of DICOM files")],
    settle: Annotated[
        float, typer.Option(min=0, help="Seconds without a change after which an entry of the folder is whole")
    ] = 5.0,
) -> None:
    """Hand in whatever is dropped into a folder, until SIGTERM or Ctrl-C; any number of watchers may share it.

    An entry is a job file (*.json), or a folder of one study's DICOM files with a DICOM SR, SEG or GSPS or a
    lesions.json that marks the lesions. Give it a name that begins with a dot or ends in .part until it is whole, or
    leave it alone for --settle seconds. What was handed in is moved to .dlr/done, the rest to .dlr/refused, beside a
    text that says why.
    """
    from worker.outages.retry import Stopping, patiently, stopping
    from worker.runtime import intake

    settings = _ready()
    with suppress(Stopping), DropFolder.watched(folder, settings.storage_root) as drop:
        stderr.print(f"{drop.root} is watched", markup=False, highlight=False)
        Watcher(drop, intake(), settings.limits, settle, patiently).run(stopping)


def _ready() -> Settings:
    """Let this process run until it is told to end, with logs as a worker has them."""
    from worker.logs import configure_logging
    from worker.outages.retry import stopping

    settings = get_settings()
    settings.require_database_url()
    settings.require_redis_url()
    configure_logging(settings.log_level, settings.log_format)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return settings
