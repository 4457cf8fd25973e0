"""The PACS: a result's documents, stored by C-STORE (PS3.4, annex B). A UID is the result's, so twice is once."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage, SecondaryCaptureImageStorage

from db.schema.vocabulary import Destination
from worker.errors import Code, Unavailable
from worker.reporting.result import StudyResult
from worker.sending.destination import Deliver, Parcel
from worker.sending.dicom_node import Caller, Node, checked

if TYPE_CHECKING:
    from pynetdicom.association import Association

SOP_CLASSES: Final = (Comprehensive3DSRStorage, SecondaryCaptureImageStorage)

Documents = Callable[[StudyResult], Sequence[Dataset]]
"""Makes what is to be stored of a result, the report first; the same result gives the same SOP Instance UIDs."""


@dataclass(frozen=True, slots=True)
class Pacs:
    """A Storage SCP."""

    node: Node
    caller: Caller
    documents: Documents
    name: Destination = Destination.PACS

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Hold one association for several results."""
        with self.caller.association(self.node, SOP_CLASSES) as association:
            yield lambda parcel: self._store(association, parcel)

    def _store(self, association: "Association", parcel: Parcel) -> str:
        documents = self.documents(parcel.result)
        for document in documents:
            store(association, document)
        return str(documents[0].SOPInstanceUID)


def store(association: "Association", document: Dataset) -> None:
    """Store one instance.

    Raises:
        StudyRefused: ``destination_refused``.
        Unavailable: ``destination_unavailable``.
    """
    try:
        answer = association.send_c_store(document)
    except ValueError:
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the document's SOP Class is not accepted there") from None
    except RuntimeError:
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the association has ended") from None
    checked("C-STORE", answer)
