"""A phantom follows from its seed, and its picture from its descriptors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.phantom.case import PhantomCase, draw_case
from worker.phantom.phantom import phantom
from worker.phantom.render import render
from worker.study import Roi


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**63 - 1),
    malignant=st.booleans(),
    rows=st.integers(48, 200),
    columns=st.integers(48, 200),
)
def test_its_lesion_lies_within_its_image(seed: int, malignant: bool, rows: int, columns: int) -> None:
    made = phantom(seed, malignant=malignant, rows=rows, columns=columns)
    assert made.image.shape == (rows, columns)
    assert made.image.dtype == np.uint8
    assert made.roi.x >= 0
    assert made.roi.y >= 0
    assert made.roi.x + made.roi.width <= columns
    assert made.roi.y + made.roi.height <= rows
    assert min(made.roi.width, made.roi.height) >= 3
    assert made.image.std() > 5
    assert made.malignant is malignant


def test_the_same_seed_gives_the_same_phantom_and_another_another() -> None:
    first, again, other = (phantom(seed, malignant=True) for seed in (7, 7, 8))
    assert np.array_equal(first.image, again.image)
    assert replace(first, image=again.image) == again
    assert not np.array_equal(first.image, other.image)


def test_an_image_too_small_for_a_lesion_is_refused() -> None:
    with pytest.raises(ValueError, match="48"):
        phantom(1, malignant=False, rows=20, columns=128)


def test_a_larger_image_shows_the_same_lesion_larger() -> None:
    small, large = phantom(3, malignant=False), phantom(3, malignant=False, rows=384, columns=512)
    assert large.descriptors == small.descriptors
    assert large.roi.width == pytest.approx(3 * small.roi.width, rel=0.1)


def _drawn(seed: int = 11, **descriptors: str | float) -> tuple[NDArray[np.uint8], Roi]:
    """Draw a plain benign lesion with some descriptors changed."""
    plain = {
        "tissue_composition": "fibroglandular",
        "shape": "oval",
        "orientation": "parallel",
        "margin_circumscribed": "yes",
        "margin_indistinct": "no",
        "margin_angular": "no",
        "margin_microlobulated": "no",
        "margin_spiculated": "no",
        "posterior_features": "none",
        "echo_pattern": "hypoechoic",
        "microcalcifications": "no",
        "architectural_distortion": "no",
        "duct_changes": "no",
        "skin_changes": "no",
        "edema": "no",
        "aspect_ratio": 0.6,
    }
    case: PhantomCase = draw_case(np.random.default_rng(0), malignant=False)
    return render(replace(case, descriptors=plain | descriptors), np.random.default_rng(seed), 128, 128)


def _inside(image: NDArray[np.uint8], roi: Roi) -> NDArray[np.uint8]:
    return image[
        roi.y + roi.height // 4 : roi.y + 3 * roi.height // 4, roi.x + roi.width // 4 : roi.x + 3 * roi.width // 4
    ]


def _below(image: NDArray[np.uint8], roi: Roi) -> NDArray[np.uint8]:
    bottom = roi.y + roi.height
    return image[bottom + 5 : bottom + 15, roi.x + roi.width // 3 : roi.x + 2 * roi.width // 3]


@pytest.mark.parametrize("seed", range(5))
def test_a_hypoechoic_lesion_is_darker_than_the_tissue_and_a_cyst_darker_still(seed: int) -> None:
    image, roi = _drawn(seed)
    cyst, cyst_roi = _drawn(seed, echo_pattern="anechoic")
    assert _inside(cyst, cyst_roi).mean() + 20 < _inside(image, roi).mean() < _below(image, roi).mean() - 20


@pytest.mark.parametrize("seed", range(5))
def test_microcalcifications_are_bright_points_in_the_lesion(seed: int) -> None:
    image, roi = _drawn(seed)
    calcified, _ = _drawn(seed, microcalcifications="yes")
    lesion = np.s_[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
    brighter = calcified[lesion].astype(int) - image[lesion]
    assert 0.01 < (brighter > 60).mean() < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_the_sound_behind_the_lesion_is_shadowed_or_enhanced(seed: int) -> None:
    means = {
        feature: _below(*_drawn(seed, posterior_features=feature)).mean()
        for feature in ("shadowing", "none", "enhancement")
    }
    assert means["shadowing"] + 10 < means["none"] < means["enhancement"] - 5


@pytest.mark.parametrize("seed", range(5))
def test_the_outline_follows_aspect_ratio_and_orientation(seed: int) -> None:
    def aspect(**descriptors: str | float) -> float:
        roi = _drawn(seed, **descriptors)[1]
        return roi.height / roi.width

    assert aspect(aspect_ratio=0.4) < aspect(aspect_ratio=0.9)
    assert aspect(aspect_ratio=0.4) == pytest.approx(0.4, abs=0.15)
    assert aspect(shape="round") == pytest.approx(1, abs=0.15)
    assert aspect(aspect_ratio=0.4, orientation="not_parallel") > aspect(aspect_ratio=0.4) + 0.1


@pytest.mark.parametrize(
    "descriptors",
    [
        {"shape": "irregular"},
        {"margin_angular": "yes"},
        {"margin_microlobulated": "yes"},
        {"margin_spiculated": "yes"},
        {"margin_indistinct": "yes"},
        {"margin_circumscribed": "no"},
        {"architectural_distortion": "yes"},
        {"duct_changes": "yes"},
        {"skin_changes": "yes"},
        {"edema": "yes"},
        {"tissue_composition": "heterogeneous"},
        {"tissue_composition": "fat"},
        {"echo_pattern": "heterogeneous"},
        {"echo_pattern": "complex_cystic_and_solid"},
        {"posterior_features": "combined"},
    ],
)
def test_every_other_descriptor_shows_too(descriptors: dict[str, str]) -> None:
    plain, changed = _drawn()[0].astype(int), _drawn(**descriptors)[0].astype(int)
    assert (abs(plain - changed) > 15).sum() > 20
