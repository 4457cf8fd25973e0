"""A DICOMweb server: a result's documents, stored by STOW-RS (PS3.18, 10.5). A UID is the result's: twice is once."""

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from pydicom.uid import UID

from worker.errors import Code, DlrError, StudyRefused, Unavailable
from worker.reporting.documents import Document, Kind
from worker.sending.destination import Deferred, Deliver, Documents, Parcel
from worker.sending.dicom_node import Fate, fate_of
from worker.sending.http_server import Answer, HttpServer, fault_of
from worker.sending.pacs import instances_of

if TYPE_CHECKING:
    from requests import Session

_ACCEPT: Final = "application/dicom+json"
_FAILED: Final = "00081198"
_SOP_CLASS: Final = "00081150"
_FAILURE_REASON: Final = "00081197"
_STORED: Final = (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT)
_UNKNOWN: Final = 0x0110


@dataclass(frozen=True, slots=True)
class Stow:
    """A STOW-RS origin server."""

    name: str
    server: HttpServer
    documents: Documents
    kinds: Collection[Kind]

    @property
    def where(self) -> str:
        """Its URL."""
        return self.server.url

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Keep one connection for several results."""
        with self.server.session() as session:
            yield lambda parcel: self._store(session, parcel)

    def test(self) -> str:
        """Ask by a search for one study at most (QIDO-RS), and where that is not offered, by OPTIONS."""
        with self.server.session() as session:
            answer = self.server.ask(
                session, "GET", "/studies?limit=1&StudyInstanceUID=2.25.0", headers={"Accept": _ACCEPT}
            )
            if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED):
                answer = self.server.ask(session, "OPTIONS", "/studies")
        if answer.status not in _STORED:
            raise fault_of(answer)
        return f"answers HTTP {answer.status}"

    def _store(self, session: "Session", parcel: Parcel) -> str:
        documents = self.documents(parcel.result, self.kinds)
        boundary = f"dlr-{uuid4().hex}"
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Accept": _ACCEPT,
        }
        answer = self.server.ask(session, "POST", "/studies", data=multipart(documents, boundary), headers=headers)
        check_stored(answer)
        return str(instances_of(documents[:1])[0].SOPInstanceUID)


def multipart(documents: Sequence[Document], boundary: str) -> bytes:
    """Return instances as parts of a multipart message (RFC 2387)."""
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    parts = b"".join(head + document.content + b"\r\n" for document in documents)
    return parts + f"--{boundary}--\r\n".encode()


def check_stored(answer: Answer) -> None:
    """Read an answer to a store request: its status, and in its data set which instances failed and why.

    Raises:
        StudyRefused: ``destination_refused``; one is refused for good.
        Unavailable: ``destination_unavailable``; the server has no room, or it is no STOW-RS server that answers.
        Deferred: one failed for a reason that may pass.
    """
    if answer.status not in (*_STORED, HTTPStatus.CONFLICT):
        raise fault_of(answer)
    failed = _failed(answer)
    if failed:
        raise _worst(failed)
    if answer.status == HTTPStatus.CONFLICT:
        raise fault_of(answer)


def _failed(answer: Answer) -> list[tuple[str, int]]:
    """Return the SOP Class and the Failure Reason of each instance that was not stored, and is not there already."""
    if not answer.body.strip():
        return []
    try:
        content = json.loads(answer.body)
        content = content[0] if isinstance(content, list) else content
        items = content.get(_FAILED, {}).get("Value", [])
        found = [(str(_value(item, _SOP_CLASS, "")), int(_value(item, _FAILURE_REASON, _UNKNOWN))) for item in items]
    except (ValueError, AttributeError, IndexError, TypeError, RecursionError):
        reason = "the server's answer is no DICOM JSON: is the URL that of its DICOMweb service?"
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, reason) from None
    return [(sop_class, reason) for sop_class, reason in found if fate_of(reason) is not Fate.THERE]


def _value(item: Any, tag: str, default: Any) -> Any:
    return next(iter(item.get(tag, {}).get("Value", [])), default)


def _worst(failed: Sequence[tuple[str, int]]) -> DlrError:
    said = ", ".join(f"{_name(sop_class)} with 0x{reason:04X}" for sop_class, reason in failed)
    reasons = [reason for _, reason in failed]
    if any(fate_of(reason) is Fate.REFUSED for reason in reasons):
        return StudyRefused(Code.DESTINATION_REFUSED, f"not stored: {said}")
    if any(reason >> 8 == 0xA7 for reason in reasons):
        return Unavailable(Code.DESTINATION_UNAVAILABLE, f"not stored, without room: {said}")
    return Deferred(f"not stored for now: {said}")


def _name(sop_class: str) -> str:
    """Name a SOP Class of ours; a server may write anything else."""
    uid = UID(sop_class)
    return uid.name if uid.name != uid else "an instance"
