"""What of a folder cannot be had for now, through no fault of its neighbours: each is tried again, later and later."""

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from worker.errors import Code, LesionRefused, Unavailable
from worker.image_access import Limits
from worker.imaging.storage import open_regular
from worker.outages.backoff import backoff_s

FIRST_S: Final = 10.0
"""How long an entry is left alone once it could not be had, in seconds; each time after that twice as long."""

LONGEST_S: Final = 300.0
"""How long at most, in seconds."""

_BLOCK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Wait:
    """How often an entry could not be had, and until when it is left alone, on the monotonic clock, in seconds."""

    failures: int
    until: float


@dataclass(slots=True)
class Quarantine:
    """The entries that are left alone for a while. For one thread."""

    _waits: dict[Path, _Wait] = field(default_factory=dict)

    def put(self, entry: Path) -> float:
        """Leave an entry alone; say for how many seconds."""
        failures = self._waits[entry].failures + 1 if entry in self._waits else 1
        wait_s = backoff_s(failures, FIRST_S, LONGEST_S)
        self._waits[entry] = _Wait(failures, time.monotonic() + wait_s)
        return wait_s

    def holds(self, entry: Path) -> bool:
        """Whether it is still too early for an entry."""
        return entry in self._waits and self._waits[entry].until > time.monotonic()

    def due(self) -> Path | None:
        """Return an entry whose time has come."""
        return next((entry for entry in self._waits if not self.holds(entry)), None)

    def forget(self, entry: Path) -> None:
        """Take note that an entry is done, or gone."""
        self._waits.pop(entry, None)

    def forget_all_but(self, entries: Collection[Path]) -> None:
        """Take note of which entries are still there: another one under an old name does not wait."""
        for entry in self._waits.keys() - set(entries):
            self.forget(entry)


def can_be_read(entry: Path, limits: Limits) -> bool:
    """Read every file of an entry to its end; tell whether that can be done. Files that are too large are not read."""
    try:
        return all(_is_read(path, limits) for path in _paths(entry))
    except (OSError, Unavailable):
        return False


def _is_read(path: Path, limits: Limits) -> bool:
    try:
        with open_regular(Path(os.path.realpath(path)), limits) as file:
            while file.read(_BLOCK):
                pass
    except LesionRefused as refused:  # what is no file of an allowed size needs no reading
        return refused.code is not Code.FILE_NOT_READABLE
    return True


def _paths(entry: Path) -> Iterator[Path]:
    yield entry
    if entry.is_dir():
        for folder, _, names in os.walk(entry, onerror=_raise):
            yield from (Path(folder, name) for name in names)


def _raise(error: OSError) -> None:
    raise error
