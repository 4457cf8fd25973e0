"""What came of a claim's study, as the ledger and the outbox have it."""

from dataclasses import dataclass

from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy.orm import Session

from db.reads.result_records import StudyResult
from db.reads.study_results import study_results
from db.schema.vocabulary import ENDED_STATES, DeliveryState, StudyState
from db.writes import outbox
from worker.errors import Code
from worker.performing.claims import Claim
from worker.performing.performed import Canceled, Completed, Outcome, Output
from worker.reporting.identifiers import instance_uid, series_uid
from worker.reporting.structured_report import KIND as SR


@dataclass(frozen=True, slots=True)
class Reports:
    """Where `dlr send` stores the reports that an item refers to.

    Attributes:
        destination: its name.
        retrieve_ae_title: from whom they are retrieved.
    """

    destination: str
    retrieve_ae_title: str


def outcome_of(session: Session, claim: Claim, reports: Reports | None) -> Outcome | None:
    """Return what came of a claim's study; ``None``: it is scored, or its report is being stored.

    Args:
        session: of a role that reads the tables.
        claim: whose study is on record, or that says why it is not.
        reports: ``None``: no report is stored, and an item is completed without one.
    """
    if claim.code is not None:
        return Canceled(claim.code)
    uid = claim.study_instance_uid or ""
    result = next((one for one in study_results(session, uid) if one.study_instance_uid == uid), None)
    if result is None:
        return Canceled(Code.STUDY_NOT_FOUND)
    if result.state not in ENDED_STATES:
        return None
    if result.state == StudyState.FAILED:
        return Canceled(_why(result))
    return Completed() if reports is None else _stored(session, result, uid, reports)


def _why(result: StudyResult) -> Code:
    said = [result.error_code, *(lesion.error_code for lesion in result.lesions)]
    return next((Code(code) for code in said if code in set(Code)), Code.INTERNAL_ERROR)


def _stored(session: Session, result: StudyResult, uid: str, reports: Reports) -> Outcome | None:
    """Refer to the report once it can be retrieved; a destination that takes no report, or not this one, has none."""
    ending = result.endings[-1]
    report = instance_uid(ending, SR)
    match outbox.delivery_of(session, reports.destination, ending.event_id):
        case (DeliveryState.SENT, stored) if stored == report:
            series, sop_class = series_uid(ending, SR), str(Comprehensive3DSRStorage)
            return Completed([Output(uid, series, sop_class, report, reports.retrieve_ae_title)])
        case (DeliveryState.SENT | DeliveryState.OBSOLETE, _):
            return Completed()
        case (DeliveryState.FAILED, _):
            return Canceled(Code.DESTINATION_REFUSED)
        case _:
            return None
