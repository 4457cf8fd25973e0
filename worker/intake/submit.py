"""``dlr submit``: job files, DICOM files and folders become jobs, one a study."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

from worker.contract import parse_job
from worker.errors import Code, DlrError, JobRefused, Refused, SetupRefused
from worker.imaging.identity import read_identity
from worker.imaging.storage import Limits
from worker.intake.accept import Intake
from worker.intake.arrived import arrived, job_of
from worker.intake.lesions_file import MarkedLesions, name_lesions
from worker.intake.marked import Instance
from worker.intake.storage import stored, text_fault


@dataclass(frozen=True, slots=True)
class Submission:
    """One job to hand in, or what is known of a file that can not become one.

    Attributes:
        name: the file or folder as the user gave it.
        job: the job, not yet checked against the contract; of a refused file, what is to be kept of it.
        refused: why there can be no job.
        note: what the user should know, such as files that were left out.
    """

    name: str
    job: Any
    refused: DlrError | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Handed:
    """What became of a submission: a study of the ledger, or the record of its refusal."""

    study_id: UUID
    change: str
    state: str
    revision: int | None = None
    refused: DlrError | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says for every job: it wins over files. ``None`` leaves a field as it is."""

    age_years: float | None = None
    priority: str | None = None

    def apply(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job with these fields set."""
        said = {"age_years": self.age_years, "priority": self.priority}
        return {**job, **{name: value for name, value in said.items() if value is not None}}


def hand_in(intake: Intake, submission: Submission, source: str) -> Handed:
    """Record a submission and queue its study, or keep why it is refused.

    Raises:
        DatabaseAway, BrokerError: PostgreSQL or Redis is away; it can be handed in again.
    """
    try:
        if submission.refused is not None:
            raise submission.refused
        recorded = intake.accept(parse_job(submission.job), source)
    except Refused as refused:
        return Handed(intake.refuse(submission.job, refused, source), "refused", "failed", refused=refused)
    return Handed(recorded.study_id, recorded.change, recorded.state, recorded.revision)


def plan(
    paths: Sequence[Path], marked: MarkedLesions | None, overrides: Overrides, storage_root: Path, limits: Limits
) -> list[Submission]:
    """Turn what the user named into submissions, one a study, in order. Nothing is handed in yet.

    Args:
        paths: job files (``*.json``), DICOM files and folders of DICOM files.
        marked: the lesions of the DICOM files; ``None``: a DICOM SR, SEG or GSPS among the files has them.
        overrides: of the command line.
        storage_root: where files go that are elsewhere.
        limits: the largest file.

    Raises:
        SetupRefused: ``setting_invalid``, when a path is not there, DICOM files come without lesions, or lesions and
            studies can not be told to belong together.
        Unavailable: ``storage_unavailable``, when a file can not be read or copied.
    """
    for path in paths:
        if not path.exists():
            raise SetupRefused(Code.SETTING_INVALID, f"{path}: there is no such file or folder")
    job_files = [_from_job_file(path, overrides) for path in paths if path.suffix == ".json"]
    dicom = [path for path in paths if path.suffix != ".json"]
    if not dicom:
        return job_files
    if marked is None:
        return job_files + _from_reports(dicom, overrides, storage_root, limits)
    return job_files + _from_dicom(dicom, marked, overrides, storage_root, limits)


def _from_job_file(path: Path, overrides: Overrides) -> Submission:
    unreadable = f"{path}: the file can not be read as text"
    try:
        content = path.read_bytes()
        text = content.decode(json.detect_encoding(content))
    except OSError as error:
        raise text_fault(error, unreadable) from None
    except UnicodeDecodeError:
        raise SetupRefused(Code.SETTING_INVALID, unreadable) from None
    try:
        job = json.loads(text)
    except (ValueError, RecursionError):
        return Submission(str(path), {"text": text}, JobRefused(Code.JOB_INVALID, "the job file is not JSON"))
    return Submission(str(path), overrides.apply(job) if isinstance(job, dict) else job)


def _from_dicom(
    paths: Sequence[Path], marked: MarkedLesions, overrides: Overrides, storage_root: Path, limits: Limits
) -> list[Submission]:
    known = {"lesions": list(marked.lesions), **marked.fields}
    images, refused, note = _read(paths, overrides, known, limits)
    return refused + [
        Submission(str(group.images[0].path), group.job(marked, overrides, storage_root), note=note)
        for group in _groups(images, marked)
    ]


def _from_reports(paths: Sequence[Path], overrides: Overrides, storage_root: Path, limits: Limits) -> list[Submission]:
    images, handed_in, note = _read(paths, overrides, {}, limits)
    if not any(image.is_marking for image in images):
        reason = f"{paths[0]}: DICOM files need --lesions FILE, or a DICOM SR, SEG or GSPS that marks the lesions"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    for study in _by_study(images):
        found = arrived(study, lambda path: stored(path, storage_root), limits)
        handed_in.append(Submission(str(study[0].path), overrides.apply(found.job), found.refused, note))
    return handed_in


def _read(
    paths: Sequence[Path], overrides: Overrides, known: Mapping[str, Any], limits: Limits
) -> tuple[list[Instance], list[Submission], str]:
    """Read what each file is; return the files, those that are refused, and what was left out, as a sentence."""
    refused: list[Submission] = []
    images: list[Instance] = []
    left_out = 0
    for file, in_folder in _files(paths):
        try:
            images.append(_instance(file, limits))
        except Refused as error:
            if in_folder and error.code is Code.FILE_NOT_DICOM:
                left_out += 1
                continue
            refused.append(Submission(str(file), overrides.apply({"file": str(file), **known}), error))
    if not images and not refused:
        raise SetupRefused(Code.SETTING_INVALID, f"{paths[0]}: no DICOM file there")
    return images, refused, f"{left_out} files that are not DICOM were left out" if left_out else ""


def _files(paths: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    for path in paths:
        if path.is_dir():
            yield from ((item, True) for item in sorted(path.rglob("*")) if not item.is_dir())
        else:
            yield path, False


def _instance(path: Path, limits: Limits) -> Instance:
    identity = read_identity(path, limits)
    if not identity.study_instance_uid:
        raise JobRefused(Code.STUDY_UID_MISSING)
    return Instance(path, identity)


def _by_study(images: Sequence[Instance]) -> list[list[Instance]]:
    studies: dict[str, list[Instance]] = {}
    for image in images:
        studies.setdefault(image.identity.study_instance_uid, []).append(image)
    return list(studies.values())


@dataclass(frozen=True, slots=True)
class _Group:
    images: tuple[Instance, ...]
    lesions: tuple[dict[str, Any], ...]

    def job(self, marked: MarkedLesions, overrides: Overrides, storage_root: Path) -> dict[str, Any]:
        first = self.images[0].identity
        paths = [stored(image.path, storage_root) for image in self.images]
        job = job_of(first.study_instance_uid, first.accession_number or None, paths, self.lesions)
        return overrides.apply({**job, **marked.fields})


def _groups(images: Sequence[Instance], marked: MarkedLesions) -> list[_Group]:
    lesions = name_lesions(marked.lesions)
    if len(images) == 1:
        lesions = [{"sop_instance_uid": images[0].identity.sop_instance_uid, **lesion} for lesion in lesions]
    studies = _by_study(images)
    if len(studies) <= 1:
        return [_Group(tuple(files), tuple(lesions)) for files in studies]
    groups = [_Group(tuple(files), tuple(_on(lesions, files))) for files in studies]
    if any(not group.lesions for group in groups) or sum(len(group.lesions) for group in groups) != len(lesions):
        raise SetupRefused(
            Code.SETTING_INVALID,
            f"{len(studies)} studies were found, and the lesions file does not say for each lesion, by its "
            "sop_instance_uid, on which image it is, or has none for one of the studies: nothing was handed in",
        )
    return groups


def _on(lesions: Sequence[dict[str, Any]], images: Sequence[Instance]) -> list[dict[str, Any]]:
    uids = {image.identity.sop_instance_uid for image in images}
    return [lesion for lesion in lesions if lesion.get("sop_instance_uid") in uids]
