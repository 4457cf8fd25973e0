"""Whether a study that comes again with other files has the same images, in another encoding."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Any, Final, Protocol

from db.reads.study_results import RecordedContent
from worker.errors import DlrError
from worker.imaging.storage import confine
from worker.imaging.study_files import FileEntry
from worker.intake.content_digest import PRIORITY, file_digest, is_unchanged

LONGEST_S: Final = 60.0
"""Seconds after which no further image of a study is compared: then it is another content."""


class Images(Protocol):
    """Reads images, in processes of its own."""

    def entry(self, path: Path) -> FileEntry:
        """Read whose a file is."""
        ...

    def same_image(self, one: Path, other: Path) -> bool:
        """Say whether two files are one image in two encodings."""
        ...


def is_reencoded(
    job: Mapping[str, Any], known: RecordedContent, storage_root: Path, images: Callable[[], Images]
) -> bool:
    """Say whether a job is the one on record, its images in another encoding.

    Args:
        job: as it would be put on record.
        known: of the current revision.
        storage_root: where the files of both are.
        images: gives what compares them.

    Returns:
        ``False`` also where nobody can say: files of the revision are gone or have changed, images are not files, one
        cannot be decoded, two of them claim one SOP Instance UID, it takes longer than `LONGEST_S`, or decoders are
        not installed.
    """
    if _fields(job) != _fields(known.job) or not is_unchanged(known.job, known.digest, storage_root):
        return False
    ends = monotonic() + LONGEST_S
    try:
        compared = images()
        before, after = (_by_content(one["images"]["paths"], storage_root) for one in (known.job, job))
        former, latter = (
            _by_uid([path for digest, path in one.items() if digest not in other], compared)
            for one, other in ((before, after), (after, before))
        )
        return former.keys() == latter.keys() and all(
            monotonic() < ends and compared.same_image(path, latter[uid]) for uid, path in former.items()
        )
    except (DlrError, OSError, ValueError, ImportError):
        return False


def _fields(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a job says, but for its urgency and where its files are."""
    said = {name: value for name, value in job.items() if name != PRIORITY}
    return said | {"images": {name: value for name, value in job.get("images", {}).items() if name != "paths"}}


def _by_content(paths: Sequence[str], storage_root: Path) -> dict[str, Path]:
    """Return a study's files, each once, by the SHA-256 of its bytes."""
    files = {path: file_digest(storage_root, path) for path in paths}
    if None in files.values():
        raise ValueError
    return {str(digest): confine(storage_root.resolve(), path) for path, digest in files.items()}


def _by_uid(paths: Sequence[Path], images: Images) -> dict[str, Path]:
    found = {images.entry(path).sop_instance_uid: path for path in paths}
    if len(found) != len(paths):
        raise ValueError
    return found
