"""What the places of studies are computed from."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any, cast
from uuid import UUID

from sqlalchemy import ARRAY, Table, Uuid, and_, any_, bindparam, or_, select
from sqlalchemy.orm import Session

from db.schema.tables import LesionRow, PredictionRow, RestratificationRow, StudyRow
from db.schema.vocabulary import OPEN_STATES, StudyState
from db.schema.worklist import WorklistEntryRow
from db.schema.worklist_records import EntryRecord, KeptPlace, LesionStanding, StudyStanding

_STUDIES, _LESIONS, _ADVICE, _ENTRIES = (
    cast("Table", row.__table__) for row in (StudyRow, LesionRow, RestratificationRow, WorklistEntryRow)
)
_PREDICTIONS = cast("Table", PredictionRow.__table__)
_LH, _BM = _PREDICTIONS.alias("lh"), _PREDICTIONS.alias("bm")

LISTED = and_(
    _STUDIES.c.is_current,
    _STUDIES.c.study_instance_uid.is_not(None),
    or_(_STUDIES.c.discarded_at.is_(None), _STUDIES.c.state != StudyState.FAILED),
)
"""A study belongs on the worklist: it is one, it is current, and nobody has put its failure aside."""

_ASKED = _STUDIES.c.id == any_(bindparam("ids", type_=ARRAY(Uuid())))

_FACTS = (
    select(
        _STUDIES.c.id,
        _STUDIES.c.priority,
        _STUDIES.c.state,
        _STUDIES.c.revision,
        LISTED.label("listed"),
        _STUDIES.c.received_at,
        _STUDIES.c.read_tier,
        _LESIONS.c.lesion_id,
        _LESIONS.c.birads,
        _LESIONS.c.state.label("lesion_state"),
        _ADVICE.c.outcome,
        _LH.c.positive.label("high_risk"),
        _BM.c.positive.label("malignant"),
        _LH.c.positive_probability.label("high_risk_probability"),
        _BM.c.positive_probability.label("malignant_probability"),
    )
    .select_from(_STUDIES)
    .outerjoin(_LESIONS, _LESIONS.c.study_id == _STUDIES.c.id)
    # The scores of a lesion that waits again are not its result.
    .outerjoin(
        _ADVICE,
        and_(_ADVICE.c.lesion_id == _LESIONS.c.id, _ADVICE.c.is_current, _STUDIES.c.state.not_in(OPEN_STATES)),
    )
    .outerjoin(_LH, _LH.c.id == _ADVICE.c.lh_prediction_id)
    .outerjoin(_BM, _BM.c.id == _ADVICE.c.bm_prediction_id)
    .where(_ASKED)
    .order_by(_STUDIES.c.id, _LESIONS.c.ordinal)
)

_HELD = _FACTS.with_for_update(of=_STUDIES, read=True)

_OTHERS = StudyRow.__table__.alias("other")
_KEPT = (
    select(_STUDIES.c.id.label("asked"), _ENTRIES, _LESIONS.c.lesion_id.label("name"), _LESIONS.c.birads)
    .select_from(_STUDIES)
    .join(_OTHERS, _OTHERS.c.study_instance_uid == _STUDIES.c.study_instance_uid)
    .join(_ENTRIES, _ENTRIES.c.study_id == _OTHERS.c.id)
    .outerjoin(_LESIONS, _LESIONS.c.study_id == _OTHERS.c.id)
    .where(_ASKED, _OTHERS.c.revision <= _STUDIES.c.revision)
    .order_by(_OTHERS.c.revision, _LESIONS.c.ordinal)
)


def standings(session: Session, study_ids: Collection[UUID], *, hold: bool = False) -> list[StudyStanding]:
    """Return what studies are placed by, those that are on record, by id.

    Args:
        session: of ``dlr_writer``.
        study_ids: the ledger's.
        hold: keep the studies as they are until the caller's transaction ends.
    """
    rows = session.execute(_HELD if hold else _FACTS, {"ids": list(study_ids)}).all()
    return [_standing(list(of_study)) for _, of_study in groupby(rows, key=lambda row: row.id)]


def kept_places(session: Session, study_ids: Collection[UUID]) -> dict[UUID, list[KeptPlace]]:
    """Return the places that studies have already, or else the revisions before them, one a policy."""
    found: defaultdict[UUID, dict[tuple[UUID, int], KeptPlace]] = defaultdict(dict)
    for row in session.execute(_KEPT, {"ids": list(study_ids)}):
        entry = EntryRecord(
            row.study_id, row.policy_id, row.tier, row.rule, row.lesion, row.category, row.probability,
            row.place_order, row.arrived_at, row.is_read, tuple(row.marks),
        )  # fmt: skip
        kept = found[row.asked].setdefault((row.study_id, row.policy_id), KeptPlace(entry, {}))
        if row.name is not None:
            cast("dict[str, str]", kept.categories)[row.name] = row.birads.value
    return {study_id: list(places.values()) for study_id, places in found.items()}


def _standing(rows: Sequence[Any]) -> StudyStanding:
    study = rows[0]
    return StudyStanding(
        study_id=study.id,
        priority=study.priority.value,
        state=study.state.value,
        revision=study.revision,
        listed=study.listed,
        received_at=study.received_at,
        read_tier=study.read_tier,
        lesions=tuple(
            LesionStanding(
                row.lesion_id,
                row.birads.value,
                row.lesion_state.value,
                None if row.outcome is None else row.outcome.value,
                row.high_risk,
                row.malignant,
                row.high_risk_probability,
                row.malignant_probability,
            )
            for row in rows
            if row.lesion_id is not None
        ),
    )
