"""Where results are delivered to: what every destination is to a `Sender`."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import Code, Unavailable
from worker.reporting.documents import Document, Kind
from worker.reporting.result import Ending, StudyResult
from worker.reporting.source_study import Source
from worker.sending.commitment_record import CommitmentRecord
from worker.sending.terms import Terms


class Deferred(Unavailable):
    """A destination that is there asks for one result to be sent later; those behind it go on.

    Attributes:
        refused_as: with which code it is refused after so many times.
    """

    def __init__(
        self, reason: str, code: Code = Code.DESTINATION_DEFERRED, refused_as: Code = Code.DESTINATION_REFUSED
    ) -> None:
        super().__init__(code, reason)
        self.refused_as = refused_as


class Awaited(Unavailable):
    """A destination has a result, and has yet to report that it keeps it; it is waited for, in seconds."""

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(Code.COMMITMENT_AWAITED, reason)
        self.wait_s = wait_s


class Busy(Unavailable):
    """A destination asks for nothing to be sent for a while, in seconds."""

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(Code.DESTINATION_UNAVAILABLE, reason)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Parcel:
    """A result to deliver.

    Attributes:
        delivery_id: the same however often it is tried.
        replaces: the result of the study that the destination has already, if it has one.
        commitment: what is on record of its storage commitment.
    """

    delivery_id: int
    result: StudyResult
    replaces: Ending | None = None
    commitment: CommitmentRecord | None = None


Deliver = Callable[[Parcel], str | None]
"""Delivers a result; returns the SOP Instance UID of what was made of it, where there is one.

Delivering it again changes nothing at the destination. Raises ``Refused``: it will never be taken;
``Unavailable``: not now; ``Deferred``: this one not now."""


Sources = Callable[[StudyResult], AbstractContextManager[Source]]
"""Has a study's images at hand, for as long as something is made of them."""

Documents = Callable[[StudyResult, Collection[Kind]], list[Document]]
"""Makes documents of a result, the kinds in their order; the same result gives the same ones."""


class Opens(Protocol):
    """A destination that a sender delivers to."""

    @property
    def name(self) -> str:
        """Which one it is."""

    @property
    def where(self) -> str:
        """Its address, without secrets, for a person."""

    def opened(self) -> AbstractContextManager[Deliver]:
        """Open what several deliveries can go through, one after the other; made to be used by one thread.

        Raises:
            Unavailable: ``destination_unavailable``; nobody answers there, or not as is needed.
        """

    def test(self) -> str:
        """Ask whether it would take results, without sending any; return what it answers, for a person.

        Raises:
            Unavailable: ``destination_unavailable``.
            Refused: ``destination_refused``, ``setting_invalid``.
        """


@dataclass(frozen=True, slots=True)
class Route:
    """A destination and the terms on which it is served.

    Attributes:
        kind: of the destination, such as ``dimse``.
        documents: what it gets, in the words of a file of destinations.
    """

    destination: Opens
    terms: Terms = field(default_factory=Terms)
    kind: str = ""
    documents: tuple[str, ...] = ()
