"""Where results are delivered to: what every destination is to a `Sender`."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from db.schema.vocabulary import Destination
from worker.reporting.result import Ending, StudyResult
from worker.reporting.source_study import Source


@dataclass(frozen=True, slots=True)
class Parcel:
    """A result to deliver.

    Attributes:
        delivery_id: the same however often it is tried.
        replaces: the result of the study that the destination has already, if it has one.
    """

    delivery_id: int
    result: StudyResult
    replaces: Ending | None = None


Deliver = Callable[[Parcel], str | None]
"""Delivers a result; returns the SOP Instance UID of what was made of it, where there is one.

Delivering it again changes nothing at the destination. Raises ``Refused``: it will never be taken;
``Unavailable``: not now."""


Sources = Callable[[StudyResult], AbstractContextManager[Source]]
"""Has a study's images at hand, for as long as something is made of them."""


class Opens(Protocol):
    """A destination that a sender delivers to."""

    @property
    def name(self) -> Destination:
        """Which one it is."""

    def opened(self) -> AbstractContextManager[Deliver]:
        """Open what several deliveries can go through, one after the other; made to be used by one thread.

        Raises:
            Unavailable: ``destination_unavailable``; nobody answers there, or not as is needed.
        """
