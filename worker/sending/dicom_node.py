"""A DICOM application entity that is called (PS3.8): its address, associations with it, and what its answers mean."""

import ssl
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final, Self

from worker.errors import Code, StudyRefused, Unavailable

if TYPE_CHECKING:
    from pynetdicom import AE
    from pynetdicom.association import Association

CONNECT_S: Final = 10.0
"""How long an application entity may take to take a call, in seconds."""

DUPLICATE: Final = 0x0111
"""Duplicate SOP Instance (PS3.7, annex C): it is there already."""

_WARNINGS: Final = (0x0001, 0x0107, 0x0116)
_LATER: Final = (0x0110, 0x0118, 0x0122, 0x0124, 0x0213)
"""Processing failure, no such SOP class, SOP class not supported, not authorized, resource limitation (PS3.7, annex C):
what time or a person there mends."""


class Fate(Enum):
    """What becomes of an instance that was to be stored."""

    THERE = "there"
    LATER = "later"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Node:
    """An application entity: its title, and where it listens."""

    ae_title: str
    host: str
    port: int

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read ``AET@host:port``, as the settings have it; an IPv6 address is in brackets."""
        ae_title, _, place = text.partition("@")
        host, _, port = place.rpartition(":")
        return cls(ae_title.strip(), host.strip("[]"), int(port))

    def __str__(self) -> str:
        """Return ``AET@host:port``."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.ae_title}@{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Caller:
    """How to call.

    Attributes:
        ae_title: ours.
        timeout_s: the longest wait for an answer, in seconds.
        tls: ``None``: without.
    """

    ae_title: str
    timeout_s: float
    tls: ssl.SSLContext | None = None

    @contextmanager
    def association(
        self, node: Node, sop_classes: Collection[str], heard: Sequence[Any] = ()
    ) -> Iterator["Association"]:
        """Hold an association with a node that takes at least one of the SOP classes; it is released at the end.

        Args:
            node: that is called.
            sop_classes: that are proposed.
            heard: handlers of what it sends by itself, as pynetdicom has them.

        Raises:
            Unavailable: ``destination_unavailable``; nobody takes the call, it is rejected, or nothing is taken.
        """
        tls = None if self.tls is None else (self.tls, node.host)
        entity = self._entity(sop_classes)
        try:
            association = entity.associate(
                node.host, node.port, ae_title=node.ae_title, tls_args=tls, evt_handlers=[*self._handlers(), *heard]
            )
        except (OSError, RuntimeError):
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the address cannot be reached") from None
        if not association.is_established:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, _why_not(association))
        try:
            yield association
        finally:
            association.release()

    def echo(self, node: Node, sop_classes: Collection[str], needed: Collection[str] = ()) -> str:
        """Ask a node by C-ECHO whether it is there, and say which of the SOP Classes it takes.

        Args:
            node: that is asked.
            sop_classes: of which it has to take one.
            needed: of which it has to take all.

        Raises:
            Unavailable: ``destination_unavailable``; as for an association, or none of the SOP Classes is taken.
        """
        from pydicom.uid import UID
        from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

        with self.association(node, [Verification, *sop_classes, *needed]) as association:
            taken = {str(context.abstract_syntax) for context in association.accepted_contexts}
            answer = "no C-ECHO"
            if Verification in taken:
                answered = association.send_c_echo()
                checked("C-ECHO", answered)
                answer = f"C-ECHO answered 0x{answered.Status:04X}"
        wanted = [UID(uid).name for uid in sop_classes if uid in taken]
        if not wanted:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, "none of the SOP Classes is accepted there")
        missing = [UID(uid).name for uid in needed if uid not in taken]
        if missing:
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, f"not accepted there: {', '.join(missing)}")
        return f"{answer}; takes {', '.join([*wanted, *(UID(uid).name for uid in needed)])}"

    def _entity(self, sop_classes: Collection[str]) -> "AE":
        from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
        from pynetdicom import AE, _config

        _config.LOG_HANDLER_LEVEL = "none"
        entity = AE(ae_title=self.ae_title)
        entity.connection_timeout = CONNECT_S
        entity.acse_timeout = entity.dimse_timeout = self.timeout_s
        # An association may be idle for as long as a document takes to be made.
        entity.network_timeout = None
        for sop_class in sop_classes:
            entity.add_requested_context(sop_class, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
        return entity

    def _handlers(self) -> list[Any]:
        """Bound what pynetdicom does not: a node that takes the call and then neither reads nor writes."""
        from pynetdicom import evt

        def bound(event: Any) -> None:
            event.assoc.dul.socket.socket.settimeout(self.timeout_s)

        return [(evt.EVT_CONN_OPEN, bound)]


def _why_not(association: "Association") -> str:
    if association.is_rejected:
        return "the association was rejected: are both AE titles configured there?"
    if association.is_aborted and association.accepted_contexts == [] and association.rejected_contexts:
        return "none of the SOP Classes is accepted there"
    return "the connection was refused or broken off (TLS?)"


def checked(what: str, answer: Any) -> None:
    """Read the status of a DIMSE response; do nothing where the instance is there now.

    Args:
        what: the service, for the sentence.
        answer: the response as pynetdicom gives it; without a status when there was none.

    Raises:
        StudyRefused: ``destination_refused``; for good.
        Unavailable: ``destination_unavailable``; for now.
    """
    if "Status" not in answer:
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, f"no answer to the {what}")
    status: int = answer.Status
    fate = fate_of(status)
    if fate is Fate.LATER:
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, f"the {what} was not done, with status 0x{status:04X}")
    if fate is Fate.REFUSED:
        raise StudyRefused(Code.DESTINATION_REFUSED, f"the {what} was refused with status 0x{status:04X}")


def fate_of(status: int) -> Fate:
    """Return what a status, or a Failure Reason (0008,1197), makes of an instance."""
    if status in (0, DUPLICATE) or status >> 12 == 0xB or status in _WARNINGS:
        return Fate.THERE
    return Fate.LATER if status >> 8 == 0xA7 or status in _LATER else Fate.REFUSED
