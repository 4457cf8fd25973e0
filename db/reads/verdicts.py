"""Reads of what radiologists said of lesions, and of what they are shown; they write nothing."""

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Text, and_, cast, column, func, null, or_, select, table
from sqlalchemy.orm import Session, aliased

from db.reads.view_rows import rows_of
from db.schema.tables import LesionRow, ModelRow, PredictionRow, RestratificationRow
from db.schema.verdicts import OPEN_FOR, OpenStudyRow, ReadingRow, VerdictRow
from db.schema.vocabulary import Outcome

_IS_4A = cast(column("outcome"), Text) != Outcome.NOT_APPLICABLE.value


@dataclass(frozen=True, slots=True)
class LesionVerdictRow:
    """One row of the view ``lesion_verdict``; the view's comments say what each column means."""

    study_id: UUID
    lesion_id: str
    original: str
    outcome: str | None
    recommended: str | None
    agrees: bool | None
    final_birads: str
    reader: str | None
    read_at: datetime
    source: str
    tier: str
    lh_version: str | None
    bm_version: str | None
    rule_version: str | None
    scanner_model: str | None
    site: str | None
    recorded_at: datetime
    notice: str | None


@dataclass(frozen=True, slots=True)
class StudyVerdictRow:
    """One row of the view ``study_verdict``: a verdict that counts, or that a later one corrected."""

    ordinal: int
    reader: str | None
    read_at: datetime
    source: str
    recommended: str | None
    agrees: bool | None
    final_birads: str
    remark: str | None


@dataclass(frozen=True, slots=True)
class SaidCount:
    """How many 4A lesions have the same advice and verdict, of one group, under one pair of models and one rule.

    Attributes:
        group: the scanner or the site; ``None`` where it is not known, or nothing is counted apart.
        agrees: ``None`` where it was not said.
    """

    group: str | None
    lh_version: str
    bm_version: str
    rule_version: str
    notice: str | None
    outcome: str
    agrees: bool | None
    final_birads: str
    lesions: int


@dataclass(frozen=True, slots=True)
class AdviceKey:
    """One row of the view ``lesion_advice``: the ledger's keys of a lesion and of its current advice."""

    lesion: int
    ordinal: int
    advice: int | None
    outcome: str | None


@dataclass(frozen=True, slots=True)
class ShownAdvice:
    """The current advice on one lesion: the ledger's key of it, and the versions that it rests on."""

    advice: int
    outcome: str
    lh_version: str
    bm_version: str


@dataclass(frozen=True, slots=True)
class EarlierVerdict:
    """A verdict on record: the reading's key, and when the lesion was read."""

    reading: UUID
    read_at: datetime


def verdicts(
    session: Session,
    study_ids: Collection[UUID] | None = None,
    since: datetime | None = None,
    *,
    disagreeing: bool = False,
) -> list[LesionVerdictRow]:
    """Return the verdict on each lesion of current studies, the latest first; remarks are not among them.

    Args:
        session: of a role that reads the view ``lesion_verdict``.
        study_ids: only of these studies.
        since: only those that were given then or later.
        disagreeing: only those that disagree with the advice.
    """
    query = rows_of("lesion_verdict", LesionVerdictRow)
    if study_ids is not None:
        query = query.where(column("study_id").in_(study_ids))
    if since is not None:
        query = query.where(column("read_at") >= since)
    if disagreeing:
        query = query.where(~column("agrees"))
    query = query.order_by(column("read_at").desc(), column("study_id"), column("ordinal"))
    return [LesionVerdictRow(*row) for row in session.execute(query)]


def said_counts(
    session: Session, group: Literal["scanner_model", "site"] | None = None, since: datetime | None = None
) -> list[SaidCount]:
    """Count the 4A lesions of current studies with a verdict, by the advice that was shown and by the verdict.

    Args:
        session: of a role that reads the view ``lesion_verdict``.
        group: what is counted apart beside models, rule and notice.
        since: only verdicts that were given then or later.
    """
    place: ColumnElement[Any] = cast(null(), Text) if group is None else column(group)
    keys = [place.label("place"), *(column(field.name) for field in fields(SaidCount)[1:-1])]
    query: Select[*tuple[Any, ...]] = select(*keys, func.count())
    query = query.select_from(table("lesion_verdict")).where(_IS_4A).group_by(*keys)
    if since is not None:
        query = query.where(column("read_at") >= since)
    return [SaidCount(*row) for row in session.execute(query)]


def verdicts_like(
    session: Session, said: Collection[tuple[str, str, bool | None]], since: datetime | None = None
) -> list[LesionVerdictRow]:
    """Return the verdicts on 4A lesions that say one of several things, the latest first.

    Args:
        session: of a role that reads the view ``lesion_verdict``.
        said: each an outcome that was advised, a final category, and whether the radiologist agrees.
        since: only verdicts that were given then or later.
    """
    if not said:
        return []
    query = rows_of("lesion_verdict", LesionVerdictRow).where(
        or_(
            *(
                and_(
                    cast(column("outcome"), Text) == outcome,
                    column("final_birads") == final,
                    column("agrees").is_not_distinct_from(agrees),
                )
                for outcome, final, agrees in said
            )
        )
    )
    if since is not None:
        query = query.where(column("read_at") >= since)
    query = query.order_by(column("read_at").desc(), column("study_id"), column("ordinal"))
    return [LesionVerdictRow(*row) for row in session.execute(query)]


def said_of(session: Session, study_id: UUID) -> dict[int, list[StudyVerdictRow]]:
    """Return every verdict on a study's lesions by the lesion's place in the job, the one that counts first."""
    query = rows_of("study_verdict", StudyVerdictRow).where(column("study_id") == study_id)
    said: defaultdict[int, list[StudyVerdictRow]] = defaultdict(list)
    for row in session.execute(query.order_by(column("read_at").desc(), column("recorded_at").desc())):
        said[row.ordinal].append(StudyVerdictRow(*row))
    return dict(said)


def advice_keys(session: Session, study_id: UUID) -> list[AdviceKey]:
    """Return the lesions of a current study with their current advice, in the sender's order; of ``dlr_web``."""
    query = rows_of("lesion_advice", AdviceKey).where(column("study_id") == study_id).order_by(column("ordinal"))
    return [AdviceKey(*row) for row in session.execute(query)]


def others_reading(session: Session, study_id: UUID, reader: str) -> list[str]:
    """Return who else has a study open now, by name; of ``dlr_web``."""
    found = session.scalars(
        select(OpenStudyRow.reader)
        .where(
            OpenStudyRow.study_id == study_id,
            OpenStudyRow.reader != reader,
            OpenStudyRow.seen_at >= func.now() - OPEN_FOR,
        )
        .order_by(OpenStudyRow.reader)
    )
    return list(found)


def shown_advice(session: Session, study_ids: Collection[UUID]) -> dict[int, ShownAdvice]:
    """Return the current advice on each lesion of studies that has some, by the ledger's key; of ``dlr_writer``."""
    lh, bm, lh_model, bm_model = (
        aliased(PredictionRow), aliased(PredictionRow), aliased(ModelRow), aliased(ModelRow),
    )  # fmt: skip
    rows = session.execute(
        select(LesionRow.id, RestratificationRow.id, RestratificationRow.outcome, lh_model.version, bm_model.version)
        .join(RestratificationRow, (RestratificationRow.lesion_id == LesionRow.id) & RestratificationRow.is_current)
        .join(lh, lh.id == RestratificationRow.lh_prediction_id)
        .join(bm, bm.id == RestratificationRow.bm_prediction_id)
        .join(lh_model, lh_model.id == lh.model_id)
        .join(bm_model, bm_model.id == bm.model_id)
        .where(LesionRow.study_id.in_(study_ids))
    )
    return {row[0]: ShownAdvice(row[1], row[2].value, row[3], row[4]) for row in rows}


def latest_verdicts(session: Session, lesions: Collection[int]) -> dict[int, EarlierVerdict]:
    """Return the verdict that counts of each lesion that has one, by the ledger's key of it; of ``dlr_writer``."""
    rows = session.execute(
        select(VerdictRow.lesion_id, ReadingRow.id, ReadingRow.read_at)
        .join(ReadingRow, ReadingRow.id == VerdictRow.reading_id)
        .where(VerdictRow.lesion_id.in_(lesions))
        .order_by(ReadingRow.read_at, ReadingRow.recorded_at, ReadingRow.id)
    )
    return {lesion: EarlierVerdict(reading, read_at) for lesion, reading, read_at in rows}
