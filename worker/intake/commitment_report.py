"""What a PACS reports of the instances that `dlr send` asked it to keep: storage commitment (PS3.4, annex J)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydicom import Dataset
from sqlalchemy.orm import Session, sessionmaker

from db.writes import commitments
from worker.outages.retry import AWAY, kind_of

logger = logging.getLogger(__name__)

PUSH_MODEL: Final = "1.2.840.10008.1.20.1"
"""The SOP Class of storage commitment."""

SUCCESS: Final = 0x0000
PROCESSING_FAILURE: Final = 0x0110
INVALID_ARGUMENT: Final = 0x0115
"""Status of an N-EVENT-REPORT response (PS3.7, annex C)."""


@dataclass(frozen=True, slots=True)
class CommitmentReport:
    """A report.

    Attributes:
        transaction_uid: of what it answers.
        committed: SOP Instance UIDs that are kept.
        failures: those that are not, each with its Failure Reason (PS3.3, C.14.1.1).
    """

    transaction_uid: str
    committed: frozenset[str]
    failures: Mapping[str, int]


def read_report(information: Dataset) -> CommitmentReport:
    """Read the Event Information of either event type (PS3.4, tables J.3-2 and J.3-3).

    Raises:
        ValueError: it has no Transaction UID, or an item has no SOP Instance UID.
    """
    transaction_uid = str(information.get("TransactionUID") or "")
    kept = [str(item.get("ReferencedSOPInstanceUID") or "") for item in information.get("ReferencedSOPSequence") or ()]
    failures = {
        str(item.get("ReferencedSOPInstanceUID") or ""): int(item.get("FailureReason") or PROCESSING_FAILURE)
        for item in information.get("FailedSOPSequence") or ()
    }
    if not transaction_uid or "" in kept or "" in failures:
        raise ValueError("a report without its UIDs")
    return CommitmentReport(transaction_uid, frozenset(kept) - failures.keys(), failures)


def take_report(event: Any, sessions: sessionmaker[Session]) -> tuple[int, None]:
    """Answer an N-EVENT-REPORT, as a handler of pynetdicom; "success" only once the report is on record."""
    try:
        report = read_report(event.event_information)
    except Exception as error:  # noqa: BLE001  whatever a peer sends
        logger.warning("a report of storage commitment was refused: it cannot be read (%s)", type(error).__name__)
        return INVALID_ARGUMENT, None
    try:
        with sessions.begin() as session:
            found = commitments.report(session, report.transaction_uid, report.committed, report.failures)
    except AWAY as error:
        logger.warning("a report of storage commitment is not on record: %s", kind_of(error))
        return PROCESSING_FAILURE, None
    if found is None:
        logger.warning("a report of storage commitment was refused: nothing asked for it")
        return INVALID_ARGUMENT, None
    said = "keeps" if found.is_committed else "does not keep all of"
    logger.info("a PACS reports that it %s what it was sent of study %s", said, found.study_id)
    return SUCCESS, None
