"""A worklist manager: a work item for each result, created by N-CREATE (UPS Push; PS3.4, annex CC)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from db.vocabulary import Destination
from worker.errors import Code, Unavailable
from worker.reporting.result import StudyResult
from worker.reporting.source import Source
from worker.sending.destination import Deliver, Parcel
from worker.sending.node import Caller, Node, checked
from worker.sending.work_item import Worklist, work_item, work_item_uid

if TYPE_CHECKING:
    from pynetdicom.association import Association

UPS_PUSH: Final = "1.2.840.10008.5.1.4.34.6.1"
"""The SOP Class of every work item (PS3.4, CC.3.1)."""


@dataclass(frozen=True, slots=True)
class Ups:
    """A UPS manager."""

    node: Node
    caller: Caller
    worklist: Worklist
    source_of: Callable[[StudyResult], Source]
    name: Destination = Destination.UPS

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Hold one association for several results."""
        with self.caller.association(self.node, [UPS_PUSH]) as association:
            yield lambda parcel: self._create(association, parcel)

    def _create(self, association: "Association", parcel: Parcel) -> str:
        uid = work_item_uid(parcel.result)
        item = work_item(parcel.result, self.source_of(parcel.result), self.worklist)
        try:
            answer, _ = association.send_n_create(item, UPS_PUSH, uid)
        except RuntimeError:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the association has ended") from None
        checked("N-CREATE", answer)
        return uid
