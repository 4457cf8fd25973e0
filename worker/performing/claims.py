"""The work items that we hold, each a file: what is needed to go on after a crash, above all its Transaction UID.

A claim is on the disk before its manager is asked, so that an item never is in progress with a Transaction UID that
nobody knows any more (PS3.4, CC.2.1.2, note 1).
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from worker.durable_files import sync, write_private
from worker.errors import Code, SetupRefused
from worker.performing.scheduled import Coded

CLAIMS: Final = "claims"
"""The folder of the storage that has a folder for each manager."""

SILENT_S: Final = 180.0
"""A performer that has not worked for so long is at work no more, in seconds."""

_LOCK: Final = ".lock"
_LOOKED: Final = ".looked"


class State(StrEnum):
    """How far a claim is."""

    ASKED = "asked"
    """The manager may have been asked for it, and has not answered yet."""
    HELD = "held"
    """It is ours, and its study is not on record."""
    RECORDED = "recorded"
    """Its study is on record, or why it cannot be; the manager has not heard so."""
    WAITING = "waiting"
    """The manager has heard so, and the study's result is waited for."""
    GIVEN_UP = "given_up"
    """The manager refuses to let it end; a person has to look there."""


class Claim(BaseModel):
    """A work item that we hold, or have asked for.

    Attributes:
        uid: the item's SOP Instance UID.
        transaction_uid: by which it is ours.
        job: what it asks for; of an item that is no job, what is known of it.
        workitem: which kind of work it is.
        claimed_at: when we asked for it.
        study_instance_uid: of the study, once it is on record.
        code: why there is no study, or why it was given up; ``reason`` says it as a sentence.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    uid: str
    transaction_uid: str
    job: dict[str, Any]
    workitem: Coded | None
    claimed_at: datetime
    state: State = State.ASKED
    study_instance_uid: str | None = None
    code: Code | None = None
    reason: str | None = None

    @property
    def name(self) -> str:
        """By which a person tells it from others, without identifiers."""
        return _digest(self.uid)

    def now(self, state: State, **changes: Any) -> Self:
        """Return it in another state."""
        return self.model_copy(update={"state": state, **changes})


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of one manager's items; one process has them."""

    folder: Path

    @classmethod
    def of(cls, root: Path, manager: str) -> Self:
        """Return the claims of a manager's items.

        Args:
            root: of the storage.
            manager: as `worker.performing.manager.Manager.where` says.
        """
        return cls(root / CLAIMS / _digest(manager))

    @classmethod
    @contextmanager
    def held(cls, root: Path, manager: str) -> Iterator[Self]:
        """Open a manager's folder, as the only one who has it; arguments as `of`.

        Raises:
            SetupRefused: ``already_running``; another performer has it. ``setting_invalid``; it cannot be written.
        """
        folder = cls.of(root, manager).folder
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(folder / _LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            reason = f"DLR_STORAGE_ROOT: {folder} cannot be read and written: {error.strerror}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        with os.fdopen(lock, "w"):
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                reason = "another `dlr perform` with this DLR_STORAGE_ROOT performs the items of this manager"
                raise SetupRefused(Code.ALREADY_RUNNING, reason) from None
            yield cls(folder)

    def all(self) -> list[Claim]:
        """Return the claims, the oldest first.

        Raises:
            SetupRefused: ``setting_invalid``; one cannot be read.
        """
        found = (_read(file) for file in self.folder.glob("*.json"))
        return sorted((claim for claim in found if claim is not None), key=lambda claim: claim.claimed_at)

    def keep(self, claim: Claim) -> Claim:
        """Write a claim down, durably, and return it."""
        write_private(self._path(claim), claim.model_dump_json().encode(), alone=True)
        return claim

    def drop(self, claim: Claim) -> None:
        """Forget a claim."""
        self._path(claim).unlink(missing_ok=True)
        sync(self.folder)

    def looked(self) -> None:
        """Write down that the manager has answered now, or that a study is at hand."""
        (self.folder / _LOOKED).touch()

    def silent_s(self) -> float | None:
        """Return for how long `looked` has not been called, in seconds; ``None``: it never was."""
        with suppress(OSError):
            return time.time() - (self.folder / _LOOKED).stat().st_mtime
        return None

    def is_at_work(self, longest_fetch_s: float) -> bool:
        """Tell whether a performer has worked within `SILENT_S`, beyond the time that a fetch may take, in seconds."""
        silent_s = self.silent_s()
        return silent_s is not None and silent_s < SILENT_S + longest_fetch_s

    def _path(self, claim: Claim) -> Path:
        return self.folder / f"{claim.name}.json"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _read(file: Path) -> Claim | None:
    """Read a claim; ``None``: it was dropped meanwhile."""
    try:
        return Claim.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        reason = f"{file}: the claim cannot be read. Restore the file; without it the work item stays in progress"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
