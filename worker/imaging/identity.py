"""Which study and which image a file is, for whoever hands it in. The header alone is read."""

from dataclasses import dataclass
from pathlib import Path

from worker.imaging.dicom_file import open_dicom
from worker.imaging.storage import Limits


@dataclass(frozen=True, slots=True)
class Identity:
    """A file's Study Instance UID, SOP Instance UID and Accession Number; empty where the file has none."""

    study_instance_uid: str
    sop_instance_uid: str
    accession_number: str


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
        return Identity(header.text("StudyInstanceUID"), header.text("SOPInstanceUID"), header.text("AccessionNumber"))
