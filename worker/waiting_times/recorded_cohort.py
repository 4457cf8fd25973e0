"""The studies on record that pathology reported on, as the worklist has them."""

from datetime import datetime

from sqlalchemy.orm import Session

from db.reads.evaluated_lesions import advising_notices, judged_studies
from db.reads.standings import standings
from db.schema.vocabulary import OPEN_STATES, StudyState
from worker.errors import Code, SetupRefused
from worker.evaluation.caveats import STUDIES
from worker.evaluation.lesions import Source
from worker.scoring.worklist_place import facts_of
from worker.waiting_times.cohort import Cohort, ListedStudy

VERIFIED = (
    "Only studies with a pathology result are counted. What is advised down is seldom biopsied, so that cancers far "
    "down the list are missing here, and cancers seem to wait less than they do."
)


def recorded_cohort(session: Session, since: datetime | None = None) -> Cohort:
    """Read what is on record: priorities, categories, advice and scores as the worklist has them now.

    Args:
        session: of ``dlr_writer``.
        since: only studies of which a lesion's current advice was given then or later.

    Raises:
        SetupRefused: ``lesions_too_few``: pathology reported on no study that has ended.
    """
    cancers = judged_studies(session, since)
    found = standings(session, cancers)
    waiting = sum(study.state in OPEN_STATES for study in found)
    # Of a failure that a person put aside nobody waits; studies without identifiers were listed once.
    counted = [
        study
        for study in found
        if study.state not in OPEN_STATES and (study.listed or study.state != StudyState.FAILED)
    ]
    if not counted:
        raise SetupRefused(Code.LESIONS_TOO_FEW)
    left_out = {
        "studies that wait for their result": waiting,
        "failures put aside": len(found) - waiting - len(counted),
    }
    notices = [f"{name} {version}: {notice}" for name, version, notice in advising_notices(session, since)]
    return Cohort(
        source=Source.DATABASE,
        studies=tuple(ListedStudy(facts_of(study), cancers[study.study_id], str(study.study_id)) for study in counted),
        left_out={reason: count for reason, count in left_out.items() if count},
        notices=(*notices, STUDIES, VERIFIED),
    )
