"""Which versions are in service, which are shadows or have a share, and how that came about: kept beside the models.

    <models_dir>/active.json      {"DLR_LH": "<version>", "DLR_BM": "<version>"}
    <models_dir>/shadow.json      {"DLR_BM": {"<version>": "<since when, ISO 8601>"}}
    <models_dir>/share.json       {"DLR_BM": {"version": "<version>", "share": 0.1, "since": "<since when, ISO 8601>"}}
    <models_dir>/history.jsonl    a line for each change of the three, on the disk before the change is made

A line whose change was never made, since the process was killed in between, is told from the others: the next line does
not name its version as the one that was replaced.
"""

import fcntl
import json
import os
import pwd
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby, zip_longest
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, TypeAdapter, ValidationError

from worker.durable_files import append, replace
from worker.errors import Code, SetupRefused
from worker.inference.model_card import MODEL_NAMES, ModelName
from worker.inference.shares import Share

ACTIVE_FILE = "active.json"
SHADOW_FILE = "shadow.json"
SHARE_FILE = "share.json"
HISTORY_FILE = "history.jsonl"
_LOCK_FILE = ".lock"

Version = tuple[ModelName, str]

_SHADOWS: TypeAdapter[dict[ModelName, dict[str, AwareDatetime]]] = TypeAdapter(
    dict[ModelName, dict[str, AwareDatetime]]
)
_SHARES: TypeAdapter[dict[ModelName, Share]] = TypeAdapter(dict[ModelName, Share])


@contextmanager
def written() -> Iterator[None]:
    """Say that the registry cannot be written, where that is so.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    try:
        yield
    except OSError:
        reason = "DLR_MODELS_DIR: the registry cannot be written; is there space, and does this user have permission?"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None


class Event(StrEnum):
    """What can happen to a version."""

    ACTIVATED = "activated"
    ROLLED_BACK = "rolled_back"
    SHADOWED = "shadowed"
    UNSHADOWED = "unshadowed"
    SHARED = "shared"
    UNSHARED = "unshared"


INTO_SERVICE = (Event.ACTIVATED, Event.ROLLED_BACK)


class Change(BaseModel):
    """One thing that happened to a version.

    Attributes:
        at: when.
        event: what.
        name: ``DLR_LH`` or ``DLR_BM``.
        version: the one that it happened to; of ``rolled_back`` the one that is active again.
        replaced: the one that was active until then; of ``activated`` and ``rolled_back`` alone.
        share: of the studies, above 0 and below 1; of ``shared`` alone.
        forced: its card had no metrics or did not state its use, and somebody said that this does not matter.
        actor: the user of the machine who asked for it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: AwareDatetime
    event: Event
    name: ModelName
    version: str
    replaced: str | None = None
    share: float | None = None
    forced: bool = False
    actor: str

    @property
    def model(self) -> Version:
        """The model's name and version."""
        return self.name, self.version


def change(
    event: Event,
    name: ModelName,
    version: str,
    *,
    replaced: str | None = None,
    share: float | None = None,
    forced: bool = False,
) -> Change:
    """Return a change that this process's user makes now."""
    return Change(
        at=datetime.now(UTC),
        event=event,
        name=name,
        version=version,
        replaced=replaced,
        share=share,
        forced=forced,
        actor=_user(),
    )


class InService:
    """Reads and writes the four files.

    Args:
        folder: the registry's.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other writers of the registry out, until the context ends."""
        with (self._folder / _LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def active(self) -> dict[ModelName, str]:
        """Return what is active. A file that cannot be read says that nothing is, so activating mends it."""
        try:
            chosen = json.loads((self._folder / ACTIVE_FILE).read_bytes())
        except (OSError, ValueError):
            return {}
        if not isinstance(chosen, dict):
            return {}
        return {name: chosen[name] for name in MODEL_NAMES if isinstance(chosen.get(name), str)}

    def shadows(self) -> dict[Version, datetime]:
        """Return the shadows, and since when each is one. A file that cannot be read says that there are none."""
        try:
            found = _SHADOWS.validate_json((self._folder / SHADOW_FILE).read_bytes())
        except (OSError, ValidationError):
            return {}
        return {(name, version): since for name, versions in found.items() for version, since in versions.items()}

    def shares(self) -> dict[ModelName, Share]:
        """Return which version of a model has a share. A file that cannot be read says that none has."""
        try:
            return _SHARES.validate_json((self._folder / SHARE_FILE).read_bytes())
        except (OSError, ValidationError):
            return {}

    def history(self) -> tuple[Change, ...]:
        """Return all changes, the oldest first; a line that was cut short is left out."""
        try:
            lines = (self._folder / HISTORY_FILE).read_bytes().splitlines()
        except OSError:
            return ()
        return tuple(found for line in lines if (found := _read(line)) is not None)

    def earlier(self, name: ModelName) -> str | None:
        """Return the version that was in service before the one that is; ``None`` where none is on record.

        Going back leaves what was gone back from behind: doing it again goes one further back.
        """
        current, before = self.active().get(name), list[str]()
        lines = [one for one in self.history() if one.name == name and one.event in INTO_SERVICE]
        for one, following in zip_longest(lines, lines[1:]):
            if one.version != (current if following is None else following.replaced):
                continue
            if one.event is Event.ROLLED_BACK and one.version in before:
                del before[_last(before, one.version) + 1 :]
            elif one.replaced is not None:
                before.append(one.replaced)
            before.append(one.version)
            before = [version for version, _ in groupby(before)]
        return before[-2] if len(before) > 1 and before[-1] == current else None

    def put(self, changes: Sequence[Change]) -> None:
        """Write changes down, then make them; under `locked`.

        Raises:
            SetupRefused: ``setting_invalid``, when the registry cannot be written.
        """
        active, shadows, shares = self._after(changes)
        with written():
            for one in changes:
                append(self._folder / HISTORY_FILE, one.model_dump_json(exclude_none=True).encode())
            if shares != self.shares():
                replace(self._folder / SHARE_FILE, _SHARES.dump_json(shares, indent=2) + b"\n")
            if active != self.active():
                replace(self._folder / ACTIVE_FILE, (json.dumps(active, indent=2) + "\n").encode())
            if shadows != self.shadows():
                replace(self._folder / SHADOW_FILE, _SHADOWS.dump_json(_by_name(shadows), indent=2) + b"\n")

    def _after(
        self, changes: Sequence[Change]
    ) -> tuple[dict[ModelName, str], dict[Version, datetime], dict[ModelName, Share]]:
        active, shadows, shares = self.active(), self.shadows(), self.shares()
        for one in changes:
            match one.event:
                case Event.ACTIVATED | Event.ROLLED_BACK:
                    active[one.name] = one.version
                case Event.SHADOWED:
                    shadows[one.model] = one.at
                case Event.UNSHADOWED:
                    shadows.pop(one.model, None)
                case Event.SHARED:
                    shares[one.name] = Share(version=one.version, share=one.share or 0.0, since=one.at)
                case Event.UNSHARED:
                    shares.pop(one.name, None)
        return active, shadows, shares


def _by_name(shadows: Mapping[Version, datetime]) -> dict[ModelName, dict[str, datetime]]:
    return {
        name: {version: since for (of, version), since in shadows.items() if of == name}
        for name in MODEL_NAMES
        if any(of == name for of, _ in shadows)
    }


def _last(versions: Sequence[str], version: str) -> int:
    return len(versions) - 1 - versions[::-1].index(version)


def _read(line: bytes) -> Change | None:
    try:
        return Change.model_validate_json(line)
    except ValidationError:
        return None


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user has a number and no name
        return str(os.geteuid())
