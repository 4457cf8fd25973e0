"""The files that studies refer to: listed with their digests in a backup, and looked for again beside a storage."""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

from worker.backup.archive import CHUNK
from worker.errors import DlrError
from worker.imaging.storage import RECEIVED, SUBMITTED, confine


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file, as it was.

    Attributes:
        path: below the storage root.
        studies: the ids of those that name it.
        size: its length in bytes; ``None``: it could not be found or read.
        mtime_ns: when it was last changed, in nanoseconds since 1970.
        sha256: of its content, in hexadecimal digits; ``None``: it was not read.
    """

    path: str
    studies: tuple[str, ...]
    size: int | None = None
    mtime_ns: int | None = None
    sha256: str | None = None

    def line(self) -> bytes:
        """Return it as a line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False).encode() + b"\n"

    def unchanged(self, other: "StoredFile") -> bool:
        """Whether its length and its time are those of another look at the same file."""
        return self.size is not None and (self.size, self.mtime_ns) == (other.size, other.mtime_ns)


class State(StrEnum):
    """What became of a file since."""

    MISSING = "missing"
    CHANGED = "changed"
    NOT_IN_BACKUP = "not_in_backup"


@dataclass(frozen=True, slots=True)
class FileFinding:
    """A file that is not as it was; ``studies`` are the ids of those that name it."""

    path: str
    state: State
    studies: tuple[str, ...] = ()


def read_line(line: bytes) -> StoredFile:
    """Read what `StoredFile.line` wrote.

    Raises:
        ValueError: it is something else.
    """
    try:
        file = StoredFile(**json.loads(line))
    except TypeError:
        raise ValueError("not a file's line") from None
    return replace(file, studies=tuple(file.studies))


def look(root: Path, file: StoredFile, before: StoredFile | None = None, *, digests: bool = True) -> StoredFile:
    """Return a file as it is now.

    Args:
        root: of the storage, resolved.
        file: its path and its studies.
        before: as an earlier backup has it; where its length and time are the same, so is its digest.
        digests: read it, to know its digest.
    """
    try:
        place = confine(root, file.path)
        found = place.stat()
        if not stat.S_ISREG(found.st_mode):
            return file
        seen = replace(file, size=found.st_size, mtime_ns=found.st_mtime_ns)
        if not digests:
            return seen
        known = before.sha256 if before is not None and before.unchanged(seen) else None
        return replace(seen, sha256=known or _digest(place))
    except (OSError, DlrError):
        return file


def with_earlier(
    files: Iterable[tuple[str, tuple[str, ...]]], earlier: Iterator[StoredFile]
) -> Iterator[tuple[StoredFile, StoredFile | None]]:
    """Pair files with what an earlier list has of each; both are in the order of their paths' bytes."""
    ahead = next(earlier, None)
    for path, studies in files:
        while ahead is not None and ahead.path.encode() < path.encode():
            ahead = next(earlier, None)
        yield StoredFile(path, studies), ahead if ahead is not None and ahead.path == path else None


def compare(root: Path, listed: Iterable[StoredFile]) -> Iterator[FileFinding]:
    """Yield the files that are missing or have another content than was listed, and those that came since.

    A file of the same length and time is taken for the same, and only one of another time is read. Of what is not
    listed, what this software itself put into the storage is told: copies that were submitted, and what was received.
    """
    ours: set[str] = set()
    for file in listed:
        if file.path.startswith((f"{RECEIVED}/", f"{SUBMITTED}/")):
            ours.add(file.path)
        if file.size is None:
            continue
        now = look(root, file, file, digests=file.sha256 is not None)
        if now is file:
            yield FileFinding(file.path, State.MISSING, file.studies)
        elif now.size != file.size or now.sha256 != file.sha256:
            yield FileFinding(file.path, State.CHANGED, file.studies)
    for folder in (RECEIVED, SUBMITTED):
        for path in _within(root, root / folder):
            if path not in ours:
                yield FileFinding(path, State.NOT_IN_BACKUP)


def _within(root: Path, folder: Path) -> Iterator[str]:
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if name.endswith(".dcm") and not name.startswith("."):
                yield str((Path(place) / name).relative_to(root))


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
