"""Files that are there whole or not at all, also after a loss of power."""

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path, *, mode: int = 0o666, alone: bool = True) -> Iterator[Path]:
    """Give a draft beside a file: once it is written it takes the file's place, and where that fails it goes away.

    Readers find the file that was there or the new one, and the new one is on the disk when this ends.

    Args:
        path: of the file, in a folder that is there.
        mode: of the file, less the umask.
        alone: nobody else writes it meanwhile, so that what a killed process left of its draft is overwritten.

    Raises:
        OSError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.part" if alone else f".{path.name}.{secrets.token_hex(8)}.part")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    try:
        yield draft
        sync(draft)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync(path.parent)


def replace(path: Path, content: bytes) -> None:
    """Put a file in another's place."""
    with replacing(path) as draft:
        draft.write_bytes(content)


def write_private(path: Path, content: bytes, *, alone: bool = False) -> None:
    """Put a file that its owner alone may read in another's place; several processes may do so at once."""
    with replacing(path, mode=0o600, alone=alone) as draft:
        draft.write_bytes(content)


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Be the only process that writes a folder's files, of those that ask; the folder is made where it is missing.

    Raises:
        OSError: it cannot be made or read.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def write(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on the disk."""
    path.write_bytes(content)
    sync(path)


def append(path: Path, line: bytes) -> None:
    """Append a line, and wait until it is on the disk. A line that a loss of power cut short is ended first."""
    is_new = not path.exists()
    with path.open("ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
