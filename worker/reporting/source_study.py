"""Whose a document is: patient, study and images, from the headers of the study's files. The database has no names."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Protocol

from db.schema.records import Box
from worker.clinical.categories import Birads, Priority
from worker.errors import Code, LesionRefused
from worker.image_access import Limits
from worker.imaging.dicom_file import DicomFile, open_dicom
from worker.imaging.header import Header
from worker.imaging.image_source import Folder, ImageSource
from worker.imaging.study_files import StudyFiles, entry_of, fault_of, index_study, read_entry
from worker.reporting.conforming import conforms
from worker.reporting.result import LesionResult, StudyResult
from worker.study import Lesion, MarkedImage, OnDicomweb, OnPacs, Study
from worker.text import on_one_line

_NAMES = ("PatientName", "ReferringPhysicianName")
_PLACER = "PlacerOrderNumberImagingServiceRequest"
_TEXTS = ("PatientID", "IssuerOfPatientID", "AccessionNumber", "StudyID", "StudyDescription", _PLACER)
_PATTERNS = {
    "PatientBirthDate": r"\d{8}",
    "StudyDate": r"\d{8}",
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
    "PatientSex": r"[MFO]",
    "TimezoneOffsetFromUTC": r"\+(0\d|1[0-3])[0-5]\d|\+1400|-(?!0000)(0\d|1[01])[0-5]\d|-1200",
}
_DATES = ("PatientBirthDate", "StudyDate")
_COMPRESSION = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
_IMAGE = ("SeriesInstanceUID", "Laterality", "BurnedInAnnotation", *_COMPRESSION)
_ALSO = ("SpecificCharacterSet", *_NAMES, *_TEXTS, *_PATTERNS, *_IMAGE)
_LONGEST = 1024


@dataclass(frozen=True, slots=True)
class Subject:
    """The patient and the study, as a file of it says; empty where it does not, or not as DICOM has it.

    Attributes:
        patient_name: and ``referring_physician_name``: component groups and components divided by ``=`` and ``^``.
        patient_birth_date: and ``study_date``: YYYYMMDD.
        patient_sex: M, F or O.
        study_time: HHMMSS.FFFFFF, its end may be missing.
        timezone_offset: of times of the files, such as +0100.
        placer_order_number: Placer Order Number / Imaging Service Request (0040,2016).
    """

    study_instance_uid: str
    patient_name: str
    patient_id: str
    issuer_of_patient_id: str
    patient_birth_date: str
    patient_sex: str
    study_date: str
    study_time: str
    study_id: str
    study_description: str
    accession_number: str
    referring_physician_name: str
    timezone_offset: str
    placer_order_number: str = ""

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the time zone of the files; where they name none, in that of this machine."""
        if not self.timezone_offset:
            return moment.astimezone()
        sign = -1 if self.timezone_offset[0] == "-" else 1
        hours, minutes = int(self.timezone_offset[1:3]), int(self.timezone_offset[3:])
        return moment.astimezone(timezone(sign * timedelta(hours=hours, minutes=minutes)))


def accession_of(subject: Subject, result: StudyResult) -> str:
    """Return the accession number: the images', or where they have none, the one that came with the job."""
    return subject.accession_number or result.accession_number or ""


class Marked(Protocol):
    """What is marked on a frame: an image of a lesion, or a lesion by the image that it is told by."""

    @property
    def sop_instance_uid(self) -> str:
        """Of the file."""

    @property
    def frame(self) -> int | None:
        """From 1; ``None``: the file's only frame."""

    @property
    def roi(self) -> Box | None:
        """The sender's rectangle."""

    @property
    def region(self) -> Box | None:
        """The rectangle that was scored."""


@dataclass(frozen=True, slots=True)
class SourceImage:
    """An image that lesions are on.

    Attributes:
        frames: ``None`` for an image that has no Number of Frames.
        laterality: of the breast, L or R; empty where the header does not say.
        burned_in: Burned In Annotation: YES, NO, or empty where the header does not say.
        lossy: Lossy Image Compression, its ratio and its method; empty where the header does not say.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    rows: int
    columns: int
    frames: int | None
    laterality: str
    burned_in: str
    lossy: tuple[str, str, str]

    def shows(self, marked: Marked) -> bool:
        """Whether it has the frame that a lesion is said to be on; of several frames, nobody guesses which."""
        frames = self.frames or 1
        return frames == 1 if marked.frame is None else marked.frame <= frames

    def frame_of(self, marked: Marked) -> int | None:
        """Return the frame to refer to, from 1; ``None`` where the image numbers none, or has not the lesion's."""
        return (marked.frame or 1) if self.frames is not None and self.shows(marked) else None


@dataclass(frozen=True, slots=True)
class Source:
    """What the files of a study say: whose it is, and the images of its lesions, by SOP Instance UID."""

    subject: Subject
    images: Mapping[str, SourceImage]


@contextmanager
def opened(result: StudyResult, images: ImageSource, limits: Limits) -> Iterator[Source]:
    """Have a study's images, in the storage or fetched from its server, for as long as documents are made of them.

    Raises:
        StudyRefused: ``patient_mismatch``, ``dicomweb_server_unknown``, or another of `worker.imaging.image_source`.
        LesionRefused: as `read_source`.
        Unavailable: ``storage_unavailable``, ``dicomweb_unavailable``.
    """
    where: tuple[str, ...] | OnDicomweb | OnPacs = result.paths
    if result.dicomweb_server is not None:
        where = (OnPacs if result.is_on_pacs else OnDicomweb)(result.dicomweb_server)
    lesions = tuple(
        Lesion(
            lesion.lesion_id,
            tuple(MarkedImage(uid, None, None) for uid in _instances_of(lesion)),
            Birads(lesion.birads),
        )
        for lesion in result.lesions
    )
    uid, priority = result.study_instance_uid or "", Priority(result.priority)
    with images.folder(Study(result.study_id, uid, priority, None, where, lesions)) as folder:
        yield read_source(result, folder, limits)


def _instances_of(lesion: LesionResult) -> list[str]:
    return [image.sop_instance_uid for image in lesion.images] or [lesion.sop_instance_uid]


def read_source(result: StudyResult, folder: Folder, limits: Limits) -> Source:
    """Read the headers of a study's files; of one that is not whole, or not the study's, nothing is taken.

    Args:
        result: of a study with a Study Instance UID.
        folder: its files; nothing outside of it is read.
        limits: the largest file.

    Raises:
        StudyRefused: ``patient_mismatch``.
        LesionRefused: a ``file_`` code, ``study_uid_mismatch`` or another of a file, when there is no image to take
            patient and study from.
        Unavailable: ``storage_unavailable``.
    """
    uid = result.study_instance_uid or ""
    files = index_study(folder.root, folder.paths, uid, lambda path: read_entry(path, limits))
    wanted = dict.fromkeys(uid for lesion in result.lesions for uid in _instances_of(lesion))
    there = [sop for sop in wanted if sop in files.paths and sop not in files.ambiguous]
    if not there and not files.paths:
        raise _why_none(files, folder)
    read = [_read(files.paths[sop], uid, limits) for sop in there or list(files.paths)[:1]]
    return Source(read[0][0], {image.sop_instance_uid: image for _, image in read})


def _why_none(files: StudyFiles, folder: Folder) -> LesionRefused:
    every = [*(failed.refused for failed in files.failed), *folder.refused.values()]
    refused = every[0] if every else LesionRefused(Code.FILE_NOT_FOUND)
    return LesionRefused(refused.code, refused.reason)


def _read(path: Path, study_instance_uid: str, limits: Limits) -> tuple[Subject, SourceImage]:
    with open_dicom(path, limits, _ALSO) as file:
        fault = fault_of(entry_of(file), study_instance_uid)
        if fault is not None:
            raise LesionRefused(fault)
        return _subject(file.header), _image(path, file)


def _image(path: Path, file: DicomFile) -> SourceImage:
    header = file.header
    return SourceImage(
        path=path,
        sop_class_uid=header.text("SOPClassUID"),
        sop_instance_uid=header.text("SOPInstanceUID"),
        series_instance_uid=series if conforms("UI", series := header.text("SeriesInstanceUID")) else "",
        rows=header.integer("Rows") or 0,
        columns=header.integer("Columns") or 0,
        frames=header.integer("NumberOfFrames"),
        laterality=laterality if (laterality := header.text("Laterality")) in ("L", "R") else "",
        burned_in=header.text("BurnedInAnnotation"),
        lossy=(header.text(_COMPRESSION[0]), header.text(_COMPRESSION[1]), header.text(_COMPRESSION[2])),
    )


def _subject(header: Header) -> Subject:
    texts = {name: on_one_line(header.text(name)) for name in (*_NAMES, *_TEXTS)}
    # A name of delimiters alone is none, and no group behind the last one is there.
    texts |= {name: texts[name].rstrip("=") if texts[name].strip("^= ") else "" for name in _NAMES}
    plain = {name: header.text(name) for name in _PATTERNS}
    plain = {name: value if _conforms(name, value) else "" for name, value in plain.items()}
    said = {name: value[:_LONGEST] for name, value in (texts | plain).items()}
    return Subject(
        study_instance_uid=header.text("StudyInstanceUID"),
        patient_name=said["PatientName"],
        patient_id=said["PatientID"],
        issuer_of_patient_id=said["IssuerOfPatientID"],
        patient_birth_date=said["PatientBirthDate"],
        patient_sex=said["PatientSex"],
        study_date=said["StudyDate"],
        study_time=said["StudyTime"],
        study_id=said["StudyID"],
        study_description=said["StudyDescription"],
        accession_number=said["AccessionNumber"],
        referring_physician_name=said["ReferringPhysicianName"],
        timezone_offset=said["TimezoneOffsetFromUTC"],
        placer_order_number=said[_PLACER],
    )


def _conforms(name: str, value: str) -> bool:
    if not re.fullmatch(_PATTERNS[name], value, re.ASCII):
        return False
    try:
        return name not in _DATES or bool(date.fromisoformat(value))
    except ValueError:
        return False
