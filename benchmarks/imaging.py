"""One frame of a multi-frame file: what this project decodes, against what pydicom decodes by default."""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit

from benchmarks.measuring import Figure, Say, in_turns, seconds_of
from worker.demo.dicom import Header, write_ultrasound
from worker.imaging.lesion import Marked, decode_lesions
from worker.settings import get_settings

FRAMES = 100


def decode(say: Say, *, quick: bool) -> Figure:
    """Seconds for one frame of a JPEG file of a hundred, against pydicom's ``pixel_array``."""
    rows, columns = (240, 320) if quick else (480, 640)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "clip.dcm"
        say("writes a clip")
        rng = np.random.default_rng(0)
        frames = [np.clip(rng.rayleigh(60, (rows, columns, 3)), 0, 255).astype(np.uint8) for _ in range(FRAMES)]
        sop = write_ultrasound(path, Header("1.2.3", "", "", "", "20261124"), frames, JPEGBaseline8Bit)
        marked = [Marked(str(path), sop, frame, (None,), 47.0) for frame in (1, FRAMES // 2, FRAMES)]
        limits = get_settings().limits

        def one_frame() -> float:
            return statistics.median(seconds_of(lambda one=one: decode_lesions(one, limits)) for one in marked)

        def all_frames() -> float:
            return seconds_of(lambda: dcmread(path).pixel_array)

        one_frame(), all_frames()
        say("measures")
        ratio = in_turns(one_frame, all_frames)
    return Figure(
        "decode",
        f"one frame of a {FRAMES}-frame JPEG file / pydicom's default full decode, seconds",
        ratio.median,
        ratio.spread,
        ratio.median <= 0.05,
        f"{1e3 * statistics.median(ratio.ours):.1f} ms, header and checks included",
        f"{1e3 * statistics.median(ratio.peers):.0f} ms",
    )
