"""Files that are there whole or not at all, also after a loss of power."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from worker.errors import Code, SetupRefused


@contextmanager
def written() -> Iterator[None]:
    """Say that the registry can not be written, where that is so.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    try:
        yield
    except OSError:
        reason = "DLR_MODELS_DIR: the registry cannot be written; is there space, and does this user have permission?"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None


def write(path: Path, content: bytes) -> None:
    """Write a file, and wait until it is on the disk."""
    path.write_bytes(content)
    sync(path)


def replace(path: Path, content: bytes) -> None:
    """Put a file in another's place: readers find the one or the other."""
    draft = path.with_name(f".{path.name}")
    write(draft, content)
    draft.replace(path)
    sync(path.parent)


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


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600, all of it or nothing."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
