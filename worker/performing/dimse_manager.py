"""A manager that speaks DIMSE: UPS Pull as its SCU (PS3.4, CC.2), over one association at a time."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pydicom import Dataset

from worker.errors import Code, StudyRefused, Unavailable
from worker.performing.manager import Answer, StepState, Worklist
from worker.performing.scheduled import Ours
from worker.sending.dicom_node import Caller, Node, checked
from worker.sending.work_item import UPS_PUSH

if TYPE_CHECKING:
    from pynetdicom.association import Association

UPS_PULL: Final = "1.2.840.10008.5.1.4.34.6.3"

MOST_READ: Final = 1000
"""Items of one answer that are looked at; the others are found once these are done."""

_CHANGE_STATE: Final = 1
"""Action Type of an N-ACTION (PS3.4, table CC.2.1-1)."""

_PENDING: Final = (0xFF00, 0xFF01)

_ANSWERS: Final[Mapping[int, Answer]] = {
    0x0000: Answer.DONE,
    0xB304: Answer.DONE,
    0xB306: Answer.DONE,
    0xC300: Answer.ENDED,
    0xC301: Answer.NOT_OURS,
    0xC302: Answer.IN_PROGRESS,
    0xC307: Answer.UNKNOWN,
    0x0112: Answer.UNKNOWN,
    0xC310: Answer.NOT_IN_PROGRESS,
}
"""Of PS3.4, tables CC.2.1-2 and CC.2.6-1, and No such SOP Instance (PS3.7, annex C)."""


@dataclass(frozen=True, slots=True)
class DimseManager:
    """A UPS Pull SCP."""

    node: Node
    caller: Caller

    @property
    def where(self) -> str:
        """Its AE title, host and port."""
        return str(self.node)

    def test(self) -> str:
        """Ask by C-ECHO, over an association that proposes UPS Pull."""
        return self.caller.echo(self.node, [UPS_PULL])

    @contextmanager
    def opened(self) -> Iterator[Worklist]:
        """Hold one association for several requests."""
        with self.caller.association(self.node, [UPS_PULL]) as association:
            yield _DimseWorklist(association)


@dataclass(frozen=True, slots=True)
class _DimseWorklist:
    association: "Association"

    def scheduled(self, ours: Ours) -> Sequence[Dataset]:
        found: list[Dataset] = []
        answers = _asked(lambda: list(self.association.send_c_find(ours.query(), UPS_PULL)))
        for answer, item in answers:
            if answer.get("Status") in _PENDING:
                found += [item] if item is not None and len(found) < MOST_READ else []
            else:
                _checked_search(answer)
        return found

    def change(self, uid: str, transaction_uid: str, state: StepState) -> Answer:
        wanted = Dataset()
        wanted.TransactionUID, wanted.ProcedureStepState = transaction_uid, state.value
        act = self.association.send_n_action
        return _answer("N-ACTION", lambda: act(wanted, _CHANGE_STATE, UPS_PUSH, uid, meta_uid=UPS_PULL))

    def update(self, uid: str, transaction_uid: str, said: Dataset) -> Answer:
        said.TransactionUID = transaction_uid
        put = self.association.send_n_set
        return _answer("N-SET", lambda: put(said, UPS_PUSH, uid, meta_uid=UPS_PULL))


def _checked_search(answer: Dataset) -> None:
    """Read the status of a search; one that is refused is of the settings there or here, which a person mends."""
    try:
        checked("C-FIND", answer)
    except StudyRefused as refused:
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, refused.reason) from None


def _answer(what: str, ask: Callable[[], tuple[Dataset, Dataset | None]]) -> Answer:
    answer, _ = _asked(ask)
    known = _ANSWERS.get(answer.get("Status", -1))
    if known is None:
        checked(what, answer)
    return known or Answer.DONE


def _asked(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except (RuntimeError, ValueError):
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the association has ended") from None
