"""Standard output that cannot be written ends a command with one sentence; a closed pipe ends it silently."""

import codecs
import io
import os
import sys
from typing import TYPE_CHECKING, Final

from worker.errors import Code, SetupRefused

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

EXIT_UNREAD: Final = 141
"""What a shell says of a command that a closed pipe ended: 128 and the number of SIGPIPE."""

ESCAPED: Final = "worker.cli.escaped"
"""How a character is written that an encoding does not have: as JSON has it, so that JSON stays JSON."""


class _StandardOutput(io.FileIO):
    """The descriptor of standard output. A fault is told once; what was not written by then is gone."""

    _is_lost = False

    def write(self, content: "ReadableBuffer") -> int:
        """Write some of it.

        Raises:
            SetupRefused: ``setting_invalid``; it cannot be written.
            SystemExit: whoever read it has gone.
        """
        if self._is_lost:
            return memoryview(content).nbytes
        try:
            return super().write(content)
        except BrokenPipeError:
            self._is_lost = True
            raise SystemExit(EXIT_UNREAD) from None
        except OSError as error:
            self._is_lost = True
            reason = f"standard output cannot be written ({os.strerror(error.errno or 0)})"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None


def take_over() -> None:
    """Let ``sys.stdout`` tell its faults so. One that is not the process's own is left alone."""
    before = sys.__stdout__
    if before is None:  # it was closed before the process began; what can only be read cannot be written either
        closed = _StandardOutput(os.open(os.devnull, os.O_RDONLY), "w")
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(closed), "utf-8")
    elif sys.stdout is before and isinstance(before, io.TextIOWrapper):
        raw = _StandardOutput(before.fileno(), "w", closefd=False)
        # As Python does with -u, which keeps nothing back.
        buffer = raw if before.write_through else io.BufferedWriter(raw)
        sys.stdout = io.TextIOWrapper(
            buffer,
            before.encoding,
            # What standard output has no character for is escaped, and is no fault.
            ESCAPED if before.errors in ("strict", "surrogateescape") else before.errors,
            line_buffering=before.line_buffering,
            write_through=before.write_through,
        )


def _as_json_has_it(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4)), error.end


codecs.register_error(ESCAPED, _as_json_has_it)
