"""What the ledger has to say of the drill's studies: nothing lost, nothing wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from db.reads.study_queries import study_details
from db.reads.study_records import StudyDetail
from db.schema.vocabulary import ENDED_STATES, Event, StudyState

_ENDS = {Event.DONE.value, Event.PARTIAL.value, Event.FAILED.value}
_BOTH = ["DLR_BM", "DLR_LH"]
_ALIKE = 1e-3
"""How far the scores of one image by one version may lie apart: batches of another size are summed in another order."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one check.

    Attributes:
        check: its name.
        rests_on: what the promise rests on at this site.
        figure: what was measured.
        studies: how many there were; ``lost`` of them did not end, and ``wrong`` say what is wrong with which.
    """

    check: str
    rests_on: str
    figure: str
    studies: int
    lost: int
    wrong: tuple[str, ...] = ()
    done: bool = True

    @property
    def kept(self) -> bool:
        """The fault was done, and the promise kept."""
        return self.done and not self.lost and not self.wrong


def on_record(session: Session, jobs: Sequence[dict[str, Any]]) -> list[list[StudyDetail]]:
    """Return what the ledger has of each job."""
    return [study_details(session, job["study_instance_uid"]) for job in jobs]


def count_ended(found: Sequence[Sequence[StudyDetail]]) -> int:
    """Count those that have ended."""
    return sum(any(one.state in ENDED_STATES for one in rows) for rows in found)


def faults_of(found: Sequence[Sequence[StudyDetail]], expected: dict[str, float] | None) -> tuple[str, ...]:
    """Say what is wrong with studies that have ended, by their opaque ids.

    Args:
        found: what the ledger has of each.
        expected: the score of each model's version, ``DLR_BM 2026.11``, as the first study of a drill had it.
    """
    return tuple(
        f"{rows[0].study_id} {fault}" for rows in found if rows for fault in [_fault(rows, expected or {})] if fault
    )


def scores_of(study: StudyDetail) -> dict[str, float]:
    """Return the scores of a study's one lesion, by model and version."""
    return {
        f"{one.model_name} {one.model_version}": one.positive_probability
        for lesion in study.lesions
        for one in lesion.predictions
        if one.in_service
    }


def _fault(rows: Sequence[StudyDetail], expected: dict[str, float]) -> str | None:
    study = rows[0]
    if study.state not in ENDED_STATES:
        return None
    ends = sum(event.event in _ENDS for event in study.events)
    found = scores_of(study)
    if len(rows) != 1:
        return f"is there {len(rows)} times"
    if ends != 1:
        return f"ended {ends} times"
    if study.state != StudyState.DONE:
        return f"ended {study.state} ({study.error_code})"
    if sorted(name.split()[0] for name in found) != _BOTH or study.lesions[0].recommended is None:
        return "lacks a score or the advice"
    if any(abs(found[name] - score) > _ALIKE for name, score in expected.items() if name in found):
        return "has other scores than the first study, of the same image"
    return None
