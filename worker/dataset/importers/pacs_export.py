"""The files of a PACS export: which of them are images, whose, and of which study. Headers only."""

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from filecmp import cmp as same_content
from pathlib import Path

from worker.dataset.importers.imported_dataset import OnProgress, refused
from worker.errors import Code, LesionRefused
from worker.image_access import DEFAULT_LIMITS, Limits
from worker.imaging.dicom_file import open_dicom
from worker.imaging.identity import Identity, identity_of, is_directory
from worker.imaging.lesion import MODALITIES

LAYOUT = "DICOM files (PS3.10), whatever their names, in the folder or below it"


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """A file, and what it says it is."""

    path: Path
    identity: Identity

    @property
    def is_ultrasound(self) -> bool:
        """Whether it is an image that the service would look at."""
        return bool(self.identity.matrix) and self.identity.modality in MODALITIES


@dataclass(frozen=True, slots=True)
class PacsExport:
    """What a folder holds.

    Attributes:
        files: the DICOM files of studies, in the order of their paths.
        others: how many are none: pictures, texts, a DICOMDIR.
        unreadable: how many are DICOM and cannot be read, or may not, or are cut short.
    """

    files: tuple[ExportedFile, ...]
    others: int
    unreadable: int

    def by_uid(self) -> dict[str, list[ExportedFile]]:
        """Return the files by their SOP Instance UIDs."""
        return _by(self.files, lambda identity: identity.sop_instance_uid)

    def by_number(self) -> dict[str, list[ExportedFile]]:
        """Return the files by their accession numbers; those that have none are left out."""
        return _by(self.files, lambda identity: identity.accession_number)

    def by_study(self) -> dict[str, list[ExportedFile]]:
        """Return the files by their Study Instance UIDs."""
        return _by(self.files, lambda identity: identity.study_instance_uid)


def read_export(folder: Path, on_progress: OnProgress, limits: Limits = DEFAULT_LIMITS) -> PacsExport:
    """Look at every file of a folder, and of the folders below it.

    Args:
        folder: of the export.
        on_progress: told how many files are done, and of how many.
        limits: the largest file.

    Raises:
        SetupRefused: ``dataset_invalid``: no DICOM file of a study is there, or a folder cannot be read.
        Unavailable: ``storage_unavailable``.
    """
    paths = _paths(folder)
    files: list[ExportedFile] = []
    others = unreadable = 0
    for done, path in enumerate(paths, start=1):
        try:
            with open_dicom(path.resolve(), limits) as file:
                file.require_whole()
                identity = identity_of(file)
        except LesionRefused as fault:
            is_other = fault.code is Code.FILE_NOT_DICOM or is_directory(path, limits)
            others, unreadable = others + is_other, unreadable + (not is_other)
        else:
            if identity.study_instance_uid and identity.sop_instance_uid:
                files.append(ExportedFile(path, identity))
            else:
                others += 1
        on_progress(done, len(paths))
    if not files:
        raise refused(f"none of its {len(paths)} files is DICOM; looked for {LAYOUT}")
    return PacsExport(tuple(files), others, unreadable)


def only_image(files: Sequence[ExportedFile]) -> ExportedFile | None:
    """Return what files of one SOP Instance UID are, which may be copies; ``None`` where they differ."""
    first, *rest = files
    return first if all(same_content(first.path, other.path, shallow=False) for other in rest) else None


def _paths(folder: Path) -> list[Path]:
    def fail(_error: OSError) -> None:
        raise refused("the folder, or one below it, is not there or cannot be read")

    return sorted(Path(parent, name) for parent, _, names in os.walk(folder, onerror=fail) for name in names)


def _by(files: Sequence[ExportedFile], key: Callable[[Identity], str]) -> dict[str, list[ExportedFile]]:
    found: defaultdict[str, list[ExportedFile]] = defaultdict(list)
    for file in files:
        if name := key(file.identity):
            found[name].append(file)
    return dict(found)
