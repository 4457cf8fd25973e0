"""Multipart bodies, written to a folder as they come: none is ever whole in memory.

RFC 2046 (5.1) has their form; multipart/form-data is RFC 7578, multipart/related RFC 2387.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from worker.api.problems import ProblemError
from worker.contract.parts import MAX_PATHS
from worker.errors import Code

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

FORM: Final = "multipart/form-data"
RELATED: Final = "multipart/related"

MOST_PARTS: Final = MAX_PATHS + 1
"""A job's files, and the job."""


@dataclass
class Part:
    """A part of a body: its headers by their names in small letters, and the file with its content."""

    path: Path
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The form field's; empty where there is none."""
        return self._option("content-disposition", b"name")

    @property
    def media_type(self) -> str:
        """Of its content, without parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def _option(self, header: str, option: bytes) -> str:
        _, options = _parsed(self.headers.get(header, ""))
        return options.get(option, b"").decode("utf-8", "replace")


@dataclass
class Body:
    """A multipart body that was read."""

    media_type: str
    parts: list[Part]


async def read_multipart(request: Request, folder: Path, most: int) -> Body:
    """Read a body.

    Args:
        request: of one who may send it.
        folder: where the parts are written to, each a file with a number.
        most: bytes, all parts together.

    Raises:
        ProblemError: ``media_type_unsupported``; ``request_too_large``; ``request_invalid``, where it is not of this
            form, or ends before its end.
    """
    media_type, options = _parsed(request.headers.get("content-type", ""))
    kind = media_type.decode("latin-1").lower()
    if kind not in (FORM, RELATED) or not options.get(b"boundary"):
        reason = f"the Content-Type has to be {FORM} or {RELATED}, with its boundary"
        raise ProblemError(Code.MEDIA_TYPE_UNSUPPORTED, reason)
    reader = _Reader(folder)
    length = 0
    try:
        parser = MultipartParser(options[b"boundary"], reader.callbacks())
        async for piece in request.stream():
            length += len(piece)
            if length > most:
                raise ProblemError(Code.REQUEST_TOO_LARGE, f"a request may have {most} bytes here")
            parser.write(piece)
        parser.finalize()
    except MultipartParseError:
        raise ProblemError(Code.REQUEST_INVALID, f"the body is not {kind}, as its boundary says it") from None
    finally:
        reader.close()
    if not reader.is_whole or not reader.parts:
        raise ProblemError(Code.REQUEST_INVALID, "the body ends before its last boundary, or has no part")
    return Body(kind, reader.parts)


def _parsed(header: str) -> tuple[bytes, dict[bytes, bytes]]:
    try:
        return parse_options_header(header)
    except (UnicodeError, LookupError, ValueError):  # RFC 2231 names any character set, and some that there are not
        raise ProblemError(Code.REQUEST_INVALID, "a header of the body or of a part cannot be read") from None


class _Reader:
    """Takes what the parser finds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._field, self._value = b"", b""
        self.parts: list[Part] = []
        self.is_whole = False

    def callbacks(self) -> "MultipartCallbacks":
        """Return what the parser calls, under its names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_field,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_part_data": self._add_data,
            "on_part_end": self.close,
            "on_end": self._end,
        }

    def close(self) -> None:
        """Close the file of the part that is being read."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        if len(self.parts) == MOST_PARTS:
            raise ProblemError(Code.REQUEST_TOO_LARGE, f"a request may have {MOST_PARTS} parts")
        self.parts.append(Part(self._folder / f"{len(self.parts):05}"))
        self._file = self.parts[-1].path.open("wb")

    def _add_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self.parts[-1].headers[self._field.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._field, self._value = b"", b""

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])

    def _end(self) -> None:
        self.is_whole = True
