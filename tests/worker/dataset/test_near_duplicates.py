"""What is joined by pairs is together, and the same pixels are the same image whatever they look like."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.dataset.near_duplicates import Fingerprint, joined, pixels_sha256, same_or_alike


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


def test_the_same_pixels_are_the_same_image_though_they_show_nothing() -> None:
    flat = np.zeros((8, 8), np.uint8)
    prints = {line: Fingerprint("", "", pixels_sha256(flat), bytes(64 * 64), bytes(64 * 64)) for line in (2, 5, 9)}
    assert same_or_alike(prints) == [(2, 5, True), (2, 9, True)]
