"""Bombs: small files that declare or unfold to far more than they hold."""

import struct
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
from pydicom.dataset import FileDataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from benchmarks.faults.service import Say
from benchmarks.faults.table import Figure
from tests.worker.imaging.dicom_files import (
    STUDY_UID,
    dataset,
    jpeg,
    marked_image,
    picture,
    save,
    write,
    write_deflated,
    write_frames,
)
from worker.errors import Code, LesionRefused
from worker.imaging.decoder_pool import DecoderPool
from worker.settings import Settings
from worker.study import Roi

WITHIN_S = 1.0
WITHIN_MIB = 256
_HUGE = 60_000


def bombs(say: Say, *, quick: bool) -> Figure:
    """Read each bomb with the default limits, by a decoder that has just started."""
    slowest, largest, codes = 0.0, 0, []
    with TemporaryDirectory(prefix="dlr-bombs-") as folder:
        for kind, make in KINDS.items():
            path = make(Path(folder) / "bomb.dcm")
            seconds, mib, code = _read(path)
            say(f"{kind}: {path.stat().st_size:,} bytes, {code or 'READ'} after {seconds:.2f} s with {mib} MiB")
            slowest, largest = max(slowest, seconds), max(largest, mib)
            codes.append(code)
            path.unlink()
    refused = [code for code in codes if code is not None]
    return Figure(
        "bombs",
        f"{len(KINDS)} kinds: {'; '.join(KINDS)}" if not quick else f"{len(KINDS)} kinds",
        f"{len(refused)} refused ({', '.join(sorted(set(refused)))}) after {slowest:.2f} s at most, "
        f"with {largest} MiB at most",
        f"refused in <= {WITHIN_S:.0f} s with <= {WITHIN_MIB} MiB",
        len(refused) == len(KINDS) and slowest <= WITHIN_S and largest <= WITHIN_MIB,
    )


def _read(path: Path) -> tuple[float, int, Code | None]:
    """Say how long reading took, the decoder's largest resident memory in MiB, and the refusal's code."""
    settings = Settings()
    pool = DecoderPool(settings.limits, 1, settings.decode_timeout_s)
    try:
        pool.load(pool.index(path.parent, [_warm(path.parent)], STUDY_UID), [marked_image()], None)
        (decoder,) = _decoders()
        started = time.perf_counter()
        (loaded,) = pool.load(
            pool.index(path.parent, [path.name], STUDY_UID), [marked_image(roi=Roi(0, 0, 8, 8))], None
        )
        code = loaded.code if isinstance(loaded, LesionRefused) else None
        seconds = time.perf_counter() - started
        peak = peak_mib(decoder.pid) if decoder.is_running() and [decoder] == _decoders() else WITHIN_MIB + 1
        return seconds, peak, code
    finally:
        pool.close()


def _warm(folder: Path) -> str:
    path = folder / "good.dcm"
    if not path.exists():
        write(path, picture())
    return path.name


def _decoders() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if "decoder_process" in " ".join(child.cmdline())]


def peak_mib(pid: int) -> int:
    """Return the largest resident memory that the kernel saw of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    raise AssertionError(pid)


def _deflated_zeros(path: Path) -> Path:
    return write_deflated(path, dataset(picture()), extra=bytes(1 << 30))


def _deflated_elements(path: Path) -> Path:
    element = struct.pack("<HH2sH", 0x0009, 0x1000, b"LO", 0)
    return write_deflated(path, _header_alone(), extra=element * (8 << 20))


def _deflated_sequences(path: Path) -> Path:
    """Sequences in sequences, each of undefined length."""
    open_item = struct.pack("<HH2sHL", 0x0018, 0x6011, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    return write_deflated(path, _header_alone(), extra=open_item * (1 << 20))


def _header_alone() -> FileDataset:
    return dataset(picture(), PixelData=None)


def _rle(path: Path) -> Path:
    """One segment of runs of 128 zeros: 60 times what the header declares."""
    segment = struct.pack("<16L", 1, 64, *[0] * 14) + b"\x81\x00" * (4 << 20)
    return write_frames(path, [segment], picture(), RLELossless)


def _jpeg_2000(path: Path) -> Path:
    """A codestream whose own header declares another size than the file's."""
    write(path, picture(), JPEG2000Lossless)
    stream = bytearray(path.read_bytes())
    size = stream.index(b"\xff\x4f\xff\x51") + 8
    stream[size : size + 8] = struct.pack(">LL", _HUGE, _HUGE)
    path.write_bytes(stream)
    return path


def _jpeg_2000_of_one_tile_each(path: Path) -> Path:
    """The largest frame that is allowed, in tiles of one pixel: sixteen million tiles."""
    write(path, picture(), JPEG2000Lossless)
    stream = bytearray(path.read_bytes())
    size = stream.index(b"\xff\x4f\xff\x51") + 8
    stream[size : size + 8] = struct.pack(">LL", 4096, 4096)
    stream[size + 16 : size + 24] = struct.pack(">LL", 1, 1)
    return _resized(path, bytes(stream), 4096, 4096)


def _jpeg_2000_of_nothing(path: Path) -> Path:
    """The largest frame that is allowed, in colour, black: 50 MB in 900 bytes."""
    return write(path, np.zeros((4096, 4096, 3), np.uint8), JPEG2000Lossless)


def _jpeg(path: Path) -> Path:
    stream = bytearray(jpeg(picture()))
    at = stream.index(b"\xff\xc0") + 5
    stream[at : at + 4] = struct.pack(">HH", _HUGE, _HUGE)
    return write_frames(path, [bytes(stream)], picture(), JPEGBaseline8Bit)


def _jpeg_ls(path: Path) -> Path:
    """A JPEG-LS codestream that declares 60,000 x 60,000."""
    start = struct.pack(">HHHBHHBBBB", 0xFFD8, 0xFFF7, 11, 8, _HUGE, _HUGE, 1, 1, 0x11, 0)
    scan = struct.pack(">HHBBBBBB", 0xFFDA, 8, 1, 1, 0, 0, 0, 0)
    return write_frames(path, [start + scan + bytes(64) + b"\xff\xd9"], picture(), JPEGLSLossless)


def _rows_columns_frames(path: Path) -> Path:
    return save(path, dataset(picture(), Rows=65_535, Columns=65_535, NumberOfFrames=2_000_000_000))


def _resized(path: Path, stream: bytes, rows: int, columns: int) -> Path:
    """Declare the same size in the file's header as in its codestream."""
    old = dataset(picture())
    for name, value, was in (("Rows", rows, old.Rows), ("Columns", columns, old.Columns)):
        tag = {"Rows": 0x0010, "Columns": 0x0011}[name]
        head = struct.pack("<HH2sH", 0x0028, tag, b"US", 2)
        stream = stream.replace(head + struct.pack("<H", was), head + struct.pack("<H", value))
    path.write_bytes(stream)
    return path


KINDS: dict[str, Callable[[Path], Path]] = {
    "deflate: 1 GiB of zeros": _deflated_zeros,
    "deflate: 8 million elements": _deflated_elements,
    "deflate: a million sequences in each other": _deflated_sequences,
    "RLE: runs of far more than the frame": _rle,
    "JPEG 2000: 60,000 x 60,000 in the codestream": _jpeg_2000,
    "JPEG 2000: sixteen million tiles of one pixel": _jpeg_2000_of_one_tile_each,
    "JPEG 2000: 4096 x 4096 x 3 samples in 900 bytes": _jpeg_2000_of_nothing,
    "JPEG: 60,000 x 60,000 in the codestream": _jpeg,
    "JPEG-LS: 60,000 x 60,000 in the codestream": _jpeg_ls,
    "Rows x Columns x Frames of 8 EiB": _rows_columns_frames,
}
