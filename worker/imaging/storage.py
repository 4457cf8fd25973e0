"""Files of the storage: never outside its root, never anything but a regular file, never larger than allowed."""

import errno
import os
import stat
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import AfterValidator, PlainSerializer

from worker.errors import Code, DlrError, LesionRefused, Unavailable
from worker.image_access import Limits

RECEIVED, SUBMITTED = "received", "submitted"
"""The folders of the storage root that this software makes, and never removes."""

_REFUSED: dict[int | None, Code] = {
    # pydicom's own OSError, at the end of a file, has no number.
    None: Code.FILE_TRUNCATED,
    errno.EINVAL: Code.FILE_TRUNCATED,
    errno.ENOENT: Code.FILE_NOT_FOUND,
    errno.ENOTDIR: Code.FILE_NOT_FOUND,
    errno.ENAMETOOLONG: Code.FILE_NOT_FOUND,
    errno.ELOOP: Code.FILE_NOT_FOUND,
    errno.EACCES: Code.FILE_NOT_READABLE,
    errno.EPERM: Code.FILE_NOT_READABLE,
    errno.ENXIO: Code.FILE_NOT_REGULAR,
    errno.EISDIR: Code.FILE_NOT_REGULAR,
}
# Without O_NONBLOCK, opening a FIFO waits for a writer that may never come.
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def _said(path: str) -> str:
    return os.fsencode(path).hex()


def _heard(said: str) -> str:
    return os.fsdecode(bytes.fromhex(said))


PathInJson = Annotated[str, PlainSerializer(_said, when_used="json"), AfterValidator(_heard)]
"""A path, whose bytes may be no UTF-8: in JSON it is those in hexadecimal digits."""


def confine(root: Path, relative: str) -> Path:
    """Return a path's real place, symbolic links followed.

    Args:
        root: the storage root, already resolved.
        relative: a path below it, as a job gives it.

    Raises:
        LesionRefused: ``path_outside_storage``, ``file_not_found``.
    """
    try:
        real = (root / relative).resolve()
    except (ValueError, RuntimeError):
        raise LesionRefused(Code.FILE_NOT_FOUND) from None
    except OSError as error:
        raise storage_fault(error) from None
    if not real.is_relative_to(root):
        raise LesionRefused(Code.PATH_OUTSIDE_STORAGE)
    return real


def open_regular(path: Path, limits: Limits) -> BinaryIO:
    """Open a regular file of an allowed size, without waiting on a FIFO and without following a last link.

    Raises:
        LesionRefused: ``file_not_found``, ``file_not_readable``, ``file_not_regular``, ``file_too_large``.
        Unavailable: ``storage_unavailable``.
    """
    try:
        descriptor = os.open(path, _FLAGS)
    except OSError as error:
        raise storage_fault(error) from None
    file = os.fdopen(descriptor, "rb") if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
    if file is None:
        os.close(descriptor)
        raise LesionRefused(Code.FILE_NOT_REGULAR)
    if os.fstat(descriptor).st_size > limits.max_file_bytes:
        file.close()
        raise LesionRefused(Code.FILE_TOO_LARGE)
    return file


def storage_fault(error: OSError) -> DlrError:
    """Tell a file that will stay away from a storage that is away for now (EIO, ESTALE, ENOTCONN, ETIMEDOUT, ...)."""
    code = _REFUSED.get(error.errno)
    return LesionRefused(code) if code is not None else Unavailable(Code.STORAGE_UNAVAILABLE)
