"""Whether files are of one patient: their Patient IDs as texts, whichever character sets they are written in."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Self

from worker.errors import Code, StudyRefused
from worker.imaging.character_set import written
from worker.imaging.header import PADDING, Header
from worker.text import composed

_LONGEST = 1024
"""Bytes of a Patient ID that are looked at; 64 characters are allowed (PS3.5, table 6.2-1)."""


@dataclass(frozen=True, slots=True)
class PatientId:
    """A Patient ID (0010,0020).

    Attributes:
        text: in the form in which texts are compared; empty where a file has none.
        stored: the SHA-256 of its bytes, without padding.
        is_whole: each of them was looked at, and has a meaning in the character set that the file declares.
    """

    text: str
    stored: str
    is_whole: bool

    @classmethod
    def of(cls, header: Header) -> Self:
        """Read it."""
        said = header.said("PatientID", _LONGEST)
        stored = header.bytes_of("PatientID").strip(PADDING.encode())
        is_whole = said.is_whole and len(stored) <= _LONGEST
        return cls(composed(said.text), _digest(stored), is_whole)


def require_one_patient(patients: Mapping[int, PatientId]) -> None:
    """Refuse files of several patients.

    An ID that cannot be read, since its file declares no character set or another, is that of a file which has the
    same bytes, or the text that these bytes are in some repertoire: what they mean, that file says.

    Args:
        patients: of each file, by its place among the study's files, from 1.

    Raises:
        StudyRefused: ``patient_mismatch``; the reason says which file, and whether its Patient ID cannot be read.
    """
    ids = _told_apart(patients.values())
    if len(ids) <= 1:
        return
    first, other = (next(place for place, patient in patients.items() if patient == one) for one in ids[:2])
    unread = next((place for place, patient in patients.items() if patient in ids and not patient.is_whole), None)
    if unread is None:
        raise StudyRefused(Code.PATIENT_MISMATCH, f"files {first} and {other} of the study name different patients")
    reason = (
        f"the Patient ID of file {unread} of the study cannot be read in its Specific Character Set, and another file "
        "has another one"
    )
    raise StudyRefused(Code.PATIENT_MISMATCH, reason)


def _told_apart(patients: Iterable[PatientId]) -> list[PatientId]:
    """Return an ID of each patient, in the order of the files."""
    named = [patient for patient in patients if patient.text]
    known = {patient.stored for patient in named if patient.is_whole}
    known |= {_digest(value) for patient in named if patient.is_whole for value in written(patient.text)}
    apart: dict[tuple[bool, str], PatientId] = {}
    for patient in named:
        if patient.is_whole:
            apart.setdefault((True, patient.text), patient)
        elif patient.stored not in known:
            apart.setdefault((False, patient.stored), patient)
    return list(apart.values())


def _digest(value: bytes) -> str:
    return sha256(value).hexdigest()
