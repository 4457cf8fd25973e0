"""Two scores are held against pathology, and against the category, on the lesions that say something of it."""

import pytest

from worker.evaluation.paired_aucs import paired_aucs, paired_on_category


def test_the_difference_is_of_the_second_less_the_first() -> None:
    found = paired_aucs([(True, 0.4, 0.9), (True, 0.6, 0.8), (False, 0.5, 0.1), (False, 0.3, 0.2)])
    assert found is not None
    assert (found.lesions, found.positives) == (4, 2)
    assert (found.a.value, found.b.value, found.difference.value) == (0.75, 1.0, 0.25)


def test_4a_and_above_is_positive_and_category_0_says_neither() -> None:
    scores = {"0": 0.99, "3": 0.1, "2": 0.3, "4": 0.2, "4A": 0.5, "6": 0.6}
    found = paired_on_category([(birads, score, 1 - score) for birads, score in scores.items()])
    assert found is not None
    assert (found.lesions, found.positives) == (5, 3)
    assert (found.a.value, found.b.value) == (pytest.approx(5 / 6), pytest.approx(1 / 6))


def test_lesions_of_one_kind_alone_have_no_auc() -> None:
    assert paired_aucs([]) is None
    assert paired_aucs([(True, 0.1, 0.2)] * 3) is None
    assert paired_on_category([("4A", 0.1, 0.2), ("5", 0.1, 0.2), ("0", 0.1, 0.2)]) is None
