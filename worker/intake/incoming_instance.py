"""An instance on its way in, written by pynetdicom: a disk that takes no more is a status, and ends no association."""

import os
from collections.abc import Callable
from contextlib import suppress
from io import BufferedWriter
from pathlib import Path
from uuid import uuid4


class IncomingInstance:
    """A file that pynetdicom writes an instance into as it comes; writing it never raises.

    pynetdicom (3.0, `dimse_messages.py`) writes in the thread that reads the connection, where an exception would end
    the association with the reason in a traceback alone. So a fault is kept, what was written is removed at once, and
    the rest of the instance is read and dropped.

    Args:
        folder: where the file is made.

    Attributes:
        path: the file.
        fault: why it could not be written; ``None``: it could.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{uuid4().hex}.dcm"
        self.fault: OSError | None = None
        self._file: BufferedWriter | None = None
        self._tried(self._open)

    @property
    def name(self) -> str:
        """The file's path, as `tempfile.NamedTemporaryFile` has it."""
        return str(self.path)

    @property
    def file(self) -> "IncomingInstance":
        """What is flushed."""
        return self

    def write(self, data: bytes) -> int:
        """Take bytes, whether they can be written or not."""
        if self._file is not None:
            file = self._file
            self._tried(lambda: file.write(data))
        return len(data)

    def flush(self) -> None:
        """Hand what was taken to the disk."""
        if self._file is not None:
            self._tried(self._file.flush)

    def close(self) -> None:
        """Close the file. It stays, unless there was a fault."""
        if self._file is not None:
            self._tried(self._file.close)

    def discard(self) -> None:
        """Close the file and remove it, if it is there."""
        file, self._file = self._file, None
        with suppress(OSError):
            if file is not None:
                file.close()
        with suppress(OSError):
            self.path.unlink()

    def _open(self) -> None:
        # Its owner's alone: there is a patient in it.
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self._file = os.fdopen(descriptor, "wb")

    def _tried(self, work: Callable[[], object]) -> None:
        try:
            work()
        except OSError as fault:
            self.fault = fault
            self.discard()
