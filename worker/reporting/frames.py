"""Frames for pictures, decoded where everything that came from outside is decoded: in a decoder's process."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from worker.errors import Code, LesionRefused
from worker.imaging.study_files import StudyFiles
from worker.reporting.result import LesionResult
from worker.reporting.source_study import SourceImage
from worker.study import LesionImage, MarkedImage, Roi

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Decoders(Protocol):
    """What is needed of `worker.imaging.decoder_pool.DecoderPool`."""

    def load(
        self, files: StudyFiles, images: "Sequence[MarkedImage]", age_years: float | None
    ) -> "Sequence[LesionImage | LesionRefused]":
        """Load the lesions of one frame."""


def frame_reader(decoders: Decoders) -> "Callable[[SourceImage, LesionResult], NDArray[np.uint8]]":
    """Return what decodes the frame of a lesion that was scored: uint8, (rows, columns) or (rows, columns, 3).

    It raises LesionRefused with any code of a file or of pixels, and Unavailable with ``storage_unavailable``.
    """

    def read(image: SourceImage, lesion: LesionResult) -> NDArray[np.uint8]:
        if lesion.region is None:
            raise LesionRefused(Code.ROI_OUTSIDE_IMAGE)
        marked = MarkedImage(image.sop_instance_uid, lesion.frame, Roi(*lesion.region))
        (loaded,) = decoders.load(StudyFiles({image.sop_instance_uid: image.path}), [marked], lesion.age_years)
        if isinstance(loaded, LesionRefused):
            raise loaded
        return loaded.frame

    return read
