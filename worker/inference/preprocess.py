"""From a lesion's pixels to the networks' input, as their cards say."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worker.imaging.cropping import model_input
from worker.inference.card import Preprocessing
from worker.study import Roi


def preprocess(frame: NDArray[np.uint8], region: Roi, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """Crop, resize and normalize one lesion.

    Training goes through this function too, so what a network learnt on is what it is served.

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


def preprocess_for_each(
    frame: NDArray[np.uint8], region: Roi, wanted: Sequence[Preprocessing]
) -> tuple[NDArray[np.float32], ...]:
    """Preprocess one lesion for several networks; equal preprocessing is done once, and shared."""
    made = {one: preprocess(frame, region, one) for one in dict.fromkeys(wanted)}
    return tuple(made[one] for one in wanted)
