"""What is read and written to score stored lesions with versions that are not in service, as the role ``dlr_shadow``.

Scores are added, and what is there stays as it is: PostgreSQL refuses that role everything else. One row is one
transaction, so that live results wait for no more than that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.reads.scored_images import IS_SCORED_IMAGE, SCORED_IMAGE, ScoredImage, scored_image
from db.schema.images import ImagePredictionRow, MarkedImageRow
from db.schema.records import ImagePrediction, ModelRecord, PredictionRecord
from db.schema.tables import LesionRow, ModelRow, PredictionRefusalRow, PredictionRow, StudyRow
from db.schema.vocabulary import OPEN_STATES, LesionState, StudyState
from db.writes.model_versions import put_on_record
from db.writes.scores import image_prediction_values, prediction_values

PAGE_LESIONS = 500
"""Lesions that one look goes through, the latest first."""

_SCORED = and_(
    LesionRow.state == LesionState.SCORED,
    StudyRow.is_current,
    StudyRow.state.in_((StudyState.DONE, StudyState.PARTIAL)),
)

_AT_WORK = text("""
    SELECT count(*) FROM pg_stat_activity
    WHERE usename = session_user AND split_part(application_name, ' (', 1) = :name AND pid <> pg_backend_pid()
        AND state_change > now() - make_interval(secs => :within_s)
""")

_SCORED_TOO, _PURGED, _REFUSED, _MISSING = "scored", "purged", "refused", "missing"


@dataclass(frozen=True, slots=True)
class ScoresWanted:
    """A version that lesions are to be scored with.

    Attributes:
        model_key: what `register` gave.
        since: only lesions of studies that arrived then or later.
    """

    model_key: int
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoredLesion:
    """A lesion as it was scored, and the versions whose score it lacks.

    Attributes:
        key: the ledger's.
        images: those of its images that were scored, in their order; one at least.
        age_years: that was used, 0 to 120.
        model_keys: of the versions.
    """

    key: int
    images: tuple[ScoredImage, ...]
    age_years: float
    model_keys: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredStudy:
    """A study on record, with some of its lesions.

    Attributes:
        content_digest: of the job and the bytes of its files, when it arrived.
        job: as it arrived.
    """

    study_id: UUID
    study_instance_uid: str
    content_digest: str
    job: Any
    lesions: tuple[StoredLesion, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """What one look found; the next one goes on below ``lowest``, and there is none where that is ``None``."""

    studies: tuple[StoredStudy, ...]
    lowest: int | None


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """How far a version is with the stored lesions.

    Attributes:
        scored: those that it scored.
        refused: those that it could not, by the code.
        purged: those whose images are not known any more.
        missing: those that are still to be scored.
    """

    scored: int
    refused: Mapping[str, int]
    purged: int
    missing: int


def register(session: Session, model: ModelRecord) -> int:
    """Put a version on record, unless it is; return its key.

    Raises:
        ModelConflict: the same name and version is on record with other weights, or with a card of another
            aggregation, temperature, threshold, conformal set or scale of a site.
    """
    return put_on_record(session, model)


def known_key(session: Session, name: str, version: str) -> int | None:
    """Return the key of a version; ``None``: it is not on record, and so has scored nothing."""
    return session.scalar(select(ModelRow.id).where(ModelRow.name == name, ModelRow.version == version))


def is_at_work(session: Session, connections: str, within_s: float) -> bool:
    """Return whether a process of this session's login user has asked the database something of late.

    Args:
        session: of the login user itself, since a role is told of its own connections alone.
        connections: under which name PostgreSQL lists that process's connections.
        within_s: how long ago at most, in seconds.
    """
    return bool(session.scalar(_AT_WORK, {"name": connections, "within_s": within_s}))


def live_work_waits(session: Session) -> bool:
    """Return whether a study is queued or runs."""
    # The role may not read every column, which SELECT * would be.
    waiting = select(StudyRow.id).where(StudyRow.is_current, StudyRow.state.in_(OPEN_STATES))
    return bool(session.scalar(select(waiting.exists())))


def latest_lesion(session: Session) -> int:
    """Return the key of the lesion that was recorded last; 0 where there is none."""
    return session.scalar(select(func.max(LesionRow.id))) or 0


def page(
    session: Session, wanted: Sequence[ScoresWanted], *, below: int | None = None, above: int = 0, again: bool = False
) -> Page:
    """Look through some lesions, the latest first, for those that lack a score.

    Args:
        session: of ``dlr_shadow``.
        wanted: the versions, at least one.
        below: the look before's ``lowest``; ``None``: from the latest lesion on.
        above: no lesion whose key is this or less.
        again: also those that could not be scored before.
    """
    keys = select(LesionRow.id).where(LesionRow.id > above)
    if below is not None:
        keys = keys.where(LesionRow.id < below)
    looked_at = keys.order_by(LesionRow.id.desc()).limit(PAGE_LESIONS).subquery()
    lowest, highest = session.execute(select(func.min(looked_at.c.id), func.max(looked_at.c.id))).one()
    if lowest is None:
        return Page((), None)
    within = LesionRow.id.between(lowest, highest)
    studies = tuple(_studies(session, within, wanted, again=again))
    return Page(studies, None if _is_all_older(session, within, wanted) else lowest)


def _studies(
    session: Session, within: ColumnElement[bool], wanted: Sequence[ScoresWanted], *, again: bool
) -> Iterator[StoredStudy]:
    query = (
        select(
            StudyRow.id.label("study_id"),
            StudyRow.study_instance_uid,
            StudyRow.content_digest,
            StudyRow.job,
            LesionRow.id.label("key"),
            LesionRow.age_years,
            ModelRow.id.label("model_key"),
            *SCORED_IMAGE,
        )
        .join_from(LesionRow, StudyRow, StudyRow.id == LesionRow.study_id)
        .join(MarkedImageRow, IS_SCORED_IMAGE)
        .join(ModelRow, _is_wanted(wanted))
        .where(within, _SCORED, StudyRow.purged_at.is_(None), ~_has(PredictionRow))
        .order_by(LesionRow.id.desc(), ModelRow.id, MarkedImageRow.ordinal)
    )
    if not again:
        query = query.where(~_has(PredictionRefusalRow))
    for study_id, found in groupby(session.execute(query), key=lambda row: row.study_id):
        rows = list(found)
        lesions = tuple(_lesion(key, list(of_lesion)) for key, of_lesion in groupby(rows, key=lambda row: row.key))
        first = rows[0]
        yield StoredStudy(study_id, first.study_instance_uid, first.content_digest, first.job, lesions)


def _lesion(key: int, rows: Sequence[Any]) -> StoredLesion:
    images = {row.image_key: scored_image(row) for row in rows}
    models = dict.fromkeys(row.model_key for row in rows)
    return StoredLesion(key, tuple(images.values()), rows[0].age_years, tuple(models))


def _is_wanted(wanted: Sequence[ScoresWanted]) -> ColumnElement[bool]:
    return or_(
        *(
            ModelRow.id == one.model_key
            if one.since is None
            else and_(ModelRow.id == one.model_key, StudyRow.received_at >= one.since)
            for one in wanted
        )
    )


def _has(row: type[PredictionRow | PredictionRefusalRow]) -> ColumnElement[bool]:
    return exists().where(row.lesion_id == LesionRow.id, row.model_id == ModelRow.id)


def _is_all_older(session: Session, within: ColumnElement[bool], wanted: Sequence[ScoresWanted]) -> bool:
    """Whether what follows is too old for every version. Lesions are recorded as their studies arrive."""
    since = [one.since for one in wanted if one.since is not None]
    if len(since) < len(wanted):
        return False
    latest = select(func.max(StudyRow.received_at)).join(LesionRow, LesionRow.study_id == StudyRow.id).where(within)
    arrived = session.scalar(latest)
    return arrived is not None and arrived < min(since)


def add_score(
    session: Session, lesion_key: int, model_key: int, score: PredictionRecord, images: Mapping[int, ImagePrediction]
) -> None:
    """Add a score, and those of the images by their keys, unless the version has one of this lesion: that stays."""
    new = insert(PredictionRow).values(prediction_values(score, lesion_key, model_key))
    if session.scalar(new.on_conflict_do_nothing().returning(PredictionRow.id)) is None:
        return
    rows = [image_prediction_values(said, key, model_key) for key, said in images.items()]
    if rows:
        session.execute(insert(ImagePredictionRow).values(rows).on_conflict_do_nothing())


def add_refusal(session: Session, lesion_key: int, model_key: int, code: str) -> None:
    """Say that a version could not score a lesion. What was said first stays."""
    refusal = insert(PredictionRefusalRow).values(lesion_id=lesion_key, model_id=model_key, error_code=code)
    session.execute(refusal.on_conflict_do_nothing())


def score_counts(session: Session, wanted: ScoresWanted) -> ScoreCounts:
    """Count the lesions that were scored in service, by what a version has said of them. Reads the whole ledger.

    Args:
        session: of ``dlr_shadow`` or ``dlr_writer``.
        wanted: the version, and since when.
    """
    rows = session.execute(_score_counts(wanted)).all()
    counts = {what: count for what, _, count in rows if what != _REFUSED}
    refused = {code: count for what, code, count in rows if what == _REFUSED}
    return ScoreCounts(
        counts.get(_SCORED_TOO, 0), dict(sorted(refused.items())), counts.get(_PURGED, 0), counts.get(_MISSING, 0)
    )


def _score_counts(wanted: ScoresWanted) -> "Select[*tuple[Any, ...]]":
    by_it = PredictionRow.model_id == wanted.model_key
    what = case(
        (PredictionRow.id.is_not(None), _SCORED_TOO),
        (StudyRow.purged_at.is_not(None), _PURGED),
        (PredictionRefusalRow.error_code.is_not(None), _REFUSED),
        else_=_MISSING,
    )
    code = case((what == _REFUSED, PredictionRefusalRow.error_code))
    query = (
        select(what, code, func.count())
        .join_from(LesionRow, StudyRow, StudyRow.id == LesionRow.study_id)
        .outerjoin(PredictionRow, and_(PredictionRow.lesion_id == LesionRow.id, by_it))
        .outerjoin(
            PredictionRefusalRow,
            and_(PredictionRefusalRow.lesion_id == LesionRow.id, PredictionRefusalRow.model_id == wanted.model_key),
        )
        .where(_SCORED)
        .group_by(what, code)
    )
    return query if wanted.since is None else query.where(StudyRow.received_at >= wanted.since)
