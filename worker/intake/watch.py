"""``dlr watch``: a folder whose entries are studies. Each is claimed by a rename, so several watchers may share it.

Everything that a watcher does is under ``.dlr`` in the folder: what it has at hand is in ``claimed/<its name>``, what
it handed in is in ``done``, and what it refused is in ``refused``, beside a text that says why. What a watcher that
was killed had at hand goes back, and is handed in again, which changes nothing: the ledger knows it. An entry that can
not be read for now (a bad block, a stale handle) stays at hand and is tried again, and the others go on.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from worker.broker.refused_identifiers import named_in_message
from worker.errors import Code, DlrError, JobRefused, SetupRefused, Unavailable
from worker.image_access import Limits
from worker.imaging.identity import study_named_in
from worker.intake.accept_study import Intake
from worker.intake.quarantine import Quarantine, can_be_read
from worker.intake.submit import Overrides, Submission, plan, submit_one
from worker.outages.retry import AWAY

logger = logging.getLogger(__name__)

SOURCE: Final = "watch"
OURS: Final = ".dlr"

UNFINISHED: Final = (".part", ".tmp", ".partial", ".filepart")
"""How names end while their sender still writes; so do those that begin with a dot."""

LOOK_S: Final = 0.5

BORN_S: Final = 2.0
"""A watcher that is younger may not have its lock yet, in seconds."""

LONGEST_NAME: Final = 240
"""Bytes of the name under which an entry is put aside, at most."""

_LOCK: Final = ".lock"
_PROBE: Final = ".probe"


@dataclass(frozen=True, slots=True)
class DropFolder:
    """A folder that is watched, and the part of it that is this watcher's.

    Attributes:
        root: the folder.
        claims: what this watcher has at hand.
        quarantine: entries of the folder that cannot be claimed for now.
    """

    root: Path
    claims: Path
    quarantine: Quarantine = field(default_factory=Quarantine)

    @classmethod
    @contextmanager
    def watched(cls, root: Path, storage_root: Path) -> Iterator[Self]:
        """Join the watchers of a folder.

        Raises:
            SetupRefused: ``setting_invalid``; there is no such folder, it cannot be written, or it is in the storage,
                whose files stay.
        """
        real = root.resolve()
        if not real.is_dir():
            raise SetupRefused(Code.SETTING_INVALID, f"{root}: there is no such folder")
        if real.is_relative_to(storage_root.resolve()) or storage_root.resolve().is_relative_to(real):
            raise SetupRefused(Code.SETTING_INVALID, f"{root}: it is inside DLR_STORAGE_ROOT, or contains it")
        folder = cls(real, real / OURS / "claimed" / uuid4().hex)
        try:
            for place in (folder._place("done"), folder._place("refused"), folder.claims):
                place.mkdir(parents=True, exist_ok=True)
            opened = (folder.claims / _LOCK).open("w")
        except OSError as error:
            with suppress(OSError):
                folder.claims.rmdir()
            raise SetupRefused(Code.SETTING_INVALID, f"{root}: it cannot be written: {error.strerror}") from None
        with opened as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield folder
            finally:
                # Where the folder has gone, what is left there waits for another watcher.
                with suppress(OSError):
                    folder.give_back(folder.claims)

    def claim(self, settle_s: float) -> Path | None:
        """Claim an entry in which nothing has changed for so long; ``None`` when there is none.

        Raises:
            OSError: the folder is away. An entry that cannot be claimed, while others can, is set aside.
        """
        before = time.time() - settle_s
        entries = sorted(self.root.iterdir())
        self.quarantine.forget_all_but(entries)
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED) or self.quarantine.holds(entry):
                continue
            try:
                if _changed(entry) <= before:
                    return entry.rename(_free(self.claims / entry.name))
            except FileNotFoundError:  # another watcher was faster, or it changes just now
                continue
            except OSError:
                if not self.answers():
                    raise
                warn_of_quarantine(self.quarantine.put(entry))
        return None

    def answers(self) -> bool:
        """Tell whether the folder as a whole is there, and entries can be claimed in it."""
        probe = self.root / f".{self.claims.name}"
        try:
            probe.touch()
            probe.rename(self.claims / _PROBE).unlink()
        except OSError:
            with suppress(OSError):
                probe.unlink()
            return False
        return True

    def put(self, claimed: Path, place: str, why: str = "") -> None:
        """Put an entry where it belongs in the end, under a name of its own, with a text beside it.

        On a disk that is full the entry is moved all the same, and has no text: its reason is in the ledger too.
        """
        target = _free(self._place(place) / _short(claimed.name))
        claimed.rename(target)
        if why:
            _write(target.with_name(f"{target.name}.txt"), why)

    def give_back(self, claims: Path) -> int:
        """Put back what a watcher had at hand; say how much. What cannot be moved stays, for the next who tries."""
        entries = [entry for entry in claims.iterdir() if entry.name not in (_LOCK, _PROBE)]
        count = 0
        for entry in entries:
            with suppress(OSError):
                entry.rename(_free(self.root / entry.name))
                count += 1
        if count == len(entries):
            for ours in (_PROBE, _LOCK):
                (claims / ours).unlink(missing_ok=True)
            claims.rmdir()
        return count

    def give_back_of_the_dead(self) -> int:
        """Put back what watchers had at hand that are no more; say how much."""
        count = 0
        for claims in (self.root / OURS / "claimed").iterdir():
            with suppress(OSError):
                if claims.lstat().st_ctime > time.time() - BORN_S:
                    continue
                with (claims / _LOCK).open() as lock:
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
        retry_while_away: does work again while a server is away; raises when the process ends.
        quarantine: entries at hand that cannot be read for now.
    """

    folder: DropFolder
    intake: Intake
    limits: Limits
    settle_s: float
    retry_while_away: Callable[[Callable[[], None]], None]
    quarantine: Quarantine = field(default_factory=Quarantine)

    def run(self, stopped: threading.Event) -> None:
        """Hand in entries until ``stopped``."""
        while not stopped.is_set():
            self.retry_while_away(partial(self._look, stopped))
            stopped.wait(LOOK_S)

    def _look(self, stopped: threading.Event) -> None:
        try:
            returned = self.folder.give_back_of_the_dead()
            if returned:
                logger.warning("%d entries of dead watchers were put back into their folder", returned)
            while not stopped.is_set() and (claimed := self._next()) is not None:
                self.retry_while_away(partial(self.take, claimed))
        except OSError:
            raise Unavailable(Code.STORAGE_UNAVAILABLE) from None

    def _next(self) -> Path | None:
        return self.quarantine.due() or self.folder.claim(self.settle_s)

    def take(self, claimed: Path) -> None:
        """Hand in one entry that is claimed, and put it where it belongs; set it aside if it alone cannot be.

        Raises:
            Unavailable: ``storage_unavailable``; the folder or the storage is away.
        """
        try:
            self._take(claimed)
            self.quarantine.forget(claimed)
        except (OSError, Unavailable):
            if _is_gone(claimed):
                self.quarantine.forget(claimed)
                logger.warning("an entry of the folder disappeared while it was being read")
            elif self.folder.answers() and not can_be_read(claimed, self.limits):
                warn_of_quarantine(self.quarantine.put(claimed))
            else:
                raise Unavailable(Code.STORAGE_UNAVAILABLE) from None
        except AWAY:
            raise
        except Exception as error:  # not even its refusal could be written, and it is all that there is of the study
            wait_s = self.quarantine.put(claimed)
            logger.error("a defect of this software; the entry is retried in %.0f s", wait_s, exc_info=error)

    def _take(self, claimed: Path) -> None:
        faults = [fault for one in self._submissions(claimed) if (fault := self._fault_of(one)) is not None]
        if faults:
            said = dict.fromkeys(f"{fault.code}: {fault.reason}\n" for fault in faults)
            self.folder.put(claimed, "refused", "".join(said))
        else:
            self.folder.put(claimed, "done")

    def _submissions(self, claimed: Path) -> list[Submission]:
        try:
            return plan([claimed], None, Overrides(), self.intake.storage_root, self.limits)
        except SetupRefused as refused:
            reason = refused.reason.replace(str(claimed), claimed.name)
            return self._refused(claimed, JobRefused(Code.LESIONS_MISSING, reason))
        except (Unavailable, OSError):
            raise
        except Exception as error:
            logger.error("a defect of this software", exc_info=error)
            return self._refused(claimed, JobRefused(Code.INTERNAL_ERROR))

    def _refused(self, claimed: Path, why: JobRefused) -> list[Submission]:
        """Return the refusal of each study that an entry has, or of the entry, where nobody can say whose it is."""
        studies: dict[str | None, dict[str, str]] = {}
        for path in sorted(claimed.rglob("*")) if claimed.is_dir() else [claimed]:
            if path.suffix == ".json":
                said = named_in_message(path.read_bytes()).said() if path == claimed else {}
            else:
                said = study_named_in(path, self.limits)
            if said:
                uid = said.get("study_instance_uid")
                studies[uid] = said | studies.get(uid, {})
        return [Submission(claimed.name, {"entry": claimed.name, **said}, why) for said in studies.values() or [{}]]

    def _fault_of(self, submission: Submission) -> DlrError | None:
        handed = submit_one(self.intake, submission, SOURCE)
        if handed.refused is not None:
            logger.warning("an entry of the folder was refused: %s, study %s", handed.refused.code, handed.study_id)
        else:
            logger.info("a study of the folder is %s: %s", handed.state, handed.study_id)
        return handed.refused


def warn_of_quarantine(wait_s: float) -> None:
    """Log that an entry, which has no name in a log, could not be had."""
    logger.warning(
        "an entry of the folder cannot be read: %s; it is retried in %.0f s", Code.STORAGE_UNAVAILABLE, wait_s
    )


def _free(target: Path) -> Path:
    """Return a path that nothing has: this one, or one whose name ends alike."""
    return target if _is_gone(target) else target.with_name(f"{uuid4().hex[:8]}-{target.name}")


def _write(path: Path, text: str) -> None:
    """Write a text for a person, whole or not at all."""
    try:
        path.write_text(text, "utf-8", "backslashreplace")
    except OSError as error:
        logger.warning("the text file for a refused entry cannot be written (%s)", error.strerror)
        with suppress(OSError):
            path.unlink(missing_ok=True)


def _short(name: str) -> str:
    """Cut a name, so that what is put before and behind it has room: a name of a file has 255 bytes at most."""
    whole = os.fsencode(name)
    return name if len(whole) <= LONGEST_NAME else os.fsdecode(whole[:LONGEST_NAME])


def _is_gone(path: Path) -> bool:
    try:
        path.lstat()
    except OSError as error:  # a name whose file cannot be looked at is there
        return isinstance(error, FileNotFoundError)
    return False


def _changed(entry: Path) -> float:
    """Return when something in an entry changed last, in seconds since 1970.

    By ``st_ctime``, which a sender who keeps the files' own times does not set.

    Raises:
        FileNotFoundError: something in it has gone, so it changes just now.
        OSError: it cannot be looked at.
    """
    inside: Iterable[Path] = entry.rglob("*") if entry.is_dir() else ()
    return max(path.lstat().st_ctime for path in (entry, *inside))
