"""A decoder: a process that reads DICOM files for a worker, since a file may crash, hang or flood whoever reads it.

``python -P -m worker.imaging.decoder_process SOCKET MEMORY LIMITS TIMEOUT`` is started by
`worker.imaging.decoder_pool` and lives as long as its socket. It holds no password, writes no file, and dies of its own
alarm when a request takes too long, whether or not its worker still lives. Requests and answers are JSON, and a frame
is left in memory that both see; nothing is unpickled on either side.
"""

import math
import os
import resource
import signal
import sys
from dataclasses import dataclass
from functools import cache
from mmap import mmap
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from worker.errors import MEANINGS, Code, DlrError, Unavailable
from worker.image_access import Limits
from worker.imaging.layout import PixelLayout
from worker.imaging.lesion import Marked, Region, RegionRefused, decode_lesions
from worker.imaging.reencoding import same_image
from worker.imaging.storage import PathInJson
from worker.imaging.study_files import FileEntry, read_entry
from worker.study import Age, Examination, Scanner

HEADER_MEMORY: Final = 64 << 20
"""Bytes of address space that reading a header may take, beside what a deflated file inflates to."""

MEMORY_A_SAMPLE: Final = 40
"""Bytes of address space that decoding may take for each sample of the frame. OpenJPEG takes 16, and grey values are
stretched in float64."""

MOST_OPEN_FILES: Final = 64
COLOURS: Final = 3
_LONGEST_STATM: Final = 256

STARTED: Final = b""
"""A decoder's first word: it takes requests now."""


@dataclass(frozen=True, slots=True)
class ReadEntry:
    """Asks for the entry of one file; the path is confined already."""

    path: PathInJson
    kind: Literal["entry"] = "entry"


@dataclass(frozen=True, slots=True)
class DecodeLesions:
    """Asks for the lesions of one frame."""

    marked: Marked
    kind: Literal["lesions"] = "lesions"


@dataclass(frozen=True, slots=True)
class CompareImages:
    """Asks whether two files are one image; the paths are confined already."""

    one: PathInJson
    other: PathInJson
    kind: Literal["compare"] = "compare"


@dataclass(frozen=True, slots=True)
class EntryRead:
    """Answers `ReadEntry`."""

    entry: FileEntry
    kind: Literal["entry"] = "entry"


@dataclass(frozen=True, slots=True)
class LesionsDecoded:
    """Answers `DecodeLesions`; the frame is in the shared memory, uint8 of this shape, row by row."""

    shape: tuple[int, int] | tuple[int, int, int]
    age: Age
    scanner: Scanner
    examination: Examination
    regions: tuple[Region | RegionRefused, ...]
    kind: Literal["lesions"] = "lesions"


@dataclass(frozen=True, slots=True)
class ImagesCompared:
    """Answers `CompareImages`."""

    same: bool
    kind: Literal["compare"] = "compare"


@dataclass(frozen=True, slots=True)
class RequestFailed:
    """Answers any: the refusal, or that it can be tried again."""

    code: Code
    reason: str
    again: bool
    kind: Literal["failed"] = "failed"


Request = ReadEntry | DecodeLesions | CompareImages
Answer = EntryRead | LesionsDecoded | ImagesCompared | RequestFailed
REQUEST: TypeAdapter[Request] = TypeAdapter(Request)
ANSWER: TypeAdapter[Answer] = TypeAdapter(Answer)
LIMITS: TypeAdapter[Limits] = TypeAdapter(Limits)


@dataclass(frozen=True, slots=True)
class SharedFrame:
    """Memory that a worker and its decoder share, for one frame at a time. Pages that nobody touched take no room."""

    descriptor: int
    memory: mmap

    @classmethod
    def made(cls, size: int) -> Self:
        """Make one of ``size`` bytes."""
        descriptor = os.memfd_create("frame", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, size)
        return cls(descriptor, mmap(descriptor, size))

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """See the one that another process made."""
        return cls(descriptor, mmap(descriptor, 0))

    def leave(self, frame: NDArray[np.uint8]) -> None:
        """Leave a frame, row by row."""
        np.copyto(np.frombuffer(self.memory, np.uint8, frame.size).reshape(frame.shape), frame)

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Return a copy of the frame."""
        return np.frombuffer(self.memory, np.uint8, math.prod(shape)).reshape(shape).copy()

    def close(self) -> None:
        """Let go of it."""
        self.memory.close()
        os.close(self.descriptor)


def main(socket: str, memory: str, limits: str, timeout_s: str) -> None:
    """Answer requests until the socket ends.

    Args:
        socket: the number of an inherited file descriptor.
        memory: the same, of a `SharedFrame`.
        limits: `Limits`, as JSON.
        timeout_s: seconds for one request.
    """
    _give_up_rights()
    connection, shared = Connection(int(socket)), SharedFrame.inherited(int(memory))
    known = LIMITS.validate_json(limits)
    alarm_s = math.ceil(float(timeout_s)) + 1
    connection.send_bytes(STARTED)
    while True:
        try:
            request = REQUEST.validate_json(connection.recv_bytes())
        except EOFError:
            return
        signal.alarm(alarm_s)
        answer, frame = _answer(request, known)
        if frame is not None:
            shared.leave(frame)
        connection.send_bytes(ANSWER.dump_json(answer))
        signal.alarm(0)


def _give_up_rights() -> None:
    """No core dump, which would hold pixels; no file written; hardly any opened. A stop is the worker's to follow."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (MOST_OPEN_FILES, MOST_OPEN_FILES))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _answer(request: Request, limits: Limits) -> tuple[Answer, NDArray[np.uint8] | None]:
    _allow(HEADER_MEMORY + 2 * limits.max_inflated_bytes)
    try:
        if isinstance(request, ReadEntry):
            return EntryRead(read_entry(Path(request.path), limits)), None
        if isinstance(request, CompareImages):
            return ImagesCompared(same_image(Path(request.one), Path(request.other), limits, _allow_pixels)), None
        decoded = decode_lesions(request.marked, limits, _allow_pixels)
    except DlrError as error:
        return RequestFailed(error.code, error.reason, isinstance(error, Unavailable)), None
    except MemoryError:
        return RequestFailed(Code.PIXELS_TOO_LARGE, MEANINGS[Code.PIXELS_TOO_LARGE], again=False), None
    shape, frame = _shape(decoded.frame), decoded.frame
    return LesionsDecoded(shape, decoded.age, decoded.scanner, decoded.examination, decoded.regions), frame


def _shape(frame: NDArray[np.uint8]) -> tuple[int, int] | tuple[int, int, int]:
    rows, columns, *colours = frame.shape
    return (rows, columns, colours[0]) if colours else (rows, columns)


def _allow_pixels(layout: PixelLayout) -> None:
    """What decoding may take grows with the frame that the header declares, and with nothing else."""
    _allow(HEADER_MEMORY + MEMORY_A_SAMPLE * layout.rows * layout.columns * layout.samples)


def _allow(more_bytes: int) -> None:
    """Let this process take so much address space beside what it has now."""
    pages = int(os.pread(_statm(), _LONGEST_STATM, 0).split()[0])
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes, hard))


@cache
def _statm() -> int:
    """Open what the kernel says of this process's memory, once: it is asked twice for each frame."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


if __name__ == "__main__":
    main(*sys.argv[1:])
