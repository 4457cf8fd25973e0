"""Files that arrive over a network: on the disk before their sender hears so, one of each instance, grouped by study.

A study is open from its first instance until somebody has closed it; an instance that is new to it opens it again.
Which studies are open stands on the disk too, so that a receiver that was killed goes on where it was. Nothing is named
by a UID: a folder is the SHA-256 of its Study Instance UID, a file that of its SOP Instance UID.
"""

import fcntl
import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from filecmp import cmp as same_content
from pathlib import Path
from typing import Final, Self

from worker.durable_files import sync
from worker.errors import Code, SetupRefused
from worker.imaging.storage import RECEIVED

_ARRIVING, _OPEN, _LOCK = "arriving", "open", "lock"
_KEPT = re.compile(rf"{RECEIVED}/[0-9a-f]{{2}}/[0-9a-f]{{64}}/[0-9a-f]{{64}}\.dcm")
_LOCKS: Final = 64


def is_received(path: str) -> bool:
    """Tell whether a path, relative to the storage root, is of an instance that an `Inbox` keeps."""
    return _KEPT.fullmatch(path) is not None


def with_their_studies(storage_root: Path, paths: Iterable[str]) -> list[set[str]]:
    """Return all that was received with some paths: a set a study, each path relative to the storage root."""
    folders = sorted({storage_root / Path(path).parent for path in paths if is_received(path)})
    return [{str(file.relative_to(storage_root)) for file in folder.glob("*.dcm")} for folder in folders]


@dataclass
class _Open:
    """Since when nothing new has come, and whether somebody says that nothing more is to be waited for."""

    last: float
    complete: bool = False


@dataclass
class Inbox:
    """The instances of one receiver, which has it to itself. For any number of threads.

    Attributes:
        root: the storage root.
        same_image: whether two files are one image in two encodings.
    """

    root: Path
    same_image: Callable[[Path, Path], bool] = lambda _one, _other: False
    _open: dict[str, _Open] = field(default_factory=dict)
    _changed: threading.Lock = field(default_factory=threading.Lock)
    _studies: Sequence[threading.RLock] = field(default_factory=lambda: [threading.RLock() for _ in range(_LOCKS)])

    @property
    def arriving(self) -> Path:
        """The folder for instances that are not whole yet. It is on the inbox's own disk."""
        return self.root / RECEIVED / _ARRIVING

    @classmethod
    @contextmanager
    def held(cls, root: Path, same_image: Callable[[Path, Path], bool] = lambda _one, _other: False) -> Iterator[Self]:
        """Open the inbox of a storage root, as the only one who has it.

        What was half there when the last receiver ended is removed: its sender never heard that it was kept.

        Raises:
            SetupRefused: ``already_running``; another receiver has it. ``setting_invalid``; it cannot be written.
        """
        inbox = cls(root, same_image)
        with ExitStack() as held:
            try:
                for folder in (inbox.arriving, inbox._marks):
                    folder.mkdir(parents=True, exist_ok=True)
                lock = held.enter_context((root / RECEIVED / _LOCK).open("w"))
                inbox._lock_alone(lock.fileno())
                inbox._read()
            except OSError as error:
                reason = f"DLR_STORAGE_ROOT {root} cannot be read and written: {error.strerror}"
                raise SetupRefused(Code.SETTING_INVALID, reason) from None
            yield inbox

    def keep(self, arrived: Path, study_instance_uid: str, sop_instance_uid: str, *, opens: bool = True) -> str:
        """Keep a whole instance, durably, and open its study if the instance is new to it.

        An instance that is there already is kept once, and so is an image that comes again in another encoding. One
        with other content takes its place, as an archive's correction does.

        Args:
            arrived: a file in `arriving`; it is moved.
            study_instance_uid: not empty.
            sop_instance_uid: not empty.
            opens: whether its study is opened; not where somebody else waits for the instance.

        Returns:
            The study's key.

        Raises:
            OSError: the disk is full, or away; nothing was kept, and nothing of the try is left.
        """
        key = _digest(study_instance_uid)
        folder = self.folder(key)
        target = folder / f"{_digest(sop_instance_uid)}.dcm"
        with self._lock(key):
            if target.exists() and (same_content(target, arrived, shallow=False) or self.same_image(target, arrived)):
                arrived.unlink()
                return key
            try:
                sync(arrived)
                _make(folder)
                # Marked first: a study that is open for nothing is closed again; one that nobody knows would be lost.
                if opens:
                    self._mark(key)
                arrived.replace(target)
                sync(folder)
            except OSError:
                self._take_back(key, arrived)
                raise
        return key

    @staticmethod
    def path_of(root: Path, study_instance_uid: str, sop_instance_uid: str) -> Path:
        """Return where an inbox in a storage root keeps an instance, if it has it."""
        key = _digest(study_instance_uid)
        return root / RECEIVED / key[:2] / key / f"{_digest(sop_instance_uid)}.dcm"

    def place(self, path: Path) -> str:
        """Return where in the storage root a file of the inbox is."""
        return str(path.relative_to(self.root))

    def folder(self, key: str) -> Path:
        """Return a study's folder."""
        return self.root / RECEIVED / key[:2] / key

    def complete(self, key: str) -> None:
        """Say of a study that it may be whole, so that it is not waited for."""
        with self._changed:
            if key in self._open:
                self._open[key].complete = True

    def due(self, quiet_s: float) -> list[str]:
        """Return the open studies to which nothing has come for so long, or which may be whole."""
        before = time.monotonic() - quiet_s
        with self._changed:
            return [key for key, study in self._open.items() if study.complete or study.last <= before]

    def is_quiet(self, key: str, quiet_s: float) -> bool:
        """Say whether nothing has come to an open study for so long."""
        with self._changed:
            return key not in self._open or self._open[key].last <= time.monotonic() - quiet_s

    @contextmanager
    def study(self, key: str) -> Iterator[list[Path]]:
        """Give a study's files. Nothing comes to it meanwhile.

        What `complete` said of it is then done with, unless the context ends with an exception.

        Raises:
            OSError: the disk is away.
        """
        with self._lock(key):
            with self._changed:
                was_complete = key in self._open and self._open[key].complete
                if was_complete:
                    self._open[key].complete = False
            try:
                yield self._files(key)
            except BaseException:
                if was_complete:
                    self.complete(key)
                raise

    def close(self, key: str) -> None:
        """Close a study, inside of `study`: somebody else has taken it over, and keeps it on record."""
        with self._changed:
            self._open.pop(key, None)
        (self._marks / key).unlink(missing_ok=True)

    @property
    def _marks(self) -> Path:
        return self.root / RECEIVED / _OPEN

    def _lock_alone(self, lock: int) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            reason = "another `dlr receive` uses the inbox of this DLR_STORAGE_ROOT"
            raise SetupRefused(Code.ALREADY_RUNNING, reason) from None

    def _read(self) -> None:
        """Find what the last receiver left: halves, which go, and open studies."""
        for half in self.arriving.iterdir():
            half.unlink()
        now, wall = time.monotonic(), time.time()
        for mark in self._marks.iterdir():
            self._open[mark.name] = _Open(now - max(wall - mark.stat().st_mtime, 0))

    def _files(self, key: str) -> list[Path]:
        try:
            return sorted(path for path in self.folder(key).iterdir() if path.suffix == ".dcm")
        except FileNotFoundError:
            # Without its mark it is not this study that is gone, but the disk with the whole inbox.
            (self._marks / key).stat()
            return []

    def _take_back(self, key: str, arrived: Path) -> None:
        """Remove what a try that failed has made: on a full disk, each further one would take up more of it."""
        with suppress(OSError):
            arrived.unlink()
        with suppress(OSError):
            self.folder(key).rmdir()  # which fails where the study has instances
            self.close(key)
        with suppress(OSError):
            self.folder(key).parent.rmdir()

    def _mark(self, key: str) -> None:
        mark = self._marks / key
        is_new = not mark.exists()
        mark.touch()
        if is_new:
            sync(self._marks)
        with self._changed:
            self._open[key] = _Open(time.monotonic())

    def _lock(self, key: str) -> threading.RLock:
        return self._studies[int(key[:8], 16) % _LOCKS]


def _digest(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()


def _make(folder: Path) -> None:
    """Make a study's folder and the one above it, durably. The inbox is not made anew: its disk may be away."""
    for one in (folder.parent, folder):
        if not one.exists():
            one.mkdir(exist_ok=True)
            sync(one.parent)
