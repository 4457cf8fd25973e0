"""``dlr watch``: a folder whose entries are studies. Each is claimed by a rename, so several watchers may share it.

Everything that a watcher does is under ``.dlr`` in the folder: what it has at hand is in ``claimed/<its name>``, what
it handed in is in ``done``, and what it refused is in ``refused``, beside a text that says why. What a watcher that
was killed had at hand goes back, and is handed in again, which changes nothing: the ledger knows it.
"""

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from worker.errors import Code, DlrError, JobRefused, SetupRefused, Unavailable
from worker.imaging.storage import Limits
from worker.intake.accept import Intake
from worker.intake.lesions_file import read_lesions
from worker.intake.submit import Overrides, Submission, hand_in, plan

logger = logging.getLogger(__name__)

SOURCE: Final = "watch"
OURS: Final = ".dlr"
LESIONS: Final = "lesions.json"
"""The file in a study's folder that says where its lesions are, if no DICOM SR does."""

UNFINISHED: Final = (".part", ".tmp", ".partial", ".filepart")
"""How names end while their sender still writes; so do those that begin with a dot."""

LOOK_S: Final = 0.5

BORN_S: Final = 2.0
"""A watcher that is younger may not have its lock yet, in seconds."""

_LOCK: Final = ".lock"


@dataclass(frozen=True, slots=True)
class DropFolder:
    """A folder that is watched, and the part of it that is this watcher's.

    Attributes:
        root: the folder.
        claims: what this watcher has at hand.
    """

    root: Path
    claims: Path

    @classmethod
    @contextmanager
    def watched(cls, root: Path, storage_root: Path) -> Iterator[Self]:
        """Join the watchers of a folder.

        Raises:
            SetupRefused: ``setting_invalid``; there is no such folder, it can not be written, or it is in the storage,
                whose files stay.
        """
        real = root.resolve()
        if not real.is_dir():
            raise SetupRefused(Code.SETTING_INVALID, f"{root}: there is no such folder")
        if real.is_relative_to(storage_root.resolve()) or storage_root.resolve().is_relative_to(real):
            raise SetupRefused(Code.SETTING_INVALID, f"{root}: it is in DLR_STORAGE_ROOT, or has it inside")
        folder = cls(real, real / OURS / "claimed" / uuid4().hex)
        try:
            for place in (folder.claims, folder._place("done"), folder._place("refused")):
                place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SetupRefused(Code.SETTING_INVALID, f"{root}: it can not be written: {error.strerror}") from None
        with (folder.claims / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield folder
            finally:
                folder.give_back(folder.claims)

    def claim(self, settle_s: float) -> Path | None:
        """Claim an entry in which nothing has changed for so long; ``None`` when there is none."""
        before = time.time() - settle_s
        for entry in sorted(self.root.iterdir()):
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED) or _changed(entry) > before:
                continue
            claimed = self.claims / entry.name
            # Another watcher may have been faster.
            with suppress(FileNotFoundError):
                entry.rename(claimed)
                return claimed
        return None

    def put(self, claimed: Path, place: str, why: str = "") -> None:
        """Put an entry where it belongs in the end, under a name of its own, with a text beside it."""
        target = _free(self._place(place) / claimed.name)
        if why:
            target.with_name(f"{target.name}.txt").write_text(why)
        claimed.rename(target)

    def give_back(self, claims: Path) -> int:
        """Put back what a watcher had at hand; say how much."""
        entries = [entry for entry in claims.iterdir() if entry.name != _LOCK]
        for entry in entries:
            entry.rename(_free(self.root / entry.name))
        (claims / _LOCK).unlink(missing_ok=True)
        claims.rmdir()
        return len(entries)

    def give_back_of_the_dead(self) -> int:
        """Put back what watchers had at hand that are no more; say how much."""
        count = 0
        for claims in (self.root / OURS / "claimed").iterdir():
            if _changed(claims) > time.time() - BORN_S:
                continue
            with suppress(OSError), (claims / _LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                count += self.give_back(claims)
        return count

    def _place(self, name: str) -> Path:
        return self.root / OURS / name


@dataclass(frozen=True, slots=True)
class Watcher:
    """Hands in what a folder holds.

    Attributes:
        folder: this watcher's.
        intake: the ledger's and the queue's.
        limits: the largest file.
        settle_s: an entry that has not changed for so long is whole.
        patiently: does work again while a server is away; raises when the process ends.
    """

    folder: DropFolder
    intake: Intake
    limits: Limits
    settle_s: float
    patiently: Callable[[Callable[[], None]], None]

    def run(self, stopped: threading.Event) -> None:
        """Hand in entries until ``stopped``."""
        while not stopped.is_set():
            self.patiently(partial(self._look, stopped))
            stopped.wait(LOOK_S)

    def _look(self, stopped: threading.Event) -> None:
        try:
            returned = self.folder.give_back_of_the_dead()
            if returned:
                logger.warning("%d entries had lost their watcher and are back in their folder", returned)
            while not stopped.is_set() and (claimed := self.folder.claim(self.settle_s)) is not None:
                self.patiently(partial(self.take, claimed))
        except OSError:
            raise Unavailable(Code.STORAGE_UNAVAILABLE) from None

    def take(self, claimed: Path) -> None:
        """Hand in one entry that is claimed, and put it where it belongs.

        Raises:
            Unavailable: ``storage_unavailable``.
        """
        try:
            self._take(claimed)
        except OSError:
            if claimed.exists():
                raise Unavailable(Code.STORAGE_UNAVAILABLE) from None
            logger.warning("an entry of the folder has gone while it was at hand")

    def _take(self, claimed: Path) -> None:
        faults = [fault for one in self._submissions(claimed) if (fault := self._fault_of(one)) is not None]
        if faults:
            self.folder.put(claimed, "refused", "\n".join(f"{fault.code}: {fault.reason}" for fault in faults) + "\n")
        else:
            self.folder.put(claimed, "done")

    def _submissions(self, claimed: Path) -> list[Submission]:
        lesions = claimed / LESIONS
        try:
            marked = read_lesions(lesions) if lesions.is_file() else None
            return plan([claimed], marked, Overrides(), self.intake.storage_root, self.limits)
        except SetupRefused as refused:
            reason = refused.reason.replace(str(claimed), claimed.name)
            return [Submission(claimed.name, {"entry": claimed.name}, JobRefused(Code.LESIONS_MISSING, reason))]
        except (Unavailable, OSError):
            raise
        except Exception as error:
            logger.error("a defect of this software", exc_info=error)
            return [Submission(claimed.name, {"entry": claimed.name}, JobRefused(Code.INTERNAL_ERROR))]

    def _fault_of(self, submission: Submission) -> DlrError | None:
        handed = hand_in(self.intake, submission, SOURCE)
        if handed.refused is not None:
            logger.warning("an entry of the folder was refused: %s, study %s", handed.refused.code, handed.study_id)
        else:
            logger.info("a study of the folder is %s: %s", handed.state, handed.study_id)
        return handed.refused


def _free(target: Path) -> Path:
    """Return a path that nothing has: this one, or one whose name ends alike."""
    return target.with_name(f"{uuid4().hex[:8]}-{target.name}") if target.exists() else target


def _changed(entry: Path) -> float:
    """Return when something in an entry changed last, in seconds since 1970; that it has gone is a change too.

    By ``st_ctime``, which a sender who keeps the files' own times does not set.
    """
    try:
        inside: Iterable[Path] = entry.rglob("*") if entry.is_dir() else ()
        return max(path.lstat().st_ctime for path in (entry, *inside))
    except OSError:
        return time.time()
