"""Whether files are of one patient: their Patient IDs as texts, whichever character sets they are written in."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from worker.imaging.dicom_file import Header
from worker.text import composed

_LONGEST = 1024
"""Bytes of a Patient ID that are looked at; 64 characters are allowed (PS3.5, table 6.2-1)."""


@dataclass(frozen=True, slots=True)
class PatientId:
    """A Patient ID (0010,0020).

    Attributes:
        text: in the form in which texts are compared; empty where a file has none.
        stored: its bytes in hexadecimal digits, without padding: a decoder says them in JSON.
        is_whole: each of them has a meaning in the character set that the file declares.
    """

    text: str
    stored: str
    is_whole: bool

    @classmethod
    def of(cls, header: Header) -> Self:
        """Read it."""
        said = header.said("PatientID", _LONGEST)
        stored = header.bytes_of("PatientID")[:_LONGEST].strip(b" \0")
        return cls(composed(said.text), stored.hex(), said.is_whole)


def is_one_patient(patients: Iterable[PatientId]) -> bool:
    """Say whether no two of these are of different patients.

    An ID that can not be read, since its file declares no character set or another, is that of the file which has the
    same bytes: what these mean, that file says.
    """
    named = {patient for patient in patients if patient.text}
    whole = {patient.text for patient in named if patient.is_whole}
    known = {patient.stored for patient in named if patient.is_whole}
    unread = {patient.stored for patient in named if not patient.is_whole}
    return len(whole) + len(unread - known) <= 1
