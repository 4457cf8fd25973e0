"""Job files, DICOM files and folders become jobs, one a study: for ``dlr submit`` and ``dlr watch``.

Where a folder has a ``lesions.json``, that says where the lesions are on the DICOM files in it and below, down to the
next such file; what has none takes its lesions from a DICOM SR, SEG or GSPS.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

from worker.clinical.categories import Priority
from worker.contract import parse_job
from worker.errors import Code, DlrError, JobRefused, Refused, SetupRefused
from worker.image_access import Limits
from worker.imaging.identity import is_directory, read_identity, study_named_in
from worker.intake.accept_study import Intake
from worker.intake.job_builder import build_job, job_of
from worker.intake.lesion_sources import Instance
from worker.intake.lesions_file import LESIONS, MarkedLesions, instances_of, name_lesions, on_instance, read_lesions
from worker.intake.storage_copy import path_in_storage, text_fault


@dataclass(frozen=True, slots=True)
class Submission:
    """One job to hand in, or what is known of a file that cannot become one.

    Attributes:
        name: the file or folder as the user gave it.
        job: the job, not yet checked against the contract; of a refused file, what is to be kept of it.
        refused: why there can be no job.
        notes: what the user should know, such as a priority that was lowered.
        former: the job as an earlier version made it of the same files, where that is another one.
    """

    name: str
    job: Any
    refused: DlrError | None = None
    notes: tuple[str, ...] = ()
    former: Any = None


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission: a study of the ledger, or the record of its refusal.

    Attributes:
        priority: the ledger's.
        asked: the priority that the submission asked for; the ledger never lowers one.
    """

    study_id: UUID
    change: str
    state: str
    revision: int | None = None
    refused: DlrError | None = None
    priority: str | None = None
    asked: str | None = None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line says for every job: it goes before job files and files of lesions. ``None``: nothing.

    An age is held against the images' headers all the same (`worker.imaging.age`).
    """

    age_years: float | None = None
    priority: str | None = None

    def apply(self, job: Mapping[str, Any]) -> dict[str, Any]:
        """Return the job with these fields set."""
        said = {"age_years": self.age_years, "priority": self.priority}
        return {**job, **{name: value for name, value in said.items() if value is not None}}

    def lowers(self, job: Mapping[str, Any]) -> tuple[str, ...]:
        """Say so if these make a job less urgent than it is by itself."""
        urgency = [priority.value for priority in Priority]
        said = job.get("priority")
        if self.priority is None or said not in urgency or urgency.index(said) >= urgency.index(self.priority):
            return ()
        return (f"its priority is {self.priority}, as the command line says; its file says {said}",)


def submit_one(intake: Intake, submission: Submission, source: str) -> Submitted:
    """Record a submission and queue its study, or keep why it is refused.

    Raises:
        DatabaseAway, BrokerError: PostgreSQL or Redis is away; it can be handed in again.
    """
    try:
        if submission.refused is not None:
            raise submission.refused
        job = parse_job(submission.job)
        former = None if submission.former is None else parse_job(submission.former)
        recorded = intake.accept(job, source, former=former)
    except Refused as refused:
        return Submitted(intake.refuse(submission.job, refused, source), "refused", "failed", refused=refused)
    return Submitted(
        recorded.study_id,
        recorded.change,
        recorded.state,
        recorded.revision,
        priority=recorded.priority,
        asked=job.priority.value,
    )


def plan(
    paths: Sequence[Path], marked: MarkedLesions | None, overrides: Overrides, storage_root: Path, limits: Limits
) -> list[Submission]:
    """Turn what the user named into submissions, one a study, in order. Nothing is handed in yet.

    Files that are refused come last: a study that is accepted retires what was refused of it before, and they are news.

    Args:
        paths: job files (``*.json``), DICOM files and folders of DICOM files; a ``lesions.json`` in the folder of DICOM
            files that are named too is theirs.
        marked: the lesions of all DICOM files, whatever is in the folders; ``None``: as this module says.
        overrides: of the command line.
        storage_root: where files go that are elsewhere.
        limits: the largest file.

    Raises:
        SetupRefused: ``setting_invalid``, when a path is not there, DICOM files come without lesions, or lesions and
            studies cannot be told to belong together.
        Unavailable: ``storage_unavailable``, when a file cannot be read or copied.
    """
    for path in paths:
        if not path.exists():
            raise SetupRefused(Code.SETTING_INVALID, f"{path}: no such file or folder")
    dicom = [path for path in paths if path.suffix != ".json"]
    theirs = [path for path in paths if path.name == LESIONS and path.parent in {one.parent for one in dicom}]
    submissions = [_from_job_file(path, overrides) for path in paths if path.suffix == ".json" and path not in theirs]
    if dicom:
        submissions += _from_files([*dicom, *theirs], marked, overrides, storage_root, limits)
    return submissions


def _from_job_file(path: Path, overrides: Overrides) -> Submission:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise text_fault(error, f"{path}: the file cannot be read") from None
    read = submission_of(content, str(path))
    if read.refused is not None or not isinstance(read.job, dict):
        return read
    return replace(read, job=overrides.apply(read.job), notes=overrides.lowers(read.job))


def submission_of(content: bytes, name: str = "") -> Submission:
    """Turn a job as JSON, or what was taken for it, into a submission.

    Args:
        content: of a file or a request.
        name: of the file, as the user gave it.
    """
    try:
        return Submission(name, json.loads(content))
    except UnicodeDecodeError:
        why = "the job is not in UTF-8"
    except (ValueError, RecursionError):
        why = "the job is not JSON"
    text = content.decode(json.detect_encoding(content), "backslashreplace")
    return Submission(name, {"text": text}, JobRefused(Code.JOB_INVALID, why))


def _from_files(
    paths: Sequence[Path], marked: MarkedLesions | None, overrides: Overrides, storage_root: Path, limits: Limits
) -> list[Submission]:
    files = list(_files(paths))
    theirs = [file for file, _ in files if file.name == LESIONS]
    batches = _batches([one for one in files if one[0] not in theirs], theirs, marked)
    read = [(batch, *_read(batch, overrides, limits)) for batch in batches]
    if not any(images or refused for _, images, refused, _ in read):
        raise SetupRefused(Code.SETTING_INVALID, f"{paths[0]}: no DICOM file there")
    for batch, images, refused, _ in read:
        if batch.marked is None and (images or refused) and not any(image.is_marking for image in images):
            named = next(path for path in paths if batch.files[0][0].is_relative_to(path))
            reason = "DICOM files need --lesions FILE, a lesions.json in their folder, or a DICOM SR, SEG or GSPS"
            raise SetupRefused(Code.SETTING_INVALID, f"{named}: {reason} that marks the lesions")
    # Nothing is copied before it is certain that all can be handed in.
    groups = [group for batch, images, _, _ in read for group in _groups(images, batch.marked)]
    _check_that_none_is_twice(groups)
    submissions = [group.submission(overrides, storage_root, limits) for group in groups]
    submissions += [one for _, _, refused, _ in read for one in refused]
    notes = [f"{file} was not read: --lesions names another" for file in theirs if _is_another(file, marked)]
    left_out = sum(count for _, _, _, count in read)
    if left_out:
        said = "1 file that is not DICOM was" if left_out == 1 else f"{left_out} files that are not DICOM were"
        notes.append(f"{said} left out")
    submissions[0] = replace(submissions[0], notes=(*submissions[0].notes, *notes))
    return submissions


_File = tuple[Path, bool]
"""A file, and whether it was found in a folder, where others than DICOM may lie."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """Files whose lesions are in one ``lesions.json``, or, without one, each study's in a DICOM SR, SEG or GSPS."""

    files: Sequence[_File]
    marked: MarkedLesions | None


def _files(paths: Sequence[Path]) -> Iterator[_File]:
    for path in paths:
        if path.is_dir():
            yield from ((item, True) for item in sorted(path.rglob("*")) if not item.is_dir())
        else:
            yield path, False


def _batches(files: Sequence[_File], theirs: Sequence[Path], marked: MarkedLesions | None) -> list[_Batch]:
    if marked is not None:
        return [_Batch(files, marked)]
    below: dict[Path | None, list[_File]] = {file.parent: [] for file in theirs} | {None: []}
    for file, in_folder in files:
        below[next((folder for folder in file.parents if folder in below), None)].append((file, in_folder))
    alone = _Batch(below.pop(None), None)
    return [*(_Batch(found, read_lesions(folder / LESIONS)) for folder, found in below.items() if folder), alone]


def _read(batch: _Batch, overrides: Overrides, limits: Limits) -> tuple[list[Instance], list[Submission], int]:
    """Read what each file is; return the files, those that are refused, and how many others were left out."""
    known = {} if batch.marked is None else {"lesions": list(batch.marked.lesions), **batch.marked.fields}
    refused: list[Submission] = []
    images: list[Instance] = []
    left_out = 0
    for file, in_folder in batch.files:
        try:
            images.append(_instance(file, limits))
        except Refused as error:
            if in_folder and (error.code is Code.FILE_NOT_DICOM or is_directory(file, limits)):
                left_out += 1
                continue
            said = {"file": str(file), **study_named_in(file, limits), **known}
            refused.append(Submission(str(file), overrides.apply(said), error))
    if batch.marked is not None and not images and not refused:
        raise SetupRefused(
            Code.SETTING_INVALID, f"{batch.marked.path}: there is no DICOM file to which it could belong"
        )
    return images, refused, left_out


def _instance(path: Path, limits: Limits) -> Instance:
    identity = read_identity(path, limits)
    if not identity.study_instance_uid:
        raise JobRefused(Code.STUDY_UID_MISSING)
    return Instance(path, identity)


@dataclass(frozen=True, slots=True)
class _Group:
    """A study's files, and its lesions where they do not say them themselves."""

    images: Sequence[Instance]
    lesions: Sequence[dict[str, Any]] = ()
    marked: MarkedLesions | None = None

    def submission(self, overrides: Overrides, storage_root: Path, limits: Limits) -> Submission:
        name = str(self.images[0].path)
        if self.marked is None:
            found = build_job(self.images, lambda path: path_in_storage(path, storage_root), limits)
            former = None if found.former is None else overrides.apply(found.former)
            return Submission(name, overrides.apply(found.job), found.refused, former=former)
        paths = [path_in_storage(image.path, storage_root) for image in self.images]
        job = {**job_of(self.images, paths, self.lesions), **self.marked.fields}
        return Submission(name, overrides.apply(job), notes=overrides.lowers(job))


def _groups(images: Sequence[Instance], marked: MarkedLesions | None) -> list[_Group]:
    studies: dict[str, list[Instance]] = {}
    for image in images:
        studies.setdefault(image.identity.study_instance_uid, []).append(image)
    if marked is None:
        return [_Group(study) for study in studies.values()]
    lesions = name_lesions(marked.lesions)
    pictures = [image for image in images if not image.is_marking]
    if len(pictures) == 1:
        lesions = [on_instance(lesion, pictures[0].identity.sop_instance_uid) for lesion in lesions]
    if len(studies) <= 1:
        return [_Group(study, lesions, marked) for study in studies.values()]
    groups = [_Group(study, _on(lesions, study), marked) for study in studies.values()]
    if any(not group.lesions for group in groups) or sum(len(group.lesions) for group in groups) != len(lesions):
        raise SetupRefused(
            Code.SETTING_INVALID,
            f"{len(studies)} studies were found, and the lesions file does not say for each lesion, by its "
            "sop_instance_uid, on which image it is, or has none for one of the studies: nothing was submitted",
        )
    return groups


def _on(lesions: Sequence[dict[str, Any]], images: Sequence[Instance]) -> list[dict[str, Any]]:
    uids = {image.identity.sop_instance_uid for image in images}
    return [lesion for lesion in lesions if instances_of(lesion) & uids]


def _check_that_none_is_twice(groups: Sequence[_Group]) -> None:
    """Let no study be handed in with the lesions of one folder, and then with those of another in their place."""
    seen: dict[str, Path] = {}
    for group in groups:
        first = group.images[0]
        other = seen.setdefault(first.identity.study_instance_uid, first.path)
        if other != first.path:
            reason = f"{other} and {first.path} are of one study, and have their lesions from different places"
            raise SetupRefused(Code.SETTING_INVALID, f"{reason}: nothing was submitted")


def _is_another(file: Path, marked: MarkedLesions | None) -> bool:
    return marked is not None and (marked.path is None or not file.samefile(marked.path))
