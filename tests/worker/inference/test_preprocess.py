"""Pixels are made ready as the card says, once for cards that agree."""

import numpy as np

from tests.worker.inference.samples import sample_card
from worker.imaging.cropping import normalized
from worker.inference.preprocess import pixels_for_each, preprocess, same_crop
from worker.study import Roi

FRAME = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
REGION = Roi(x=30, y=20, width=60, height=40)


def test_the_cards_fields_reach_the_pixels() -> None:
    plain = preprocess(FRAME, REGION, sample_card().preprocessing)
    assert plain.shape == (3, 32, 32)
    assert plain.dtype == np.float32
    for change in (
        {"channels": "rgb"},
        {"resize": "stretch"},
        {"roi_margin": 0.0},
        {"pixel_mean": [0.1, 0.5, 0.55]},
        {"pixel_std": [0.2, 0.25, 0.5]},
    ):
        other = preprocess(FRAME, REGION, sample_card(**change).preprocessing)
        assert not np.array_equal(other, plain), change
    assert preprocess(FRAME, REGION, sample_card(input_size=48).preprocessing).shape == (3, 48, 48)


def test_cards_that_differ_in_normalization_alone_share_one_crop() -> None:
    lh, bm = sample_card(name="DLR_LH", threshold=0.2), sample_card(name="DLR_BM", pixel_mean=[0.1, 0.2, 0.3])
    first, second = pixels_for_each(FRAME, REGION, (lh.preprocessing, bm.preprocessing))
    assert first is second
    assert same_crop(lh.preprocessing, bm.preprocessing)
    assert (first.shape, first.dtype) == ((1, 32, 32), np.uint8)


def test_cards_that_differ_get_each_their_own() -> None:
    lh, bm = sample_card(name="DLR_LH", input_size=48, channels="rgb"), sample_card(name="DLR_BM")
    first, second = pixels_for_each(FRAME, REGION, (lh.preprocessing, bm.preprocessing))
    assert not same_crop(lh.preprocessing, bm.preprocessing)
    assert first.shape == (3, 48, 48)
    assert second.shape == (1, 32, 32)


def test_what_is_normalized_are_the_same_pixels() -> None:
    card = sample_card()
    (pixels,) = pixels_for_each(FRAME, REGION, (card.preprocessing,))
    assert np.array_equal(
        preprocess(FRAME, REGION, card.preprocessing),
        normalized(np.repeat(pixels, 3, axis=0), tuple(card.pixel_mean), tuple(card.pixel_std)),
    )
