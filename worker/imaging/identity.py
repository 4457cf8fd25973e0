"""Which study and which image a file is, for whoever hands it in. The header alone is read."""

from dataclasses import dataclass
from pathlib import Path

from worker.image_access import Limits
from worker.imaging.dicom_file import DicomFile, open_dicom, read_beginning
from worker.imaging.patient import PatientId
from worker.text import composed, on_one_line

_LONGEST = 1024
"""Bytes of an accession number that are looked at; 16 characters are allowed (PS3.5, table 6.2-1)."""

_FIRST_RECORD = "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a file is, and what. Each text is empty where the file has none; so is its matrix, of rows and columns.

    Attributes:
        is_number_whole: each byte of the accession number has a meaning in the character set that the file declares.
    """

    study_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    patient: PatientId
    accession_number: str
    is_number_whole: bool
    matrix: tuple[int, ...] = ()
    modality: str = ""


def read_identity(path: Path, limits: Limits) -> Identity:
    """Read what a file says it is.

    Args:
        path: anywhere.
        limits: the largest file.

    Raises:
        LesionRefused: ``file_not_dicom``, ``file_truncated`` before the pixels, or another ``file_`` code.
        Unavailable: ``storage_unavailable``.
    """
    with open_dicom(path.resolve(), limits) as file:
        return identity_of(file)


def identity_of(file: DicomFile) -> Identity:
    """Return what an open file says it is."""
    header = file.header
    number = header.said("AccessionNumber", _LONGEST)
    return Identity(
        header.text("StudyInstanceUID"),
        header.text("SOPInstanceUID"),
        header.text("SOPClassUID"),
        PatientId.of(header),
        composed(on_one_line(number.text)),
        number.is_whole,
        (*header.integers("Rows"), *header.integers("Columns")),
        header.text("Modality"),
    )


def study_named_in(path: Path, limits: Limits) -> dict[str, str]:
    """Return by what a person would look for the study of a file, as far as that can be read: of one that is refused.

    Returns:
        ``study_instance_uid`` and ``accession_number``, each where the file has it.
    """
    header = read_beginning(path.resolve(), limits)
    number = header.said("AccessionNumber", longest=_LONGEST).text
    said = {"study_instance_uid": header.text("StudyInstanceUID"), "accession_number": composed(on_one_line(number))}
    return {name: value for name, value in said.items() if value}


def is_directory(path: Path, limits: Limits) -> bool:
    """Tell whether a file is a DICOMDIR, which lists the files of a medium and is of no study (PS3.3, annex F)."""
    header = read_beginning(path.resolve(), limits, last=_FIRST_RECORD, also=(_FIRST_RECORD,))
    return header.integer(_FIRST_RECORD) is not None
