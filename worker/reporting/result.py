"""What documents are made of: the result of one study, read from the database, or why there is none to give out."""

from uuid import UUID

from sqlalchemy.orm import Session

from db.reads.result_records import Ending, ImageResult, LesionResult, ModelScore, StudyResult
from db.reads.study_results import study_results
from db.schema.vocabulary import ENDED_STATES
from worker.errors import Code, StudyRefused
from worker.reporting.lookup import look_up

__all__ = ["Ending", "ImageResult", "LesionResult", "ModelScore", "StudyResult", "read_results"]


def read_results(session: Session, key: UUID | str) -> list[StudyResult]:
    """Read the results of the studies that a key names: those that a document may be made of.

    Args:
        session: of a role that reads the tables.
        key: the ledger's id or its beginning, a Study Instance UID or an accession number, which several may share.

    Raises:
        StudyRefused: ``study_not_found``; ``study_ambiguous``; ``study_not_ended``; ``result_missing``, for a message
            that was refused, a study whose identifiers were purged, and a revision that another has replaced.
    """
    results = look_up(session, key, study_results)
    for result in results:
        _check(result)
    return results


def _check(result: StudyResult) -> None:
    if result.study_instance_uid is None:
        reason = "there is no document for it: the message was refused, or the study's identifiers were purged"
        raise StudyRefused(Code.RESULT_MISSING, reason)
    if not result.is_current:
        reason = "a later revision of the study has replaced this one (`dlr show` with its Study Instance UID)"
        raise StudyRefused(Code.RESULT_MISSING, reason)
    if result.state not in ENDED_STATES or result.finished_at is None:
        raise StudyRefused(Code.STUDY_NOT_ENDED)
