"""What radiologists say: readings recorded with their verdicts, and who has a study open."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Table, delete, func, insert
from sqlalchemy.dialects.postgresql import insert as insert_or
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.errors import VerdictOutdated
from db.schema.verdicts import OPEN_FOR, OpenStudyRow, ReadingRow, VerdictRow
from db.schema.vocabulary import ReadingSource
from db.storable import storable_text

_NOTED_EVERY = timedelta(seconds=10)
_OUTDATED, _THERE_ALREADY = "DR409", "23505"
_READING, _VERDICT, _OPEN = (cast("Table", row.__table__) for row in (ReadingRow, VerdictRow, OpenStudyRow))


@dataclass(frozen=True, slots=True)
class LesionVerdict:
    """What a radiologist makes of one lesion.

    Attributes:
        lesion: the ledger's key of it.
        agrees: with the advice; ``None`` where there is none, or it was not said.
        final: a word of `db.schema.vocabulary.FinalCategory`.
        remark: 1 to 500 characters.
    """

    lesion: int
    agrees: bool | None
    final: str
    remark: str | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading of one revision of a study.

    Attributes:
        key: names it: what is written again under it is not written.
        study_id: the revision that was shown.
        advice: the ledger's keys of the recommendations that were shown, of all lesions.
        read_at: ``None``: now.
    """

    key: UUID
    study_id: UUID
    reader: str
    source: ReadingSource
    advice: Sequence[int]
    verdicts: Sequence[LesionVerdict] = ()
    read_at: datetime | None = None


def record_reading(session: Session, reading: Reading) -> bool:
    """Mark a study as read, with verdicts on its lesions; return whether it is new.

    Args:
        session: of ``dlr_web`` or ``dlr_writer``; the caller commits.
        reading: of ``dlr_web`` one of the page, without ``read_at``.

    Raises:
        VerdictOutdated: the revision, or the advice, is no longer what was shown; or the study is not listed.
    """
    values: dict[str, Any] = {
        "id": reading.key,
        "study_id": reading.study_id,
        "reader": storable_text(reading.reader),
        "advice": list(reading.advice),
    }
    if reading.source is not ReadingSource.PAGE:  # the default, and dlr_web may write no other
        values["source"] = reading.source.value
    if reading.read_at is not None:
        values["read_at"] = reading.read_at
    try:
        with session.begin_nested():
            # `inline`: who may only insert is given nothing back.
            session.execute(insert(_READING).values(values).inline())
    except DBAPIError as error:
        match getattr(error.orig, "pgcode", None):
            case code if code == _OUTDATED:
                raise VerdictOutdated(str(reading.study_id)) from None
            case code if code == _THERE_ALREADY:
                return False
        raise
    for verdict in reading.verdicts:
        session.execute(insert(_VERDICT).values(_values(reading.key, verdict)).inline())
    return True


def _values(key: UUID, verdict: LesionVerdict) -> dict[str, Any]:
    return {
        "reading_id": key,
        "lesion_id": verdict.lesion,
        "agrees": verdict.agrees,
        "final_birads": verdict.final,
        "remark": None if verdict.remark is None else storable_text(verdict.remark),
    }


def note_open(session: Session, study_id: UUID, reader: str) -> None:
    """Say that somebody has a study open now, and forget who has not been heard of for a while.

    Args:
        session: of ``dlr_web``; the caller commits.
        study_id: on record.
        reader: an account of the page.
    """
    row = insert_or(_OPEN).values(study_id=study_id, reader=reader)
    again = row.on_conflict_do_update(
        index_elements=["study_id", "reader"],
        set_={"seen_at": func.now()},
        where=_OPEN.c.seen_at < func.now() - _NOTED_EVERY,
    )
    session.execute(again)
    session.execute(delete(_OPEN).where(_OPEN.c.seen_at < func.now() - OPEN_FOR))
