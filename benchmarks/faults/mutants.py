"""Mutants: real DICOM files with bytes changed, cut, doubled and swapped, read as a worker reads them."""

import logging
import os
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from pydicom import dcmread

from benchmarks.faults.bombs import peak_mib
from benchmarks.faults.service import Say
from benchmarks.faults.table import Figure
from tests.end_to_end.ultrasound_files import package_files
from tests.worker.imaging.dicom_files import marked_image
from worker.errors import Code, Refused
from worker.imaging.decoder_pool import DecoderPool
from worker.settings import Settings
from worker.study import LesionImage, Roi

LARGEST_SEED = 1 << 20
MOST_MIB = 2048
_THREADS = 4
_SEED = 20261124
_HEADER = 2500
_AGE = 47.0
_HOW_OFTEN = (0.3, 0.2, 0.3, 0.02, 0.02, 0.15, 0.01)
_INTERESTING = [
    b"\0\0",
    b"\xff\xff",
    b"\x7f\xff",
    b"\xff\x7f",
    b"\0\x80",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"\1\0\0\0",
]


@dataclass(frozen=True, slots=True)
class Seed:
    """A real file and the UIDs that it has."""

    name: str
    data: bytes
    study_uid: str
    sop_uid: str
    age_years: float | None


@dataclass(slots=True)
class Tally:
    """What came of the mutants."""

    codes: Counter[str] = field(default_factory=Counter)
    surprises: list[str] = field(default_factory=list)
    decoders_ended: int = 0


def seeds() -> list[Seed]:
    """Return the ultrasound files and secondary captures of pydicom's packages, smaller ones first."""
    found = []
    for path in sorted(package_files()):
        if path.stat().st_size > LARGEST_SEED:
            continue
        header = dcmread(path, stop_before_pixels=True, force=True)
        if header.get("Modality") in ("US", "OT") and "StudyInstanceUID" in header and "SOPInstanceUID" in header:
            study, sop = str(header.StudyInstanceUID), str(header.SOPInstanceUID)
            age = None if header.get("PatientAge") or header.get("PatientBirthDate") else _AGE
            found.append(Seed(path.name, path.read_bytes(), study, sop, age))
    return sorted(found, key=lambda seed: (len(seed.data), seed.name))


def mutated(seed: Seed, other: Seed, random: np.random.Generator) -> bytes:
    """Change a file in one to eight places, most of them in its header or near the start of its pixels."""
    data = bytearray(seed.data)
    for _ in range(int(random.integers(1, 9))):
        end = min(len(data), _HEADER) if random.random() < 0.6 else len(data)
        at = int(random.integers(132, max(end, 133)))
        match int(random.choice(7, p=_HOW_OFTEN)):
            case 0:
                data[at : at + 1] = bytes([data[min(at, len(data) - 1)] ^ 1 << int(random.integers(0, 8))])
            case 1:
                data[at : at + 4] = random.bytes(4)
            case 2:
                value = _INTERESTING[int(random.integers(0, len(_INTERESTING)))]
                data[at : at + len(value)] = value
            case 3:
                del data[at : at + int(random.integers(1, 64))]
            case 4:
                data[at:at] = data[at : at + int(random.integers(1, 256))]
            case 5:
                start = int(random.integers(0, len(other.data)))
                piece = other.data[start : start + int(random.integers(1, 512))]
                data[at : at + len(piece)] = piece
            case _:
                del data[at:]
    return bytes(data)


def mutants(say: Say, *, quick: bool) -> Figure:
    """Read mutants through the decoders, several at once."""
    count = 2_000 if quick else 100_000
    settings, files = Settings(), seeds()
    tally = Tally()
    with TemporaryDirectory(prefix="dlr-mutants-") as folder, _heard(tally):
        pool = DecoderPool(settings.limits, 2, settings.decode_timeout_s)

        def read(numbers: range) -> tuple[Counter[str], list[str]]:
            return _read_all(pool, files, Path(folder), numbers)

        with ThreadPoolExecutor(_THREADS) as threads:
            step = 250
            parts = [range(start, min(start + step, count)) for start in range(0, count, step)]
            for done, (codes, surprises) in enumerate(threads.map(read, parts), start=1):
                tally.codes += codes
                tally.surprises += surprises
                if done % 20 == 0:
                    say(f"{done * step:,} of {count:,}, {tally.decoders_ended} decoders ended, {tally.surprises[:3]}")
        largest = _peak_mib()
        pool.close()
    unknown = {code for code in tally.codes if code not in {*Code, "scored"}} | {Code.INTERNAL_ERROR} & set(tally.codes)
    most = ", ".join(f"{name} {number:,}" for name, number in tally.codes.most_common(5))
    return Figure(
        "mutated DICOM",
        f"{count:,} mutants of {len(files)} real files, seed {_SEED}",
        f"0 workers and {tally.decoders_ended} decoders ended; {len(tally.codes)} ways to end, "
        f"{len(unknown) + len(tally.surprises)} of them unknown ({most}); {largest} MiB at most, decoders included"
        + (f"; the first surprise: {tally.surprises[0]}" if tally.surprises else ""),
        "0 process deaths, only known codes, memory under 2 GiB",
        not tally.surprises and not unknown and tally.decoders_ended == 0 and largest < MOST_MIB,
    )


def _read_all(pool: DecoderPool, files: list[Seed], folder: Path, numbers: range) -> tuple[Counter[str], list[str]]:
    codes: Counter[str] = Counter()
    surprises = []
    for number in numbers:
        random = np.random.default_rng((_SEED, number))
        seed = files[int(len(files) * random.random() ** 2)]
        path = folder / f"{number}.dcm"
        path.write_bytes(mutated(seed, files[int(random.integers(0, len(files)))], random))
        marked = marked_image(sop_instance_uid=seed.sop_uid, roi=Roi(1, 1, 2, 2) if number % 2 else None)
        try:
            (loaded,) = pool.load(pool.index(folder, [path.name], seed.study_uid), [marked], seed.age_years)
            codes["scored" if isinstance(loaded, LesionImage) else loaded.code] += 1
        except Refused as refused:
            codes[refused.code] += 1
        except Exception as error:  # noqa: BLE001  a surprise is what is looked for
            surprises.append(f"{number} ({seed.name}): {type(error).__name__}")
        path.unlink()
    return codes, surprises


class _heard(logging.Handler):  # noqa: N801  a context manager
    """Counts what the pool says of its decoders."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(logging.WARNING)
        self._tally, self._logger = tally, logging.getLogger("worker.imaging.decoder_pool")

    def emit(self, record: logging.LogRecord) -> None:
        self._tally.decoders_ended += bool(re.match("a decoder (ended|took)", record.getMessage()))

    def __enter__(self) -> None:
        self._logger.addHandler(self)

    def __exit__(self, *_: object) -> None:
        self._logger.removeHandler(self)


def _peak_mib() -> int:
    return peak_mib(os.getpid()) + sum(peak_mib(child.pid) for child in psutil.Process().children())
