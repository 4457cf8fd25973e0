"""``dlr receive``: a DICOM Storage SCP (PS3.4, annex B). What it answered "success" to is on the disk.

An instance is kept as it was sent; nothing is coerced. Its study is closed, and handed to the ledger, once a report
says where its lesions are and all their images and segmentations have come, or else after a quiet time.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from worker.errors import Code, Refused, SetupRefused, StudyRefused, Unavailable
from worker.image_access import Limits
from worker.imaging.identity import read_identity, study_named_in
from worker.imaging.storage_classes import IMAGE_CLASSES, UNKNOWN_CLASSES
from worker.intake.accept_study import Intake
from worker.intake.commitment_report import PUSH_MODEL, take_report
from worker.intake.inbox import Inbox
from worker.intake.incoming_instance import IncomingInstance
from worker.intake.job_builder import BuiltJob, build_job
from worker.intake.lesion_sources import MARKING_CLASSES, Instance
from worker.intake.receiver_config import VERIFICATION, ReceiverConfig
from worker.intake.submit import Submission, submit_one
from worker.outages.retry import AWAY

if TYPE_CHECKING:
    from pynetdicom import AE
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event
    from pynetdicom.transport import ThreadedAssociationServer

logger = logging.getLogger(__name__)

SOURCE: Final = "receive"
LOOK_S: Final = 0.2

SUCCESS: Final = 0x0000
OUT_OF_RESOURCES: Final = 0xA700
DOES_NOT_MATCH: Final = 0xA900
CANNOT_UNDERSTAND: Final = 0xC000
"""Status of a C-STORE response (PS3.4, table B.2-1)."""

_GONE: Final = (Code.FILE_NOT_FOUND, Code.FILE_NOT_READABLE)
"""What reading says of a file that is the inbox's own, where its disk has gone meanwhile."""


@dataclass
class Receiver:
    """Keeps instances, and closes studies.

    Attributes:
        inbox: held by this process.
        intake: the ledger's and the queue's.
        limits: the largest file.
        quiet_s: seconds without a new instance after which a study is closed as it is.
        retry_while_away: does work again while a server is away; raises when the process ends.
        asked_as: the AE title with which an intake worker asks for what it fetches; ``None``: none does.
    """

    inbox: Inbox
    intake: Intake
    limits: Limits
    quiet_s: float
    retry_while_away: Callable[[Callable[[], None]], None]
    asked_as: str | None = None

    def store(self, path: Path, sop_instance_uid: str, asked_by: str | None = None) -> int:
        """Keep one instance that has arrived; return the status for its sender.

        Args:
            path: the whole file, in the inbox's folder for what arrives.
            sop_instance_uid: which instance the sender says it is.
            asked_by: who had it sent (C-MOVE). Of what an intake worker asked for, that makes the study.
        """
        try:
            return self._store(path, sop_instance_uid, is_asked_for=asked_by is not None and asked_by == self.asked_as)
        except Refused as refused:
            if refused.code not in _GONE:
                logger.warning("an instance was refused: %s", refused.code)
                return CANNOT_UNDERSTAND
            return not_kept(refused.reason)
        except Unavailable as away:
            return not_kept(away.reason)
        except OSError as error:
            return not_kept(error.strerror)

    def _store(self, path: Path, sop_instance_uid: str, *, is_asked_for: bool) -> int:
        identity = read_identity(path, self.limits)
        if not identity.study_instance_uid or identity.sop_instance_uid != sop_instance_uid:
            logger.warning("an instance was refused: its UIDs are missing, or differ from those in the request")
            return DOES_NOT_MATCH
        told = identity.study_instance_uid, identity.sop_instance_uid
        if is_asked_for:
            self.inbox.keep(path, *told, opens=False)
            return SUCCESS
        key = self.inbox.keep(path, *told)
        if identity.sop_class_uid in MARKING_CLASSES:
            self.inbox.complete(key)
        return SUCCESS

    def run(self, stopped: threading.Event) -> None:
        """Close studies until ``stopped``."""
        while not stopped.wait(LOOK_S):
            self.retry_while_away(self.look_at_all)

    def look_at_all(self) -> None:
        """Close the studies that are due. One whose files cannot be read for now keeps no other waiting.

        Raises:
            Unavailable: ``storage_unavailable``, or ``internal_error`` of a study that could not even be refused; of
                one study or more, once the others have had their turn. They stay open.
        """
        away: Unavailable | None = None
        for key in self.inbox.due(self.quiet_s):
            try:
                self.look(key)
            except Unavailable as error:
                away = error
            except AWAY:
                raise
            except Exception as error:
                logger.error("a defect of this software", exc_info=error)
                away = Unavailable(Code.INTERNAL_ERROR)
        if away is not None:
            raise away

    def look(self, key: str) -> None:
        """Close a study, if it is whole, or if nothing has come to it for the quiet time.

        Raises:
            Unavailable: ``storage_unavailable``. The study stays open, as it does when a server is away.
        """
        try:
            with self.inbox.study(key) as files:
                self._look(key, files)
        except OSError:
            raise Unavailable(Code.STORAGE_UNAVAILABLE) from None

    def _look(self, key: str, files: Sequence[Path]) -> None:
        if files:
            found = self._built_job(key, files)
            if found.refused is not None and found.refused.code in _GONE:
                raise Unavailable(Code.STORAGE_UNAVAILABLE)
            if not found.is_whole and not self.inbox.is_quiet(key, self.quiet_s):
                return
            self._hand_in(Submission("", found.job, found.refused, former=found.former))
        self.inbox.close(key)

    def _built_job(self, key: str, files: Sequence[Path]) -> BuiltJob:
        """Look at a study's files; whatever is wrong with one study is not the end of the others."""
        try:
            instances = [Instance(path, read_identity(path, self.limits)) for path in files]
            return build_job(instances, self.inbox.place, self.limits)
        except Refused as refused:
            why = refused
        except (Unavailable, OSError):
            raise
        except Exception as error:
            logger.error("a defect of this software", exc_info=error)
            why = StudyRefused(Code.INTERNAL_ERROR)
        job: dict[str, Any] = {"received": self.inbox.place(self.inbox.folder(key))}
        for file in files:
            job = study_named_in(file, self.limits) | job
        return BuiltJob(job, is_whole=False, refused=why)

    def _hand_in(self, submission: Submission) -> None:
        handed = submit_one(self.intake, submission, SOURCE)
        if handed.refused is None:
            logger.info("a study that arrived is %s: %s", handed.state, handed.study_id)
        else:
            logger.warning("a study that arrived was refused: %s", handed.refused.code)
            self.intake.retire_earlier(handed.study_id, SOURCE)


@contextmanager
def listening(receiver: Receiver, reception: ReceiverConfig) -> Iterator[tuple[str, int]]:
    """Answer associations until the context ends; give the address and port.

    Raises:
        SetupRefused: ``setting_invalid``; the port is taken, or is not ours to take.
    """
    from pynetdicom import evt

    entity = _entity(reception)

    def store(event: "Event") -> int:
        request = cast("C_STORE", event.request)
        file = _file_of(request)
        if file is None:  # a request without a data set
            return CANNOT_UNDERSTAND
        if file.fault is not None:
            return not_kept(file.fault.strerror)
        asked_by = request.MoveOriginatorApplicationEntityTitle
        return receiver.store(file.path, str(request.AffectedSOPInstanceUID), asked_by and str(asked_by).strip())

    handlers: list[Any] = [
        (evt.EVT_C_STORE, store),
        (evt.EVT_C_ECHO, lambda _event: SUCCESS),
        (evt.EVT_N_EVENT_REPORT, lambda event: take_report(event, receiver.intake.sessions)),
        (evt.EVT_CONN_CLOSE, _discard_unserved),
        (
            evt.EVT_REJECTED,
            lambda _event: logger.warning("an association was rejected: the calling or the called AE title is unknown"),
        ),
    ]
    place = reception.address, reception.port
    with _written_into(receiver.inbox.arriving):
        try:
            started = entity.start_server(place, block=False, evt_handlers=handlers, ssl_context=reception.tls)
            server = cast("ThreadedAssociationServer", started)
        except OSError as error:
            reason = f"DLR_RECEIVE_PORT: {reception.address}:{reception.port} cannot be used: {error.strerror}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        try:
            host, port, *_ = server.server_address
            yield str(host), int(port)
        finally:
            server.shutdown()


def not_kept(why: str | None) -> int:
    """Log that the storage did not take an instance; return the status with which its sender keeps it, and tries later.

    Args:
        why: a sentence without values.
    """
    logger.error(
        "an instance could not be stored; its sender has to send it again: %s (%s)", Code.STORAGE_UNAVAILABLE, why
    )
    return OUT_OF_RESOURCES


@contextmanager
def _written_into(folder: Path) -> Iterator[None]:
    """Let pynetdicom write what arrives on the inbox's own disk, so that an instance is moved and not copied."""
    from pynetdicom import dimse_messages

    names = vars(dimse_messages)
    former = names["NamedTemporaryFile"]
    names["NamedTemporaryFile"] = lambda **_: IncomingInstance(folder)
    try:
        yield
    finally:
        names["NamedTemporaryFile"] = former


def _discard_unserved(event: "Event") -> None:
    """Remove what came over a connection that is gone before it was answered: halves, and what nobody looked at."""
    dimse = event.assoc.dimse
    for request in (dimse.message, *(request for _, request in tuple(dimse.msg_queue.queue))):
        file = _file_of(request)
        if file is not None:
            file.discard()


def _file_of(request: object) -> IncomingInstance | None:
    """Return what pynetdicom writes a request's data set into, under one name while it comes and another after."""
    file = getattr(request, "_data_set_file", None) or getattr(request, "_dataset_file", None)
    return file if isinstance(file, IncomingInstance) else None


def _entity(reception: ReceiverConfig) -> "AE":
    from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, _config, register_uid
    from pynetdicom.service_class import StorageServiceClass

    # Written to a file as it comes, and never held in memory; nothing of it is logged.
    _config.STORE_RECV_CHUNKED_DATASET = True
    _config.LOG_HANDLER_LEVEL = "none"
    entity = AE(ae_title=reception.ae_title)
    entity.require_called_aet = True
    entity.require_calling_aet = list(reception.callers)
    entity.maximum_associations = reception.associations
    for uid, keyword in UNKNOWN_CLASSES.items():
        register_uid(uid, keyword, StorageServiceClass)
    for sop_class in (*IMAGE_CLASSES, *MARKING_CLASSES):
        entity.add_supported_context(sop_class, ALL_TRANSFER_SYNTAXES)
    entity.add_supported_context(VERIFICATION)
    # Who calls is its SCP, and says so by role selection (PS3.7, annex D.3.3.4) or not at all.
    entity.add_supported_context(PUSH_MODEL, scu_role=True, scp_role=True)
    return entity
