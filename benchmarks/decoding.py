"""What it costs to read images in processes of their own: lesions a second, by the worker's threads and by decoders.

``python -m benchmarks.decoding`` runs both ways in turns on the same ordinary files, and prints the median of the
rounds. The whole pipeline's share is measured with a device that answers at once, which makes the cost look its worst.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from worker.cli.output import Format, print_rows
from worker.demo.dicom import Header, write_ultrasound
from worker.imaging.decoder_pool import DecoderPool
from worker.imaging.lesion import Marked, Region, decode_lesions
from worker.imaging.study_files import index_study, read_entry
from worker.settings import get_settings
from worker.study import LesionImage, MarkedImage

THREADS = 8
SIZE = (768, 1024)
KINDS = {"native": ExplicitVRLittleEndian, "JPEG": JPEGBaseline8Bit, "RLE": RLELossless}
Load = Callable[[Path, str, MarkedImage], LesionImage]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round of each way")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--format", choices=["table", "json"], default="table")
    asked = parser.parse_args()
    with TemporaryDirectory() as folder, _decoders() as by_decoders:
        rows = [
            _compare(kind, files, by_decoders, asked.seconds, asked.rounds)
            for kind, files in _ordinary_files(Path(folder)).items()
        ]
    if asked.format == "json":
        json.dump(rows, sys.stdout, indent=2)
    else:
        print_rows(rows, list(rows[0]), Format.TABLE, title=f"lesions a second, {THREADS} threads")


def _ordinary_files(folder: Path) -> dict[str, list[tuple[Path, str]]]:
    """Speckle as ultrasound has it, (path, study UID), one frame of 768 x 1024."""
    made: dict[str, list[tuple[Path, str]]] = {}
    for kind, transfer_syntax in KINDS.items():
        for number in range(8):
            noise = np.random.default_rng(number).rayleigh(40, SIZE)
            frame = np.clip(noise * np.linspace(0.3, 1.6, SIZE[0])[:, None], 0, 255).astype(np.uint8)
            uid, path = f"1.2.{len(made)}.{number}", folder / f"{kind}{number}.dcm"
            write_ultrasound(path, Header(uid, "", "", "", "20261124"), [frame], transfer_syntax)
            made.setdefault(kind, []).append((path, uid))
    return made


def _in_threads(path: Path, uid: str, image: MarkedImage) -> LesionImage:
    limits = get_settings().limits
    files = index_study(path.parent, [path.name], uid, partial(read_entry, limits=limits))
    place = str(files.path_of(image.sop_instance_uid))
    found = decode_lesions(Marked(place, image.sop_instance_uid, image.frame, (image.roi,), 47.0), limits)
    (region,) = found.regions
    assert isinstance(region, Region)
    return LesionImage(found.frame, region.roi, region.source, found.age)


@contextmanager
def _decoders() -> Iterator[Load]:
    settings = get_settings()
    pool = DecoderPool(settings.limits, settings.decoders, settings.decode_timeout_s)

    def load(path: Path, uid: str, image: MarkedImage) -> LesionImage:
        (loaded,) = pool.load(pool.index(path.parent, [path.name], uid), [image], 47.0)
        assert isinstance(loaded, LesionImage)
        return loaded

    yield load
    pool.close()


def _compare(
    kind: str, files: list[tuple[Path, str]], by_decoders: Load, seconds: float, rounds: int
) -> dict[str, object]:
    work = [(path, uid, MarkedImage(str(dcmread(path).SOPInstanceUID), 1, None)) for path, uid in files]
    for one in work[:2]:
        if not np.array_equal(_in_threads(*one).frame, by_decoders(*one).frame):
            sys.exit(f"{kind}: the two ways give different pixels")
    rates: dict[str, list[float]] = {"threads": [], "decoders": []}
    for _ in range(rounds):
        for name, load in (("threads", _in_threads), ("decoders", by_decoders)):
            rates[name].append(_rate(load, work, seconds))
    threads, decoders = (statistics.median(rates[name]) for name in ("threads", "decoders"))
    return {
        "files": kind,
        "in_threads": round(threads, 1),
        "by_decoders": round(decoders, 1),
        "cost_percent": round(100 * (1 - decoders / threads), 1),
    }


def _rate(load: Load, work: list[tuple[Path, str, MarkedImage]], seconds: float) -> float:
    ends = time.perf_counter() + seconds

    def repeat(number: int) -> int:
        done = 0
        while time.perf_counter() < ends:
            load(*work[(number + done) % len(work)])
            done += 1
        return done

    with ThreadPoolExecutor(THREADS) as pool:
        started = time.perf_counter()
        done = sum(pool.map(repeat, range(THREADS)))
        return done / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
