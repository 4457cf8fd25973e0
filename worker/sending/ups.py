"""A worklist manager: a work item for each result, created by N-CREATE (UPS Push; PS3.4, annex CC)."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pydicom import Dataset

from worker.errors import Code, StudyRefused, Unavailable
from worker.sending.destination import Deliver, Parcel, Sources
from worker.sending.dicom_node import Caller, Node, checked
from worker.sending.work_item import UPS_PUSH, Worklist, work_item, work_item_uid

if TYPE_CHECKING:
    from pynetdicom.association import Association


_REQUEST_CANCEL: Final = 2
"""Action Type of an N-ACTION (PS3.4, table CC.2.2-1)."""


@dataclass(frozen=True, slots=True)
class Ups:
    """A UPS manager."""

    node: Node
    caller: Caller
    worklist: Worklist
    sources: Sources
    name: str = "ups"

    @property
    def where(self) -> str:
        """Its AE title, host and port."""
        return str(self.node)

    def test(self) -> str:
        """Ask by C-ECHO, over an association that proposes UPS Push."""
        return self.caller.echo(self.node, [UPS_PUSH])

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Hold one association for several results."""
        with self.caller.association(self.node, [UPS_PUSH]) as association:
            yield lambda parcel: self._deliver(association, parcel)

    def _deliver(self, association: "Association", parcel: Parcel) -> str:
        """Create the work item, and then take the one that it replaces off the list: no study is ever on none."""
        uid = work_item_uid(parcel.result.endings[-1])
        with self.sources(parcel.result) as source:
            item = work_item(parcel.result, source, self.worklist, parcel.replaces)
        try:
            answer, _ = association.send_n_create(item, UPS_PUSH, uid)
            checked("N-CREATE", answer)
            if parcel.replaces is not None:
                self._cancel(association, work_item_uid(parcel.replaces))
        except RuntimeError:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the association has ended") from None
        return uid

    def _cancel(self, association: "Association", uid: str) -> None:
        """Ask that a work item be canceled. One that is done, at work or gone stays as it is."""
        why = Dataset()
        why.ReasonForCancellation = "The study has a new result with its own work item"
        answer, _ = association.send_n_action(why, _REQUEST_CANCEL, UPS_PUSH, uid)
        with suppress(StudyRefused):
            checked("N-ACTION", answer)
