"""The UIDs of documents: the same for the same result, whoever makes the document and whenever (PS3.5, B.2)."""

from typing import Final
from uuid import UUID, uuid5

from worker.reporting.result import Ending, LesionResult, StudyResult

_NAMESPACE: Final = UUID("32fc9354-eff1-53f6-a2ae-cfc0b9882d58")

DEVICE: Final = f"2.25.{uuid5(_NAMESPACE, 'dlr-worker').int}"
"""Of this software, as the observer of what it reports."""


def uid_of(*parts: object) -> str:
    """Return the UID of something that these parts tell from everything else: 2.25 and a name-based UUID."""
    return f"2.25.{uuid5(_NAMESPACE, '/'.join(map(str, parts))).int}"


def series_uid(ending: Ending, kind: str) -> str:
    """Return the Series Instance UID of a revision's documents of one kind, such as ``sr``."""
    return uid_of("series", kind, ending.study_id)


def instance_uid(ending: Ending, kind: str, *parts: object) -> str:
    """Return the SOP Instance UID of a document of one result.

    A result is a time that a study ended. Whatever changes it (other models, another rule, lesions that are scored at
    last, another revision) ends the study anew.
    """
    return uid_of("instance", kind, ending.study_id, ending.event_id, *parts)


def tracking_uid(result: StudyResult, lesion: LesionResult) -> str:
    """Return a lesion's Tracking Unique Identifier, the same in each document of a revision."""
    return uid_of("lesion", result.study_id, lesion.lesion_id)


def number_of(result: StudyResult) -> int:
    """Return the how manieth result of its revision it is, from 1."""
    return sum(ending.study_id == result.study_id for ending in result.endings)
