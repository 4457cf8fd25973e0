"""A job whose study is elsewhere becomes a whole one: its study found, its lesions read there, its images had.

Lesions come from the study's reports, segmentations and presentation states, exactly as in `dlr receive`, and what is
had of the images is what they are on. It is then in the storage, as if it had been sent.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.contract import FilesSource, StudyJob, StudyRequest, parse_job, whole_job
from worker.contract.parts import DicomwebSource, PacsSource
from worker.errors import Code, StudyRefused, Unavailable
from worker.image_access import Limits
from worker.imaging.archive import Archives
from worker.imaging.found_instance import Found
from worker.imaging.identity import read_identity
from worker.imaging.image_source import held_folder
from worker.intake.inbox import Inbox
from worker.intake.job_builder import build_job
from worker.intake.lesion_sources import Instance, find_lesions
from worker.intake.lesions_file import instances_of
from worker.intake.storage_copy import path_in_storage
from worker.intake.tracked_lesions import as_in_a_job
from worker.study import OnDicomweb, OnPacs

TURN_S: Final = 2.0
"""How long a job waits for its turn before it goes back to its queue, in seconds."""


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Finds studies on servers; for any number of threads, of which so many are served at a time.

    Attributes:
        archives: the servers, and what is fetched at most.
        storage_root: where files go.
        limits: the largest file.
    """

    archives: Archives
    storage_root: Path
    limits: Limits
    _turns: threading.BoundedSemaphore = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_turns", threading.BoundedSemaphore(self.archives.pacs.at_once))

    def is_needed(self, job: StudyJob | StudyRequest) -> bool:
        """Whether something of a job is to be had from a server before the study is on record.

        A whole job's images are fetched when it is scored, unless its PACS sends to `dlr receive`.
        """
        return isinstance(job, StudyRequest) or (
            not isinstance(job.images, FilesSource) and self.archives.sends(_place(job.images))
        )

    def whole(self, job: StudyJob | StudyRequest) -> StudyJob:
        """Return the job of the study that is asked for.

        Raises:
            Refused: the study cannot be found, or its lesions cannot be read; the codes of `worker.imaging.archive`,
                of `worker.intake.job_builder.build_job` and of `worker.contract.parse_job`.
            Unavailable: ``pacs_unavailable``, also where it was not this job's turn, ``dicomweb_unavailable``,
                ``storage_unavailable``.
        """
        if not self._turns.acquire(timeout=TURN_S):
            raise Unavailable(Code.PACS_UNAVAILABLE, "as many studies are being fetched as DLR_FETCH_ASSOCIATIONS says")
        try:
            return self._whole(job)
        finally:
            self._turns.release()

    def _whole(self, job: StudyJob | StudyRequest) -> StudyJob:
        where = _place(job.images)
        study = job.study_instance_uid or self.archives.study_of(where, job.accession_number or "")
        if job.lesions is None:
            return self._with_lesions_found(job, where, study)
        given = job if isinstance(job, StudyJob) else whole_job(job, study)
        if not self.archives.sends(where):
            return given
        wanted = {image.sop_instance_uid for lesion in given.marked for image in lesion.images}
        there = [one for one in self.archives.instances_of(where, study) if one.sop_instance_uid in wanted]
        if not there:
            raise StudyRefused(Code.SOP_INSTANCE_NOT_FOUND)
        with self._having(where, study, there) as files:
            paths = [path_in_storage(file, self.storage_root) for file in files]
        return parse_job(given.model_dump(mode="json") | {"images": {"kind": "files", "paths": paths}})

    def _with_lesions_found(self, job: StudyJob | StudyRequest, where: OnDicomweb | OnPacs, study: str) -> StudyJob:
        there = self.archives.instances_of(where, study)
        markings = [one for one in there if one.is_marking]
        if not markings:
            raise StudyRefused(Code.LESIONS_MISSING)
        with self._having(where, study, markings) as files:
            reports = [self._instance(file, study) for file in files]
            wanted = _marked_on(reports, self.limits)
            images = [one for one in there if one.sop_instance_uid in wanted]
            with self._having(where, study, images) as pictures:
                instances = [*reports, *(self._instance(picture, study) for picture in pictures)]
                places = {str(place): one.path for place, one in enumerate(instances)}
                named = {path: name for name, path in places.items()}
                built = build_job(instances, named.__getitem__, self.limits)
                if built.refused is not None:
                    raise built.refused
                # Copied once nothing more can be refused: what is in the storage belongs to a study.
                paths = [path_in_storage(places[name], self.storage_root) for name in built.job["images"]["paths"]]
        said: dict[str, Any] = {"priority": job.priority.value, "age_years": job.age_years}
        if job.accession_number is not None:
            said["accession_number"] = job.accession_number
        return parse_job(built.job | {"images": {"kind": "files", "paths": paths}} | said)

    def _instance(self, file: Path, study: str) -> Instance:
        identity = read_identity(file, self.limits)
        if identity.study_instance_uid != study:
            raise StudyRefused(Code.STUDY_UID_MISMATCH)
        return Instance(file, identity)

    @contextmanager
    def _having(self, where: OnDicomweb | OnPacs, study: str, found: Sequence[Found]) -> Iterator[list[Path]]:
        with held_folder() as folder:
            yield self.archives.files_of(where, study, found, folder, self._received)

    def _received(self, study_instance_uid: str, sop_instance_uid: str) -> Path:
        return Inbox.path_of(self.storage_root, study_instance_uid, sop_instance_uid)


def _place(images: DicomwebSource | PacsSource | FilesSource) -> OnDicomweb | OnPacs:
    match images:
        case DicomwebSource():
            return OnDicomweb(images.server)
        case PacsSource():
            return OnPacs(images.server)
        case FilesSource():
            raise TypeError("files are in the storage, and not on a server")


def _marked_on(reports: Sequence[Instance], limits: Limits) -> set[str]:
    """Return the SOP Instance UIDs of the images that lesions are on."""
    lesions = as_in_a_job(find_lesions(reports, limits).lesions)
    return {uid for lesion in lesions for uid in instances_of(lesion)}
