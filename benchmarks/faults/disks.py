"""Small disks of memory (tmpfs), whose faults are real: full, without inodes, read-only, gone from their place."""

import errno
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from benchmarks.faults.not_here import NotPossibleHere

SIZE = "16m"
INODES = 4000
_FILLER = ".filler"
_BLOCK = b"\0" * 4096


class MountingNotAllowed(NotPossibleHere):
    """Only root may mount a disk, and in a container not even root."""


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Have a disk of 16 MiB and 4000 inodes in a place.

    Raises:
        MountingNotAllowed: it is not possible here.
    """
    place.mkdir(parents=True, exist_ok=True)
    with _mounted(place, "-t", "tmpfs", "-o", f"size={SIZE},nr_inodes={INODES},mode=0700", "tmpfs"):
        yield place


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill a disk to its last block."""
    filler = disk / _FILLER
    with filler.open("xb", buffering=0) as file:
        _until_full(lambda: file.write(_BLOCK))
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def without_inodes(disk: Path) -> Iterator[None]:
    """Use up a disk's inodes; there is room on it for bytes."""
    folder = disk / _FILLER
    folder.mkdir()
    numbers = iter(range(INODES + 1))
    _until_full(lambda: (folder / str(next(numbers))).touch())
    try:
        yield
    finally:
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()


@contextmanager
def read_only(disk: Path) -> Iterator[None]:
    """Let a disk be read, and not written."""
    with _mounted(disk, "--bind", str(disk)):
        _mount("-o", "remount,bind,ro", str(disk))
        yield


@contextmanager
def gone(disk: Path) -> Iterator[None]:
    """Leave an empty folder in a disk's place, as one that is not mounted does."""
    with _mounted(disk, "-t", "tmpfs", "tmpfs"):
        yield


@contextmanager
def without_its_folder(disk: Path) -> Iterator[None]:
    """Take away the folder in which a receiver keeps what arrives."""
    folder, aside = disk / "received", disk / ".received"
    folder.rename(aside)
    try:
        yield
    finally:
        aside.rename(folder)


FAULTS: Mapping[str, Callable[[Path], AbstractContextManager[None]]] = {
    "full": full,
    "without inodes": without_inodes,
    "read-only": read_only,
    "not mounted": gone,
    "without its folder": without_its_folder,
}
"""Each fault of a disk, for as long as the context lasts."""


def _until_full(use: Callable[[], object]) -> None:
    try:
        while True:
            use()
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@contextmanager
def _mounted(place: Path, *how: str) -> Iterator[None]:
    _mount(*how, str(place))
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True, capture_output=True)


def _mount(*arguments: str) -> None:
    try:
        subprocess.run(["mount", *arguments], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise MountingNotAllowed("no disk can be mounted here") from error
