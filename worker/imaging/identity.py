"""Which study and which image a file is, for whoever hands it in. The header alone is read."""

from dataclasses import dataclass
from pathlib import Path

from worker.imaging.dicom_file import open_dicom
from worker.imaging.patient import PatientId
from worker.imaging.storage import Limits
from worker.text import composed, on_one_line


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose a file is, and what. Each text is empty where the file has none; so is its matrix, of rows and columns."""

    study_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    patient: PatientId
    accession_number: str
    matrix: tuple[int, ...] = ()


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
        header = file.header
        return Identity(
            header.text("StudyInstanceUID"),
            header.text("SOPInstanceUID"),
            header.text("SOPClassUID"),
            PatientId.of(header),
            composed(on_one_line(header.text("AccessionNumber"))),
            (*header.integers("Rows"), *header.integers("Columns")),
        )
