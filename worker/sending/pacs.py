"""The PACS: a result's documents, stored by C-STORE (PS3.4, annex B). A UID is the result's, so twice is once."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Final

from pydicom import Dataset, dcmread
from pydicom.uid import UID, Comprehensive3DSRStorage, EncapsulatedPDFStorage, SecondaryCaptureImageStorage

from worker.errors import Code, Unavailable
from worker.intake.commitment_report import PUSH_MODEL
from worker.reporting.documents import Document, Kind
from worker.sending.commitment import Commitment
from worker.sending.destination import Deliver, Documents, Parcel
from worker.sending.dicom_node import Caller, Node, checked

if TYPE_CHECKING:
    from pynetdicom.association import Association

SOP_CLASSES: Final[Mapping[Kind, UID]] = {
    Kind.SR: Comprehensive3DSRStorage,
    Kind.SC: SecondaryCaptureImageStorage,
    Kind.PDF: EncapsulatedPDFStorage,
}
"""Of each kind of document that is an instance."""


@dataclass(frozen=True, slots=True)
class Pacs:
    """A Storage SCP.

    Attributes:
        kinds: of the documents that are stored, the report first.
        commitment: asks whether they are kept, before a delivery is done; ``None``: that they were stored is enough.
    """

    node: Node
    caller: Caller
    documents: Documents
    kinds: Collection[Kind] = (Kind.SR,)
    name: str = "pacs"
    commitment: Commitment | None = None

    @property
    def where(self) -> str:
        """Its AE title, host and port."""
        return str(self.node)

    def test(self) -> str:
        """Ask by C-ECHO, over an association that proposes what would be stored."""
        needed = () if self.commitment is None else (PUSH_MODEL,)
        return self.caller.echo(self.node, self._classes, needed)

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Hold one association for several results."""
        with self.caller.association(self.node, self._classes) as association:
            yield lambda parcel: self._store(association, parcel)

    @property
    def _classes(self) -> list[UID]:
        return [SOP_CLASSES[kind] for kind in self.kinds]

    def _store(self, association: "Association", parcel: Parcel) -> str:
        if self.commitment is None or parcel.commitment is None:
            return str(self._stored(association, parcel)[0].SOPInstanceUID)
        kept = self.commitment.settled(parcel.commitment)
        return kept or self.commitment.ask(self._stored(association, parcel), parcel.commitment)

    def _stored(self, association: "Association", parcel: Parcel) -> list[Dataset]:
        instances = instances_of(self.documents(parcel.result, self.kinds))
        for instance in instances:
            store(association, instance)
        return instances


def instances_of(documents: Iterable[Document]) -> list[Dataset]:
    """Return documents that are DICOM as what they are."""
    return [dcmread(BytesIO(document.content)) for document in documents]


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
