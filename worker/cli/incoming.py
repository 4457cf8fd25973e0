"""``dlr receive`` and ``dlr watch``: studies that come by themselves, by DICOM or into a folder."""

import ipaddress
import signal
import ssl
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import stderr
from worker.errors import Code, SetupRefused
from worker.intake.inbox import Inbox
from worker.intake.receiver import Receiver, Reception, listening
from worker.intake.watch import DropFolder, Watcher
from worker.settings import Settings, get_settings


def receive() -> None:
    """Receive studies by DICOM: a Storage SCP, which keeps what arrives and queues each study.

    Where the lesions are, and their BI-RADS categories, is read from the study's DICOM SR (TID 1500), else from its
    segmentations, else from its presentation states. A study whose report, segmentations and images have come is
    queued at once, any other after DLR_RECEIVE_QUIET_S; one without lesions ends in `dlr failed list`, until they come.
    SIGTERM or Ctrl-C stops it; nothing that was answered "success" is lost.
    """
    from worker.patience import Stopping, patiently, stopping
    from worker.runtime import intake

    settings = _ready()
    reception = reception_of(settings)
    with Inbox.held(settings.storage_root) as inbox:
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
    from worker.patience import Stopping, patiently, stopping
    from worker.runtime import intake

    settings = _ready()
    with suppress(Stopping), DropFolder.watched(folder, settings.storage_root) as drop:
        stderr.print(f"{drop.root} is watched", markup=False, highlight=False)
        Watcher(drop, intake(), settings.limits, settle, patiently).run(stopping)


def _ready() -> Settings:
    """Let this process run until it is told to end, with logs as a worker has them."""
    from worker.logs import configure_logging
    from worker.patience import stopping

    settings = get_settings()
    settings.require_database_url()
    settings.require_redis_url()
    configure_logging(settings.log_level, settings.log_format)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return settings


def reception_of(settings: Settings) -> Reception:
    """Read how to listen from the settings.

    Raises:
        SetupRefused: ``setting_invalid``; the settings contradict each other, or pynetdicom is not installed.
    """
    if find_spec("pynetdicom") is None or find_spec("highdicom") is None:
        raise SetupRefused(Code.SETTING_INVALID, "`dlr receive` needs the extra: pip install 'dlr-worker[dicom]'")
    callers = tuple(name.strip() for name in settings.receive_callers.split(",") if name.strip())
    if not callers and not _is_this_machine(settings.receive_address):
        reason = "DLR_RECEIVE_CALLERS: beyond this machine, say which AE titles may send (DLR_RECEIVE_ADDRESS)"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return Reception(
        settings.receive_address,
        settings.receive_port,
        settings.receive_ae_title,
        callers,
        settings.receive_associations,
        _tls(settings),
    )


def _is_this_machine(address: str) -> bool:
    try:
        return address == "localhost" or ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _tls(settings: Settings) -> ssl.SSLContext | None:
    certificate, key, ca = settings.receive_certificate, settings.receive_key, settings.receive_ca
    if certificate is None or key is None:
        if (certificate, key, ca) != (None, None, None):
            reason = "DLR_RECEIVE_CERTIFICATE and DLR_RECEIVE_KEY are set together, and DLR_RECEIVE_CA with them"
            raise SetupRefused(Code.SETTING_INVALID, reason)
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(certificate, key)
        if ca is not None:
            context.load_verify_locations(ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except OSError:
        reason = "DLR_RECEIVE_CERTIFICATE, DLR_RECEIVE_KEY or DLR_RECEIVE_CA can not be read, or do not fit each other"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return context
