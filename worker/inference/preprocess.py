"""From a lesion's pixels to the networks' input, as their cards say."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.imaging.cropping import model_input, model_pixels
from worker.inference.model_card import Preprocessing
from worker.study import Roi


def preprocess(frame: NDArray[np.uint8], region: Roi, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Crop, resize and normalize one lesion.

    Workers and trainings do the same in two steps, `pixels_for_each` and the card's normalization on their device, and
    tests compare the two.

    Args:
        frame: uint8, (rows, columns) grey or (rows, columns, 3) RGB.
        region: the lesion's rectangle, within the frame.
        preprocessing: the card's.

    Returns:
        float32 (3, S, S), S being the card's input size.
    """
    return model_input(
        frame,
        region,
        size=preprocessing.size,
        margin=preprocessing.margin,
        resize=preprocessing.resize,
        channels=preprocessing.channels,
        mean=preprocessing.mean,
        std=preprocessing.std,
    )


def pixels_for_each(
    frame: NDArray[np.uint8], region: Roi, wanted: Sequence[Preprocessing]
) -> tuple[NDArray[np.uint8], ...]:
    """Crop and resize one lesion for several networks; the same crop is made once, and shared.

    Returns:
        uint8 (1 or 3, S, S) for each, not normalized yet.
    """
    crops = [_crop_of(one) for one in wanted]
    made = {crop: model_pixels(frame, region, **crop._asdict()) for crop in dict.fromkeys(crops)}
    return tuple(made[crop] for crop in crops)


def same_crop(one: Preprocessing, other: Preprocessing) -> bool:
    """Whether two networks are fed the same pixels, whatever they normalize them to."""
    return _crop_of(one) == _crop_of(other)


class _Crop(NamedTuple):
    size: int
    margin: float
    resize: str
    channels: str


def _crop_of(wanted: Preprocessing) -> _Crop:
    return _Crop(wanted.size, wanted.margin, wanted.resize, wanted.channels)
