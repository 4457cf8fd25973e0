"""The decoders of a worker: a few processes that read its DICOM files, so that no file takes the device down with it.

Each has a socket of its own and one caller at a time; nothing is shared, so a decoder that is killed harms its own
request alone. Why not a process pool of the standard library: docs/decisions/0009-decoders-are-processes.md.
"""

import logging
import math
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from queue import LifoQueue
from time import perf_counter

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from worker.errors import Code, DlrError, LesionRefused, Unavailable
from worker.image_access import Limits, QualityPolicies
from worker.imaging.decoder_process import (
    ANSWER,
    COLOURS,
    LIMITS,
    REQUEST,
    Answer,
    CompareImages,
    DecodeLesions,
    EntryRead,
    ImagesCompared,
    LesionsDecoded,
    ReadEntry,
    Request,
    RequestFailed,
    SharedFrame,
)
from worker.imaging.examination import LATERALITIES
from worker.imaging.lesion import Marked, Region, RegionRefused
from worker.imaging.quality.policy import quality_warnings
from worker.imaging.regions import lies_within
from worker.imaging.scanner import LONGEST_SCANNER
from worker.imaging.study_files import FileEntry, OnlyFile, StudyFiles, index_study
from worker.study import LesionImage, MarkedImage
from worker.telemetry.measures import Measures

logger = logging.getLogger(__name__)

TRIES = 2
"""How often a file may end its decoder; the kernel may have chosen an innocent one when memory ran out."""

START_S = 60
"""How long a decoder may take to start; on a machine that is slower still, the study is tried again later."""

_LONGEST_ANSWER = 1 << 20
_KEPT_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH")
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


class _Ended(Exception):
    """The decoder ended before it answered."""


class _TimedOut(Exception):
    """The decoder took too long, and was killed."""


class _NotStarted(Exception):
    """The decoder did not start in time."""


class _Decoder:
    """One process and the socket to it; for one thread at a time."""

    def __init__(self, limits: Limits, timeout_s: float) -> None:
        self._frame = SharedFrame.made(limits.max_frame_pixels * COLOURS)
        ours, theirs = socket.socketpair()
        # Celery sets a default time limit for new sockets while it stops, which makes them non-blocking.
        ours.setblocking(True)
        theirs.setblocking(True)
        seconds, fraction = divmod(timeout_s, 1)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(fraction * 1e6)))
        with theirs:
            argv = [sys.executable, "-P", "-m", "worker.imaging.decoder_process"]
            self._process = subprocess.Popen(
                [
                    *argv,
                    str(theirs.fileno()),
                    str(self._frame.descriptor),
                    LIMITS.dump_json(limits).decode(),
                    str(timeout_s),
                ],
                env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ} | _ONE_THREAD,
                cwd="/",
                pass_fds=[theirs.fileno(), self._frame.descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._connection = Connection(ours.detach())
        self._has_started = False

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def await_start(self) -> None:
        """Wait until it takes requests, so that a start on a busy machine is not held against a file."""
        if self._has_started:
            return
        if not self._connection.poll(START_S):
            raise _NotStarted
        try:
            self._connection.recv_bytes(0)
        except (EOFError, OSError):
            raise _Ended from None
        self._has_started = True

    def ask(self, request: Request) -> Answer:
        """Send a request and wait for the answer."""
        try:
            self._connection.send_bytes(REQUEST.dump_json(request))
            return ANSWER.validate_json(self._connection.recv_bytes(_LONGEST_ANSWER))
        except BlockingIOError:
            raise _TimedOut from None
        except (EOFError, OSError, ValidationError):
            raise _Ended from None

    def frame(self, answer: LesionsDecoded) -> NDArray[np.uint8]:
        """Take the frame out of the memory that it was left in."""
        return self._frame.take(answer.shape)

    def end(self) -> int:
        """Kill the process; return its exit status, or the negative number of the signal that ended it before."""
        self._process.kill()
        self._connection.close()
        self._frame.close()
        return self._process.wait()


class DecoderPool:
    """Reads studies' files in processes of its own, which are started when they are needed.

    Any number of threads may ask; as many requests are at work at once as there are processes.

    Args:
        limits: the largest file and the largest frame.
        processes: the most decoders at once.
        timeout_s: the longest time for one file's entry, or one frame with its lesions.
        policies: what each quality finding does; ``None``: all warn.
        measures: is told how long each took.
    """

    def __init__(
        self,
        limits: Limits,
        processes: int,
        timeout_s: float,
        policies: QualityPolicies | None = None,
        measures: Measures | None = None,
    ) -> None:
        self._limits = limits
        self._policies = policies or {}
        self._measures = measures or Measures()
        self._timeout_s = timeout_s
        self._processes = processes
        self._idle: LifoQueue[_Decoder | None] = LifoQueue()
        for _ in range(processes):
            self._idle.put(None)

    def index(self, root: Path, paths: Sequence[str], study_instance_uid: str) -> StudyFiles:
        """Read the headers of a study's files (`worker.imaging.study_files.index_study`), each in a decoder.

        That of an only file is left to `load`, which reads it anyway.

        Raises:
            StudyRefused: ``patient_mismatch``.
            Unavailable: ``storage_unavailable``, or ``service_unavailable`` where no process can be started.
        """
        if len(paths) == 1:
            return StudyFiles({}, only=OnlyFile(str(root), paths[0], study_instance_uid))
        return index_study(root, paths, study_instance_uid, self.entry, self.same_image)

    def same_image(self, one: Path, other: Path) -> bool:
        """Whether two files are one image in two encodings (`worker.imaging.reencoding.same_image`), in a decoder.

        Args:
            one: a confined path.
            other: the same.

        Returns:
            ``False`` also where nobody can say: one cannot be read, or both not be decoded in the time for one file.
        """
        try:
            answer, _ = self._ask(CompareImages(str(one), str(other)))
        except DlrError:
            return False
        return isinstance(answer, ImagesCompared) and answer.same

    def load(
        self, files: StudyFiles, images: Sequence[MarkedImage], age_years: float | None
    ) -> list[LesionImage | LesionRefused]:
        """Load the lesions of one frame (`worker.imaging.lesion.decode_lesions`) in a decoder, which decodes it once.

        Args:
            files: of the lesions' study.
            images: the frame, once for each lesion on it: all of one SOP Instance UID and frame.
            age_years: the job's, if it gives one.

        Returns:
            For each lesion, in their order, its image, which shares the frame with the others', or why it cannot be
            scored: any code of a file, of pixels, of a region, of an age or of a quality check, ``decoder_crashed`` or
            ``decode_timeout``.

        Raises:
            Unavailable: as for `index`.
        """
        try:
            answer, frame = self._decoded(files, images, age_years)
        except LesionRefused as refused:
            return [refused for _ in images]
        return [self._image_of(region, frame, answer) for region in answer.regions]

    def _image_of(
        self, region: Region | RegionRefused, frame: NDArray[np.uint8], answer: LesionsDecoded
    ) -> LesionImage | LesionRefused:
        if isinstance(region, RegionRefused):
            return LesionRefused(region.code, region.reason)
        try:
            warnings = quality_warnings(region.quality_findings, self._policies)
        except LesionRefused as refused:
            return refused
        return LesionImage(
            frame,
            region.roi,
            region.source,
            answer.age,
            warnings,
            region.size,
            answer.scanner,
            answer.examination,
        )

    def _decoded(
        self, files: StudyFiles, images: Sequence[MarkedImage], age_years: float | None
    ) -> tuple[LesionsDecoded, NDArray[np.uint8]]:
        image = images[0]
        file = files.only or str(files.path_of(image.sop_instance_uid))
        rois = tuple(image.roi for image in images)
        answer, frame = self._ask(
            DecodeLesions(Marked(file, image.sop_instance_uid, image.frame, rois, age_years)),
        )
        if not isinstance(answer, LesionsDecoded) or frame is None or len(answer.regions) != len(images):
            raise LesionRefused(Code.DECODER_CRASHED)
        return answer, frame

    def close(self) -> None:
        """End the decoders, once their requests are answered."""
        for _ in range(self._processes):
            decoder = self._idle.get()
            if decoder is not None:
                decoder.end()

    def entry(self, path: Path) -> FileEntry:
        """Read whose one file is (`worker.imaging.study_files.read_entry`), in a decoder.

        Args:
            path: confined.

        Raises:
            LesionRefused: any code of a file, ``decoder_crashed`` or ``decode_timeout``.
            Unavailable: as for `index`.
        """
        answer, _ = self._ask(ReadEntry(str(path)))
        if not isinstance(answer, EntryRead):
            raise LesionRefused(Code.DECODER_CRASHED)
        return answer.entry

    def _ask(self, request: Request) -> tuple[Answer, NDArray[np.uint8] | None]:
        for _ in range(TRIES):
            idle, ready = self._idle.get(), None
            try:
                decoder = self._living(idle)
                decoder.await_start()
                began = perf_counter()
                answer = decoder.ask(request)
                self._measures.decoded(perf_counter() - began, refused=isinstance(answer, RequestFailed))
                frame = None
                if isinstance(answer, LesionsDecoded) and is_sound(answer, self._limits):
                    frame = decoder.frame(answer)
                ready = decoder
            except _Ended:
                logger.warning("a decoder exited while decoding: %s", _ending(decoder.end()))
                continue
            except _TimedOut:
                decoder.end()
                logger.warning("a decoder took longer than %.0f s and was killed", self._timeout_s)
                raise LesionRefused(Code.DECODE_TIMEOUT) from None
            except _NotStarted:
                decoder.end()
                raise Unavailable(Code.SERVICE_UNAVAILABLE, f"a decoder process did not start in {START_S} s") from None
            finally:
                self._idle.put(ready)
            if isinstance(answer, RequestFailed):
                raise (Unavailable if answer.again else LesionRefused)(answer.code, answer.reason)
            return answer, frame
        raise LesionRefused(Code.DECODER_CRASHED)

    def _living(self, decoder: _Decoder | None) -> _Decoder:
        if decoder is not None:
            if decoder.lives:
                return decoder
            decoder.end()
        try:
            return _Decoder(self._limits, self._timeout_s)
        except OSError:
            raise Unavailable(Code.SERVICE_UNAVAILABLE, "a decoder process cannot be started") from None


def is_sound(answer: LesionsDecoded, limits: Limits) -> bool:
    """Whether what a decoder says of its frame can be: it has read what a stranger wrote."""
    rows, columns, *colours = answer.shape
    regions = [region for region in answer.regions if isinstance(region, Region)]
    inside = all(lies_within(region.roi, rows, columns) for region in regions)
    sizes = [side for region in regions if region.size for side in (region.size.width_mm, region.size.height_mm)]
    measured = all(0 < side < math.inf for side in sizes)
    named = all(len(name or "") <= LONGEST_SCANNER for name in (answer.scanner.model, answer.scanner.site))
    sided = answer.examination.laterality in (None, *LATERALITIES.values())
    shaped = colours in ([], [COLOURS]) and rows * columns <= limits.max_frame_pixels
    return inside and measured and named and sided and shaped


def _ending(returncode: int) -> str:
    return f"signal {-returncode}" if returncode < 0 else f"exit status {returncode}"
