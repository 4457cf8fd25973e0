"""The pixels of stored lesions, read as they were when they were scored, or why that cannot be done any more."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from db.reads.scored_images import ScoredImage
from db.writes.rescoring import StoredStudy
from worker.clinical.categories import Birads, Priority
from worker.contract import FilesSource, StudyJob, images_of, parse_job
from worker.errors import Code, LesionRefused, Refused
from worker.imaging.image_source import ImageSource
from worker.imaging.storage import confine
from worker.imaging.study_files import FileEntry
from worker.intake.content_digest import is_unchanged
from worker.scoring.pipeline import Decoders
from worker.study import Lesion, LesionImage, MarkedImage, Roi, Study

Loaded = LesionImage | Refused


class Reading(Decoders, Protocol):
    """Decoders that also say whose one file is (`worker.imaging.decoder_pool.DecoderPool`)."""

    def entry(self, path: Path) -> FileEntry:
        """Read the header of one file."""


@dataclass(frozen=True, slots=True)
class StoredImages:
    """Reads the images of studies on record.

    Attributes:
        source: finds the files.
        decoders: read them; their gate should refuse nothing, since these lesions were let pass.
        storage_root: the files' folder.
    """

    source: ImageSource
    decoders: Reading
    storage_root: Path

    def load(self, study: StoredStudy) -> dict[int, Loaded]:
        """Load the images of a study's lesions: each in the region and with the age that it was scored with.

        Returns:
            By the ledger's key of the image, its pixels; or any code of a file, of pixels or of a region, and
            ``image_changed``: a file of the study holds other bytes than when the study arrived, or is gone. What is on
            a DICOMweb server is not compared.

        Raises:
            Unavailable: the storage or the DICOMweb server is away.
        """
        try:
            job = parse_job(study.job)
            loaded = self._decoded(study, job)
        except Refused as refused:
            return dict.fromkeys(keys_of(study), refused)
        readable = any(isinstance(one, LesionImage) for one in loaded.values())
        if not readable or not isinstance(job.images, FilesSource):
            return loaded
        # After the decoding, which tells a storage that is away from a file that is gone.
        if is_unchanged(study.job, study.content_digest, self.storage_root):
            return loaded
        changed = LesionRefused(Code.IMAGE_CHANGED)
        return {key: changed if isinstance(one, LesionImage) else one for key, one in loaded.items()}

    def patient(self, study: StoredStudy) -> str:
        """Return the Patient ID (0010,0020) in a study's files; empty where none of them has one that can be read.

        Raises:
            Unavailable: as `load`.
        """
        try:
            with self.source.folder(_study_of(study, parse_job(study.job))) as folder:
                return next(filter(None, (self._patient_in(folder.root, path) for path in folder.paths)), "")
        except Refused:
            return ""

    def _patient_in(self, root: Path, path: str) -> str:
        try:
            patient = self.decoders.entry(confine(root, path)).patient
        except LesionRefused:
            return ""
        return patient.text if patient.is_whole else ""

    def _decoded(self, study: StoredStudy, job: StudyJob) -> dict[int, Loaded]:
        loaded: dict[int, Loaded] = {}
        with self.source.folder(_study_of(study, job)) as folder:
            files = self.decoders.index(folder.root, folder.paths, study.study_instance_uid)
            for (sop_instance_uid, frame, age_years), images in _by_frame(study).items():
                refused = folder.refused.get(sop_instance_uid)
                if refused is not None:
                    loaded |= dict.fromkeys((image.key for image in images), refused)
                    continue
                marked = [MarkedImage(sop_instance_uid, frame, Roi(*image.region)) for image in images]
                read = self.decoders.load(files, marked, age_years)
                loaded |= {image.key: one for image, one in zip(images, read, strict=True)}
        return loaded


def keys_of(study: StoredStudy) -> list[int]:
    """Return the keys of all images of a study."""
    return [image.key for lesion in study.lesions for image in lesion.images]


def _by_frame(study: StoredStudy) -> dict[tuple[str, int | None, float], list[ScoredImage]]:
    """Group images by what is decoded at once."""
    frames: dict[tuple[str, int | None, float], list[ScoredImage]] = {}
    for lesion in study.lesions:
        for image in lesion.images:
            frames.setdefault((image.sop_instance_uid, image.frame, lesion.age_years), []).append(image)
    return frames


def _study_of(study: StoredStudy, job: StudyJob) -> Study:
    # The name and the category of a lesion are nothing to where its images are.
    lesions = tuple(
        Lesion(
            "",
            tuple(MarkedImage(image.sop_instance_uid, image.frame, None) for image in lesion.images),
            Birads.INCOMPLETE,
        )
        for lesion in study.lesions
    )
    return Study(study.study_id, study.study_instance_uid, Priority.ROUTINE, None, images_of(job), lesions)
