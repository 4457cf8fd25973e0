"""What a lesion's score gains from all its images is measured on the same lesions, and by patients."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from benchmarks.several_images import Seen, compared

RNG = np.random.default_rng(3)


def part(noise: float, count: int = 60) -> list[Seen]:
    """Lesions whose images see the same thing, each with a noise of its own."""
    made = []
    for place in range(count):
        malignant = place % 3 == 0
        scores = 1 / (1 + np.exp(-(2.0 * malignant - 1 + noise * RNG.normal(size=2))))
        made.append(Seen(f"P{place // 2}", malignant, tuple(scores.tolist())))
    return made


def test_one_image_s_measures_are_those_of_its_scores_in_the_mean_over_the_parts() -> None:
    parts = [part(1.0), part(2.0)]
    found = compared(parts, resamples=20)["first image alone"]
    by_hand = [roc_auc_score([one.malignant for one in each], [one.scores[0] for one in each]) for each in parts]
    assert found["auc"]["value"] == pytest.approx(np.mean(by_hand))
    squares = [(one.malignant - one.scores[0]) ** 2 for each in parts for one in each]
    assert found["brier"]["value"] == pytest.approx(np.mean(squares))


def test_two_noisy_images_tell_more_than_either() -> None:
    found = compared([part(2.0, 300)], resamples=40)
    for way in ("first image alone", "last image alone"):
        assert found[way]["auc"]["less_mean"] < 0
        assert found[way]["auc"]["less_mean_interval"][1] < 0
    assert found["mean"]["auc"]["less_mean_interval"] == (0, 0)


def test_where_images_are_alike_every_way_says_the_same() -> None:
    alike = [Seen(one.patient, one.malignant, one.scores[:1] * 3) for one in part(1.0)]
    found = compared([alike], resamples=20)
    for way in found.values():
        assert way["auc"]["less_mean"] == pytest.approx(0)
        assert way["brier"]["less_mean"] == pytest.approx(0)


def test_the_same_seed_gives_the_same_intervals() -> None:
    lesions = [part(1.0)]
    assert compared(lesions, 30, seed=5) == compared(lesions, 30, seed=5) != compared(lesions, 30, seed=6)
