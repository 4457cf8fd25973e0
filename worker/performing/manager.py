"""A worklist manager whose items we perform, whichever protocol it speaks."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from enum import Enum, StrEnum
from typing import Protocol

from pydicom import Dataset

from worker.performing.scheduled import Ours


class StepState(StrEnum):
    """A Procedure Step State that a performer asks for (PS3.4, CC.1.1)."""

    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


class Answer(Enum):
    """What a manager makes of a request (PS3.4, tables CC.2.1-2 and CC.2.6-1)."""

    DONE = "done"
    """It is so now, or was so before."""
    IN_PROGRESS = "in progress"
    """Somebody has claimed it."""
    NOT_OURS = "not ours"
    """It is in progress by another Transaction UID."""
    ENDED = "ended"
    """It is completed or canceled, and is not changed any more."""
    UNKNOWN = "unknown"
    """There is no such item."""
    NOT_IN_PROGRESS = "not in progress"
    """It is scheduled, as if nobody had claimed it."""


class Worklist(Protocol):
    """A manager's worklist, while it is open. Each method raises as `Manager.opened` does, and where it says so."""

    def scheduled(self, ours: Ours) -> Sequence[Dataset]:
        """Ask for items that are scheduled and ready; some of them may not be ours all the same."""

    def change(self, uid: str, transaction_uid: str, state: StepState) -> Answer:
        """Ask for another state of an item.

        Raises:
            StudyRefused: ``destination_refused``; the manager will never do so.
        """

    def update(self, uid: str, transaction_uid: str, said: Dataset) -> Answer:
        """Say something of an item that we hold.

        Raises:
            StudyRefused: ``destination_refused``; as `change`.
        """


class Manager(Protocol):
    """Who has the worklist."""

    @property
    def where(self) -> str:
        """Its address, without secrets; no other manager has it."""

    def opened(self) -> AbstractContextManager[Worklist]:
        """Open its worklist.

        Raises:
            Unavailable: ``destination_unavailable``; nobody answers there, or not as is needed.
        """

    def test(self) -> str:
        """Ask whether it is there; return what it answers, for a person. Raises as `opened`."""
