"""Poison among good studies: files and lesions that end, flood or hang whatever touches them."""

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from pydicom.uid import JPEG2000Lossless

from benchmarks.faults.service import FaultService, Say, fault_service
from benchmarks.faults.simulated_device import HANGS, KILLS_ITS_WORKER, RAISES_MEMORY_ERROR
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify
from tests.worker.imaging.dicom_files import picture, write, write_frames
from worker.study import Roi

MOST_ATTEMPTS = 3
PATIENCE_S = 300
_LIMITS = {"DLR_INFERENCE_TIMEOUT_S": "4", "DLR_DECODE_TIMEOUT_S": "2.5", "DLR_DECODERS": "2"}
_LOOK_S = 0.01


def poison(say: Say, *, quick: bool) -> Figure:
    """Push poison of each kind among good studies."""
    good_ones = 40 if quick else 200
    with fault_service(say, **_LIMITS) as service:
        bad = {kind: make(service) for kind, make in _KINDS.items()}
        good = service.studies.make(good_ones)
        every = good_ones // len(bad)
        for place, study in enumerate(bad.values()):
            for one in good[place * every : (place + 1) * every]:
                service.push(one)
            service.push(study)
        for one in good[len(bad) * every :]:
            service.push(one)
        with _killer_of_readers(service, f"{bad[_CRASH].uid}.dcm"):
            service.start_workers()
            service.until_ended([*good, *bad.values()], PATIENCE_S)
        verdict = verify(service, [*good, *bad.values()], may_fail=list(bad.values()))
        rows = {row["uid"]: row for row in service.sql(_HOW, [study.uid for study in bad.values()])}
    ends = {kind: rows[study.uid] for kind, study in bad.items()}
    for kind, end in ends.items():
        say(f"{kind}: {end['state']}, {', '.join(end['codes'])}, {end['attempts']} attempts")
    attempts = max(end["attempts"] for end in ends.values())
    failed = all(end["state"] == "failed" and "none" not in end["codes"] for end in ends.values())
    return Figure(
        f"poison among {good_ones} good studies",
        "; ".join(ends),
        f"{said(verdict)}; each poison failed, after {attempts} attempts at most: "
        + ", ".join(sorted({code for end in ends.values() for code in end["codes"]})),
        f"good ones all done; poison failed in <= {MOST_ATTEMPTS} attempts",
        verdict.is_clean and failed and attempts <= MOST_ATTEMPTS and verdict.states["done"] == good_ones,
    )


_HOW = """
SELECT s.study_instance_uid AS uid, s.state::text, s.attempts,
       array_agg(DISTINCT coalesce(l.error_code, s.error_code, 'none')) AS codes
FROM study s JOIN lesion l ON l.study_id = s.id WHERE s.study_instance_uid = ANY(%s) GROUP BY s.id
"""


def _of_width(width: int) -> Callable[[FaultService], MadeStudy]:
    return lambda service: service.studies.make(1, rois=[Roi(4, 4, width, 24)])[0]


def _noise(side: int, dtype: type[np.unsignedinteger[Any]]) -> Callable[[FaultService], MadeStudy]:
    """A JPEG 2000 file that takes its time."""

    def make(service: FaultService) -> MadeStudy:
        pixels = np.random.default_rng(side).integers(0, np.iinfo(dtype).max, (side, side), dtype)
        return service.studies.around(
            lambda path, names: write(path, pixels, JPEG2000Lossless, **names, PatientAge=None)
        )

    return make


def _flood(service: FaultService) -> MadeStudy:
    """A frame of 64 x 48 pixels whose codestream is larger than the memory that reading it may take."""
    return service.studies.around(
        lambda path, names: write_frames(
            path, [bytes(200 << 20)], picture(), JPEG2000Lossless, **names, PatientAge=None
        )
    )


_CRASH = "a file whose decoder is killed each time (as by the OOM killer, or by its own crash)"
_KINDS: dict[str, Callable[[FaultService], MadeStudy]] = {
    "a lesion that kills the whole worker (SIGKILL)": _of_width(KILLS_ITS_WORKER),
    "a lesion on which the device raises MemoryError": _of_width(RAISES_MEMORY_ERROR),
    "a lesion on which the device hangs": _of_width(HANGS),
    _CRASH: _noise(2048, np.uint8),
    "a file whose decoding does not end in time": _noise(4096, np.uint16),
    "a file that needs more memory than a decoder has (MemoryError)": _flood,
}


class _killer_of_readers:  # noqa: N801  a context manager
    """Kills each decoder that has a file of this name open."""

    def __init__(self, service: FaultService, name: str) -> None:
        self._service, self._name, self._stopped = service, name, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.is_set():
            for worker in list(self._service.workers.values()):
                with suppress(psutil.Error, OSError):
                    for child in psutil.Process(worker.pid).children(recursive=True):
                        if _has_open(child.pid, self._name):
                            os.kill(child.pid, signal.SIGKILL)
            time.sleep(_LOOK_S)


def _has_open(pid: int, name: str) -> bool:
    return any(link.readlink().name == name for link in Path(f"/proc/{pid}/fd").iterdir())
