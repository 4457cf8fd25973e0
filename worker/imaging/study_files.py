"""A study's files: which file holds which image, and what is wrong with those that hold none.

Headers only; neither numpy nor Pillow is needed here.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from filecmp import cmp as same_content
from pathlib import Path

from worker.errors import Code, LesionRefused, Unavailable
from worker.image_access import Limits
from worker.imaging.dicom_file import DicomFile, open_dicom
from worker.imaging.patient import PatientId, require_one_patient
from worker.imaging.storage import RECEIVED, SUBMITTED, PathInJson, confine, storage_fault

__all__ = ["FailedFile", "FileEntry", "Limits", "StudyFiles", "index_study", "read_entry"]

_LONGEST_UID = 1024
"""Characters of a UID that are looked at; 64 are allowed (PS3.5, table 6.2-1)."""


@dataclass(frozen=True, slots=True)
class FailedFile:
    """A file that cannot be used: why, and the SOP Instance UID that it claims, where it could be read that far."""

    refused: LesionRefused
    sop_instance_uid: str | None = None


@dataclass(frozen=True, slots=True)
class OnlyFile:
    """The only file of a study. Nobody has looked at it yet: `worker.imaging.lesion.decode_lesions` does.

    Attributes:
        root: the storage root.
        path: relative to it, as the job has it.
        study_instance_uid: of the study that the file has to be of.
    """

    root: PathInJson
    path: str
    study_instance_uid: str


@dataclass(frozen=True, slots=True)
class StudyFiles:
    """What a study's files are.

    Attributes:
        paths: the confined, absolute path of each readable image, by SOP Instance UID.
        ambiguous: SOP Instance UIDs that two different files claim.
        failed: the files that cannot be used, in the job's order.
        only: the study's only file, in place of the others.
    """

    paths: Mapping[str, Path]
    ambiguous: frozenset[str] = frozenset()
    failed: tuple[FailedFile, ...] = ()
    only: OnlyFile | None = None

    def path_of(self, sop_instance_uid: str) -> Path:
        """Return the path of one image.

        Raises:
            LesionRefused: ``sop_instance_ambiguous``; what is wrong with a file that failed, since the image may be
                inside it (first one that claims this UID, then one whose UID is unknown); ``sop_instance_not_found``.
        """
        if sop_instance_uid in self.ambiguous:
            raise LesionRefused(Code.SOP_INSTANCE_AMBIGUOUS)
        path = self.paths.get(sop_instance_uid)
        if path is not None:
            return path
        for claimed in (sop_instance_uid, None):
            for failed in self.failed:
                if failed.sop_instance_uid == claimed:
                    raise _again(failed.refused)
        if self.failed:
            raise _again(self.failed[0].refused)
        raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND)


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What the header of one file says of whose it is, and whether the file is whole."""

    study_instance_uid: str
    sop_instance_uid: str
    patient: PatientId
    whole: bool


def read_entry(path: Path, limits: Limits) -> FileEntry:
    """Read what index_study has to know of one file.

    Raises:
        LesionRefused: any code of a file.
        Unavailable: ``storage_unavailable``.
    """
    with open_dicom(path, limits) as file:
        return entry_of(file)


def entry_of(file: DicomFile) -> FileEntry:
    """Return what index_study has to know of a file that is open."""
    study, sop = map(file.header.text, ("StudyInstanceUID", "SOPInstanceUID"))
    return FileEntry(study[:_LONGEST_UID], sop[:_LONGEST_UID], PatientId.of(file.header), file.whole)


def index_study(
    root: Path,
    paths: Sequence[str],
    study_instance_uid: str,
    read: Callable[[Path], FileEntry],
    same_image: Callable[[Path, Path], bool] = lambda _one, _other: False,
) -> StudyFiles:
    """Read the headers of a study's files. A bad file does not stop the others.

    Args:
        root: the storage root; a file elsewhere, by ``..`` or by symbolic links, is refused unread.
        paths: relative to the root.
        study_instance_uid: files of another study, or of none, are refused with ``study_uid_mismatch``.
        read: `read_entry`, here or in another process.
        same_image: whether two files are one image in two encodings; asked of files that claim one SOP Instance UID.

    Raises:
        StudyRefused: ``patient_mismatch``; the matching files name more than one Patient ID.
        Unavailable: ``storage_unavailable``; the storage is away, which says nothing about its files.
    """
    root = _reached(root)
    found: dict[str, Path] = {}
    ambiguous: set[str] = set()
    failed: list[FailedFile] = []
    patients: dict[int, PatientId] = {}
    for place, relative in enumerate(paths, start=1):
        try:
            path = _confined(root, relative)
            entry = read(path)
        except LesionRefused as refused:
            failed.append(FailedFile(refused))
            continue
        fault, uid = fault_of(entry, study_instance_uid), entry.sop_instance_uid
        if fault is not None:
            failed.append(FailedFile(LesionRefused(fault), uid or None))
            continue
        patients[place] = entry.patient
        first = found.setdefault(uid, path)
        if not _same_file(first, path) and not same_image(first, path):
            ambiguous.add(uid)
    require_one_patient(patients)
    return StudyFiles(found, frozenset(ambiguous), tuple(failed))


def confined(only: OnlyFile) -> Path:
    """Confine the only file of a study.

    Raises:
        LesionRefused: ``path_outside_storage``, ``file_not_found``.
        Unavailable: ``storage_unavailable``.
    """
    return _confined(_reached(Path(only.root)), only.path)


def _confined(root: Path, relative: str) -> Path:
    folder = relative.partition("/")[0]
    if folder in (RECEIVED, SUBMITTED) and not os.path.isdir(root / folder):  # noqa: PTH112  False of any fault
        # Where its disk is not mounted, a file is not missing: it comes back.
        raise Unavailable(Code.STORAGE_UNAVAILABLE, f"DLR_STORAGE_ROOT has no folder {folder}: is its disk mounted?")
    return confine(root, relative)


def _reached(root: Path) -> Path:
    try:
        return root.resolve(strict=True)
    except OSError:
        raise Unavailable(Code.STORAGE_UNAVAILABLE, "DLR_STORAGE_ROOT cannot be reached") from None


def fault_of(entry: FileEntry, study_instance_uid: str) -> Code | None:
    """Say why a file cannot be used for a study; ``None`` when it can."""
    study = entry.study_instance_uid
    # A file that was cut may have lost its UIDs with the rest.
    if not entry.whole and study in (study_instance_uid, ""):
        return Code.FILE_TRUNCATED
    if study != study_instance_uid:
        return Code.STUDY_UID_MISMATCH
    return None if entry.sop_instance_uid else Code.FILE_NOT_DICOM


def _same_file(one: Path, other: Path) -> bool:
    try:
        return one == other or same_content(one, other, shallow=False)
    except OSError as error:
        raise storage_fault(error) from None


def _again(refused: LesionRefused) -> LesionRefused:
    """A refusal of its own for each lesion: an exception collects its raiser's traceback."""
    return LesionRefused(refused.code, refused.reason)
