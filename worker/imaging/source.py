"""Where a study's images are, for as long as they are looked at: in the storage, or fetched from a DICOMweb server."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from worker.errors import LesionRefused
from worker.imaging.dicomweb import Dicomweb
from worker.study import OnDicomweb, Study


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
        dicomweb: fetches instances.
    """

    storage_root: Path
    dicomweb: Dicomweb

    @contextmanager
    def folder(self, study: Study) -> Iterator[Folder]:
        """Have a study's images in a folder; what was fetched is removed at the end.

        Raises:
            StudyRefused: ``dicomweb_server_unknown``.
            Unavailable: ``dicomweb_unavailable``, ``storage_unavailable``.
        """
        if not isinstance(study.images, OnDicomweb):
            yield Folder(self.storage_root, study.images)
            return
        wanted = {lesion.sop_instance_uid for lesion in study.lesions}
        with TemporaryDirectory(prefix="dlr-dicomweb-") as folder:
            files, refused = self.dicomweb.fetch(study.images.server, study.study_instance_uid, wanted, Path(folder))
            yield Folder(Path(folder), tuple(files), refused)
