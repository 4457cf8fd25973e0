"""Images that are the same, or nearly, are found; those of two lesions are not taken for one."""

from io import BytesIO
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from worker.dataset.near_duplicates import MOST_BITS, alike, difference_hash, joined
from worker.phantom.phantom import phantom


def differing(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


@pytest.fixture(scope="module")
def images() -> list[NDArray[np.uint8]]:
    return [phantom(seed, malignant=bool(seed % 2)).image for seed in range(40)]


def test_no_two_phantoms_look_alike(images: list[NDArray[np.uint8]]) -> None:
    looks = [difference_hash(image) for image in images]
    assert min(differing(one, other) for one, other in combinations(looks, 2)) > 2 * MOST_BITS
    assert alike(looks) == []


def test_an_image_that_was_stored_anew_scaled_or_brightened_still_looks_alike(
    images: list[NDArray[np.uint8]],
) -> None:
    for image in images[:10]:
        made = Image.fromarray(image)
        stored = BytesIO()
        made.save(stored, "JPEG", quality=60)
        others = [
            Image.open(stored),
            made.resize((made.width * 2 // 3, made.height * 2 // 3), Image.Resampling.BILINEAR),
            ImageEnhance.Brightness(made).enhance(1.2),
            made.convert("RGB"),
        ]
        looks = [difference_hash(image), *(difference_hash(np.asarray(other)) for other in others)]
        assert [pair for pair in alike(looks) if pair[0] == 0] == [(0, 1), (0, 2), (0, 3), (0, 4)]


@given(st.lists(st.integers(0, 255), max_size=12), st.integers(0, 4))
def test_pairs_are_those_of_the_definition(values: list[int], most: int) -> None:
    looks = [bytes([value, *[0] * 31]) for value in values]
    expected = [
        (one, other)
        for one, other in combinations(range(len(values)), 2)
        if differing(looks[one], looks[other]) <= most
    ]
    assert alike(looks, most) == expected


@given(st.integers(1, 12).flatmap(lambda count: st.tuples(
    st.just(count), st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))),
)))  # fmt: skip
def test_what_is_joined_by_others_is_together(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = drawn
    reached = {place: {place} for place in range(count)}
    for _ in range(count):
        for one, other in pairs:
            together = reached[one] | reached[other]
            for place in together:
                reached[place] |= together
    assert joined(count, pairs) == [min(reached[place]) for place in range(count)]
