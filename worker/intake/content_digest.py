"""The content of a study as one digest: what its job says, and the bytes of the files that it lists."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from worker.contract import FilesSource, StudyJob
from worker.errors import Unavailable
from worker.imaging.storage import storage_fault

PRIORITY: Final = "priority"
"""The field of a job that is no part of its content."""


def content_digest(job: StudyJob, storage_root: Path) -> str:
    """Return the SHA-256 of a job's content: every field but the priority, and every listed file's bytes.

    A file that is not there counts as absent, so that a study pushed again after its file arrived is another content.
    What is on a DICOMweb server is not looked at.

    Raises:
        Unavailable: ``storage_unavailable``; nobody can say what is in a file for now.
    """
    paths = job.images.paths if isinstance(job.images, FilesSource) else []
    return _digest(job.model_dump(mode="json"), paths, storage_root)


def is_unchanged(job: Mapping[str, Any], digest: str, storage_root: Path) -> bool | None:
    """Say whether a study's files are, byte for byte, those that it came with.

    Args:
        job: as the ledger has it: in the form in which its digest was taken, whatever this version would make of it.
        digest: the ledger's.
        storage_root: where its files are.

    Returns:
        ``None``: nobody can say, since the images are on a DICOMweb server.
    """
    paths = job["images"].get("paths")
    return None if paths is None else _digest(job, paths, storage_root) == digest


def _digest(job: Mapping[str, Any], paths: list[str], storage_root: Path) -> str:
    fields = {name: value for name, value in job.items() if name != PRIORITY}
    files = [file_digest(storage_root, path) for path in paths]
    return hashlib.sha256(json.dumps([fields, files], sort_keys=True).encode()).hexdigest()


def file_digest(root: Path, path: str) -> str | None:
    """Return the SHA-256 of a file of the storage; ``None`` where none can be read there."""
    try:
        real = (root / path).resolve()
        if not real.is_relative_to(root.resolve()) or not real.is_file():
            return None
        with real.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        fault = storage_fault(error)
        if isinstance(fault, Unavailable):
            raise fault from None
        return None
