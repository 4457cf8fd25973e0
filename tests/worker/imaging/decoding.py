"""A file's frame, decoded in this process as a decoder does it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.worker.imaging.dicom_files import LIMITS
from worker.errors import LesionRefused
from worker.image_access import Limits
from worker.imaging.dicom_file import open_dicom
from worker.imaging.layout import frame_index, pixel_layout
from worker.imaging.pixels import decode_frame


def decoded(path: Path, frame: int | None = None, limits: Limits = LIMITS) -> NDArray[np.uint8]:
    """Decode a frame, which counts from 1."""
    with open_dicom(path, limits) as file:
        layout = pixel_layout(file, limits)
        return decode_frame(file, layout, frame_index(layout, frame))


def refusal(path: Path, frame: int | None = None, limits: Limits = LIMITS) -> LesionRefused:
    """Say why a frame is refused; nothing of what a decoder said may hang on it."""
    with pytest.raises(LesionRefused) as refused:
        decoded(path, frame, limits)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    return refused.value
