"""Files into the storage root, by their content, so that a study's files cannot be changed or mixed up later."""

import hashlib
import re
import shutil
from pathlib import Path

from worker.contract import can_be_named
from worker.durable_files import replacing
from worker.errors import Code, DlrError, SetupRefused, Unavailable
from worker.imaging.storage import SUBMITTED, storage_fault

_COPY = re.compile(rf"{SUBMITTED}/[0-9a-f]{{2}}/[0-9a-f]{{64}}\.dcm")


def path_in_storage(path: Path, storage_root: Path) -> str:
    """Return the path of a file relative to the storage root; a file from elsewhere is copied in first.

    So is one whose path a job cannot say, since it is not UTF-8, or has a line break or a backslash in it. The copy is
    named by the SHA-256 of its content, never by a UID, and is on the disk before this returns.

    Raises:
        Unavailable: ``storage_unavailable``, when the file cannot be read or the storage cannot be written.
    """
    real = path.resolve()
    root = storage_root.resolve()
    if real.is_relative_to(root) and can_be_named(there := str(real.relative_to(root))):
        return there
    try:
        with real.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        target = root / SUBMITTED / digest[:2] / f"{digest}.dcm"
        if not target.exists():
            _copy(real, target)
    except OSError as error:
        raise Unavailable(
            Code.STORAGE_UNAVAILABLE, f"the file could not be copied into the storage root ({error.strerror})"
        ) from None
    return str(target.relative_to(root))


def text_fault(error: OSError, reason: str) -> DlrError:
    """Tell a file of text that a person has to mend, for this reason, from a disk that is away for now."""
    fault = storage_fault(error)
    return fault if isinstance(fault, Unavailable) else SetupRefused(Code.SETTING_INVALID, reason)


def is_copy(path: str) -> bool:
    """Tell whether a path, relative to the storage root, is of a copy that `path_in_storage` made."""
    return _COPY.fullmatch(path) is not None


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with replacing(target, mode=0o600, alone=False) as draft:
        with draft.open("wb") as copy, source.open("rb") as original:
            shutil.copyfileobj(original, copy)
        draft.chmod(0o640)
