"""A PACS by DICOM: Query/Retrieve of the Study Root (PS3.4, annex C) as SCU: C-FIND, C-GET and C-MOVE.

An instance that is given is in memory until it is written, as it was sent; how much that is at most is said beforehand.
"""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import copyfile
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, Any, Final, cast

from worker.errors import Code, DlrError, StudyRefused, Unavailable
from worker.image_access import Pacs, PacsNode

if TYPE_CHECKING:
    from pynetdicom.association import Association
    from pynetdicom.dimse_primitives import C_STORE
    from pynetdicom.events import Event

FIND: Final = "1.2.840.10008.5.1.4.1.2.2.1"
MOVE: Final = "1.2.840.10008.5.1.4.1.2.2.2"
GET: Final = "1.2.840.10008.5.1.4.1.2.2.3"
"""Study Root Query/Retrieve Information Model (PS3.4, C.6.2)."""

CONNECT_S: Final = 10.0
"""How long a PACS may take to take a call, in seconds."""

SILENT_S: Final = 60.0
"""How long it may then be silent, in seconds."""

SENT_S: Final = 20.0
"""How long what a PACS says that it sent may be on its way, in seconds."""

LOOK_S: Final = 0.2

MOST_INSTANCE_BYTES: Final = 256 << 20
"""The largest instance that is taken by C-GET."""

MOST_FOUND: Final = 10_000
"""Answers to a search; a study has fewer instances."""

MOST_CONTEXTS: Final = 128
"""Presentation contexts of an association (PS3.8, 9.3.2.2)."""

DECODED: Final = (
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.203",
)
"""The transfer syntaxes whose pixels are decoded, the most frequent first."""

_PENDING: Final = (0xFF00, 0xFF01)
_LATER: Final = (0x0110, 0x0118, 0x0122, 0x0124, 0x0213)
_UNKNOWN_DESTINATION: Final = 0xA801
_NONE_GIVEN: Final = 0xA702
_TAKEN, _NOT_TAKEN = 0x0000, 0xA701


@dataclass(slots=True)
class Given:
    """What is given over an association: into a folder, and no more than is allowed.

    Attributes:
        files: by SOP Instance UID.
        too_large: there was more.
        fault: why one could not be written.
    """

    folder: Path
    max_bytes: int
    files: dict[str, Path] = field(default_factory=dict)
    too_large: bool = False
    fault: OSError | None = None
    _bytes: int = 0
    _of_instance: int = 0

    def count(self, event: "Event") -> None:
        """Take note of what has come; end an association that brings too much."""
        self._bytes += len(event.data)
        self._of_instance += len(event.data)
        if self._bytes > self.max_bytes or self._of_instance > MOST_INSTANCE_BYTES:
            self.too_large = True
            with suppress(OSError):  # ended here, in the thread that reads it; who waits for an answer hears so at once
                event.assoc.dul.socket.socket.shutdown(SHUT_RDWR)  # type: ignore[union-attr]

    def store(self, event: "Event") -> int:
        """Write an instance as it was sent; return the status for the PACS."""
        self._of_instance = 0
        file = self.folder / f"{len(self.files)}.dcm"
        try:
            # Where this process receives too, pynetdicom keeps what comes in a file of its own.
            in_file = cast("C_STORE", event.request)._dataset_path  # noqa: SLF001  `dataset_path` says that it is there
            if in_file is None:
                file.write_bytes(event.encoded_dataset())
            else:
                copyfile(event.dataset_path, file)
        except OSError as fault:
            self.fault = fault
            return _NOT_TAKEN
        self.files[str(cast("C_STORE", event.request).AffectedSOPInstanceUID)] = file
        return _TAKEN


@dataclass(frozen=True, slots=True)
class Call:
    """Calls a PACS, until a time.

    Attributes:
        node: the PACS.
        pacs: who calls, and the limits.
        deadline: monotonic, in seconds.
    """

    node: PacsNode
    pacs: Pacs
    deadline: float

    def find(self, level: str, asked: Mapping[str, str], wanted: Sequence[str]) -> list[Any]:
        """Search (C-FIND); return the identifiers.

        Args:
            level: STUDY, SERIES or IMAGE.
            asked: keys by their keywords, each a single value.
            wanted: keywords of what is to be returned too.

        Raises:
            StudyRefused: ``pacs_failed``.
            Unavailable: ``pacs_unavailable``.
        """
        from pydicom import Dataset
        from pynetdicom import build_context

        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for keyword in wanted:
            setattr(identifier, keyword, "")
        for keyword, value in asked.items():
            setattr(identifier, keyword, value)
        found: list[Any] = []
        with self._association([build_context(FIND)]) as association:
            for answer, one in association.send_c_find(identifier, FIND):
                self.left_s()
                if _status_of(answer) in _PENDING and one is not None:
                    found.append(one)
                    if len(found) > MOST_FOUND:
                        raise StudyRefused(Code.PACS_FAILED, f"the PACS found more than {MOST_FOUND} answers")
                else:
                    _checked("C-FIND", answer)
        return found

    def get(
        self, study: str, series: str, instances: Sequence[str], sop_classes: Collection[str], given: Given
    ) -> None:
        """Have instances of a series given (C-GET).

        Raises:
            StudyRefused: ``pacs_failed``, ``fetch_too_large``.
            Unavailable: ``pacs_unavailable``, ``storage_unavailable``.
        """
        from pydicom.uid import UID
        from pynetdicom import ALL_TRANSFER_SYNTAXES, build_context, evt

        # One for each syntax, so that an instance can be given as it is stored; those that are decoded go first.
        syntaxes = [*DECODED, *(one for one in ALL_TRANSFER_SYNTAXES if one not in DECODED)]
        of_each = (MOST_CONTEXTS - 1) // len(sop_classes)
        contexts = [build_context(sop, syntax) for sop in sop_classes for syntax in syntaxes[:of_each]]
        contexts.append(build_context(GET))
        handlers = [(evt.EVT_C_STORE, given.store), (evt.EVT_DATA_RECV, given.count)]
        identifier = _of_series(study, series, [UID(one) for one in instances])
        try:
            with self._association(contexts, handlers, sop_classes) as association:
                if not any(one.abstract_syntax == GET for one in association.accepted_contexts):
                    reason = "the PACS takes no C-GET of the Study Root: give its `move_to`"
                    raise StudyRefused(Code.PACS_FAILED, reason)
                for answer, _ in association.send_c_get(identifier, GET):
                    self.left_s()
                    if _status_of(answer) == _NONE_GIVEN:
                        reason = "the PACS could give none of the instances, perhaps for want of a transfer syntax"
                        raise StudyRefused(Code.PACS_FAILED, reason)
                    if _status_of(answer) not in _PENDING:
                        _checked("C-GET", answer)
        except Unavailable:
            if given.too_large:
                raise StudyRefused(Code.FETCH_TOO_LARGE) from None
            raise
        if given.fault is not None:
            raise Unavailable(Code.STORAGE_UNAVAILABLE, "an instance could not be written to the TMPDIR")

    def move(self, study: str, series: str, instances: Sequence[str], destination: str) -> None:
        """Have instances of a series sent to another AE (C-MOVE).

        Raises:
            StudyRefused: ``pacs_failed``.
            Unavailable: ``pacs_unavailable``.
        """
        from pydicom.uid import UID
        from pynetdicom import build_context

        identifier = _of_series(study, series, [UID(one) for one in instances])
        with self._association([build_context(MOVE)]) as association:
            for answer, _ in association.send_c_move(identifier, destination, MOVE):
                self.left_s()
                if _status_of(answer) == _UNKNOWN_DESTINATION:
                    reason = "the PACS does not know the AE title to which it is to send: configure `move_to` there"
                    raise StudyRefused(Code.PACS_FAILED, reason)
                if _status_of(answer) not in _PENDING:
                    _checked("C-MOVE", answer)

    def wait_for(self, places: Mapping[str, Path]) -> dict[str, Path]:
        """Wait until files are there that the PACS sent, for `SENT_S` at most; return those that are."""
        until = time.monotonic() + min(SENT_S, self.left_s())
        while not all(path.exists() for path in places.values()) and time.monotonic() < until:
            time.sleep(LOOK_S)
        return {uid: path for uid, path in places.items() if path.exists()}

    def left_s(self) -> float:
        """Return how much time is left, in seconds.

        Raises:
            Unavailable: ``pacs_unavailable``; none is.
        """
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise Unavailable(Code.PACS_UNAVAILABLE, "the study took longer than DLR_FETCH_TIMEOUT_S")
        return left_s

    @contextmanager
    def _association(
        self, contexts: Sequence[Any], handlers: Sequence[Any] = (), given: Collection[str] = ()
    ) -> Iterator["Association"]:
        from pynetdicom import AE, _config, build_role, evt

        _config.LOG_HANDLER_LEVEL = "none"
        entity = AE(ae_title=self.pacs.ae_title)
        entity.connection_timeout = min(CONNECT_S, self.left_s())
        silent_s = min(SILENT_S, self.left_s())
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = silent_s

        def bound(event: "Event") -> None:
            event.assoc.dul.socket.socket.settimeout(silent_s)  # type: ignore[union-attr]

        node = self.node
        try:
            association = entity.associate(
                node.host,
                node.port,
                list(contexts),
                ae_title=node.ae_title,
                ext_neg=[build_role(sop_class, scp_role=True) for sop_class in given],
                tls_args=None if node.tls is None else (node.tls, node.host),
                evt_handlers=[(evt.EVT_CONN_OPEN, bound), *handlers],
            )
        except (OSError, RuntimeError):
            raise Unavailable(Code.PACS_UNAVAILABLE, "the address of the PACS cannot be reached") from None
        if not association.is_established:
            rejected = "the PACS rejected the association: are both AE titles configured there?"
            away = "the PACS refused the connection or broke it off (TLS?)"
            raise Unavailable(Code.PACS_UNAVAILABLE, rejected if association.is_rejected else away)
        try:
            yield association
        except DlrError:
            association.abort()
            raise
        except (OSError, RuntimeError, ValueError, AttributeError):  # a context that was not taken, or a broken answer
            association.abort()
            raise StudyRefused(Code.PACS_FAILED) from None
        else:
            association.release()


def _of_series(study: str, series: str, instances: Sequence[Any]) -> Any:
    from pydicom import Dataset

    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = study
    identifier.SeriesInstanceUID = series
    identifier.SOPInstanceUID = list(instances)
    return identifier


def _status_of(answer: Any) -> int | None:
    return int(answer.Status) if "Status" in answer else None


def _checked(what: str, answer: Any) -> None:
    """Read the last status of a service (PS3.4, tables C.4-1, C.4-2 and C.4-3).

    Raises:
        StudyRefused: ``pacs_failed``; for good.
        Unavailable: ``pacs_unavailable``; for now.
    """
    status = _status_of(answer)
    if status is None:
        raise Unavailable(Code.PACS_UNAVAILABLE, f"no answer to the {what}")
    if status == 0 or status >> 12 == 0xB:  # with a warning, some were not given: which, the caller sees
        return
    if status >> 8 == 0xA7 or status in _LATER:
        raise Unavailable(Code.PACS_UNAVAILABLE, f"the {what} was not done, with status 0x{status:04X}")
    raise StudyRefused(Code.PACS_FAILED, f"the {what} was refused with status 0x{status:04X}")
