"""Where a study's images are, for as long as they are looked at: in the storage, or fetched from a server."""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import gettempdir, mkdtemp
from typing import Final

from worker.errors import Code, LesionRefused, Unavailable
from worker.image_access import Dicomweb, Pacs
from worker.imaging import dicomweb, pacs
from worker.study import OnDicomweb, OnPacs, Study

FETCHED: Final = "dlr-dicomweb-"
"""How the name of a folder with fetched images begins."""

_EMPTY: Final = "dlr-empty-"
"""How it begins until the folder is locked."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder with images of a study.

    Attributes:
        root: the folder.
        paths: relative to it.
        refused: the SOP Instance UIDs of images that could not be had, and why.
    """

    root: Path
    paths: tuple[str, ...]
    refused: Mapping[str, LesionRefused] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Finds the images of any study.

    Attributes:
        storage_root: the files' folder.
        dicomweb: the servers that instances are fetched from.
        pacs: those that speak DICOM instead.
    """

    storage_root: Path
    dicomweb: Dicomweb
    pacs: Pacs = field(default_factory=Pacs)

    @contextmanager
    def folder(self, study: Study) -> Iterator[Folder]:
        """Have a study's images in a folder; what was fetched is removed at the end.

        Raises:
            StudyRefused: ``dicomweb_server_unknown``, ``pacs_server_unknown``, ``pacs_failed``, ``fetch_too_large``.
            Unavailable: ``dicomweb_unavailable``, ``pacs_unavailable``, ``storage_unavailable``.
        """
        if not isinstance(study.images, OnDicomweb | OnPacs):
            yield Folder(self.storage_root, study.images)
            return
        wanted = {image.sop_instance_uid for lesion in study.lesions for image in lesion.images}
        with held_folder() as folder:
            asked = study.images.server, study.study_instance_uid, wanted, folder
            if isinstance(study.images, OnPacs):
                files, refused = pacs.fetch(self.pacs, *asked)
            else:
                files, refused = dicomweb.fetch(self.dicomweb, *asked)
            yield Folder(folder, tuple(files), refused)


def remove_abandoned() -> None:
    """Remove the folders that processes which were killed have left in TMPDIR: there are images of patients in them."""
    try:
        abandoned = list(Path(gettempdir()).glob(f"{FETCHED}*"))
    except OSError:  # it is away, or none can be written: another time
        return
    for folder in abandoned:
        try:
            if folder.lstat().st_uid == os.geteuid():
                with _locked(folder):
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # somebody needs it, or removes it too
            continue


@contextmanager
def held_folder() -> Iterator[Path]:
    """Have a folder in TMPDIR that is locked for as long as this process needs it, and lives."""
    remove_abandoned()
    with ExitStack() as held:
        try:
            empty = Path(mkdtemp(prefix=_EMPTY))
            held.callback(shutil.rmtree, empty, ignore_errors=True)
            held.enter_context(_locked(empty))
            folder = empty.rename(empty.with_name(f"{FETCHED}{empty.name.removeprefix(_EMPTY)}"))
            held.callback(shutil.rmtree, folder, ignore_errors=True)
        except OSError:
            raise Unavailable(Code.STORAGE_UNAVAILABLE, "TMPDIR cannot be written") from None
        yield folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
