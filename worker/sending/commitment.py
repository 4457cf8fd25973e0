"""Storage commitment (PS3.4, annex J), as SCU: a PACS is asked whether it keeps what it was sent.

It reports on the association on which it was asked, or on one that it opens to `dlr receive`
(docs/decisions/0072-done-when-the-pacs-says-that-it-keeps-it.md).
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from pydicom import Dataset
from pydicom.uid import UID

from db.writes.commitments import Standing
from worker.errors import Code, StudyRefused, Unavailable
from worker.intake.commitment_report import PUSH_MODEL, take_report
from worker.sending.commitment_record import CommitmentRecord
from worker.sending.destination import Awaited, Deferred
from worker.sending.dicom_node import Caller, Node, checked

WELL_KNOWN_INSTANCE: Final = "1.2.840.10008.1.20.1.1"
REQUEST: Final = 1
"""Request Storage Commitment, the Action Type."""

LOOK_S: Final = 0.05
REASONS: Final = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class and instance conflict",
    0x0122: "SOP Class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}
"""Failure Reasons (PS3.3, C.14.1.1)."""

_FOR_GOOD: Final = (0x0119, 0x0122)


@dataclass(frozen=True, slots=True)
class Commitment:
    """Asks a PACS.

    Attributes:
        wait_s: for its report, in seconds, before the instances are sent and asked about again.
        hold_s: for so long it may report on the association on which it was asked.
    """

    node: Node
    caller: Caller
    wait_s: float
    hold_s: float

    def settled(self, record: CommitmentRecord) -> str | None:
        """Return the first SOP Instance UID of what it keeps; ``None``: it has to be asked.

        Raises:
            Awaited: ``commitment_awaited``.
            Deferred: ``commitment_failed``, ``commitment_missing``; it is asked again.
            StudyRefused: ``commitment_failed``; for good.
        """
        standing = record.standing()
        try:
            return settled(standing, self.wait_s)
        except (Deferred, StudyRefused):
            record.give_up()
            raise

    def ask(self, instances: Sequence[Dataset], record: CommitmentRecord) -> str:
        """Ask whether instances that were sent are kept; return the SOP Instance UID of the first.

        Raises:
            Unavailable: ``destination_unavailable``.
            StudyRefused: ``destination_refused``; and all of `settled`.
        """
        transaction = f"2.25.{uuid4().int}"
        record.ask(transaction, [str(instance.SOPInstanceUID) for instance in instances])
        self._request(_request(transaction, instances), record, transaction)
        return self.settled(record) or str(instances[0].SOPInstanceUID)

    def _request(self, request: Dataset, record: CommitmentRecord, transaction: str) -> None:
        """Send the request over an association of its own, on which nothing but its answer and report can come."""
        from pynetdicom import evt

        heard = (evt.EVT_N_EVENT_REPORT, lambda event: take_report(event, record.sessions))
        with self.caller.association(self.node, [PUSH_MODEL], [heard]) as association:
            try:
                answer, _ = association.send_n_action(request, REQUEST, PUSH_MODEL, WELL_KNOWN_INSTANCE)
            except (ValueError, RuntimeError):
                raise Unavailable(Code.DESTINATION_UNAVAILABLE, "storage commitment is not accepted there") from None
            checked("N-ACTION", answer)
            record.wait_for(transaction)
            enough = time.monotonic() + min(self.hold_s, self.caller.timeout_s)
            while time.monotonic() < enough and association.is_established and not _is_reported(record):
                time.sleep(LOOK_S)


def settled(standing: Standing | None, wait_s: float) -> str | None:
    """Say what a commitment's standing means for its delivery, as `Commitment.settled` does.

    Args:
        standing: ``None``: nothing was asked.
        wait_s: for a report, in seconds.
    """
    if standing is None:
        return None
    if standing.is_committed:
        return standing.sop_instance_uids[0]
    if not standing.is_awaited:
        return None
    if standing.is_reported:
        raise _failure(standing)
    if standing.waited_s < wait_s:
        raise Awaited("the PACS has yet to report whether it keeps what it was sent", wait_s - standing.waited_s)
    reason = f"the PACS did not report within {wait_s:g} s whether it keeps what it was sent"
    raise Deferred(reason, Code.COMMITMENT_MISSING, Code.COMMITMENT_MISSING)


def _failure(standing: Standing) -> Deferred | StudyRefused:
    said = [f"0x{reason:04X} ({REASONS.get(reason, 'unknown')})" for reason in standing.failure_reasons]
    if standing.left_out:
        said.append(f"its report leaves out {standing.left_out} of {len(standing.sop_instance_uids)} instances")
    reason = f"the PACS does not keep what it was sent: {', '.join(said)}"
    if any(one in _FOR_GOOD for one in standing.failure_reasons):
        return StudyRefused(Code.COMMITMENT_FAILED, reason)
    return Deferred(reason, Code.COMMITMENT_FAILED, Code.COMMITMENT_FAILED)


def _is_reported(record: CommitmentRecord) -> bool:
    standing = record.standing()
    return standing is not None and standing.is_reported


def _request(transaction_uid: str, instances: Sequence[Dataset]) -> Dataset:
    """Return the Action Information (PS3.4, table J.3-1)."""
    request = Dataset()
    request.TransactionUID = UID(transaction_uid)
    request.ReferencedSOPSequence = []
    for instance in instances:
        item = Dataset()
        item.ReferencedSOPClassUID = instance.SOPClassUID
        item.ReferencedSOPInstanceUID = instance.SOPInstanceUID
        request.ReferencedSOPSequence.append(item)
    return request
