"""Net benefit is Vickers and Elkin's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.evaluation.decision_curve import THRESHOLDS, decision_curve


def test_net_benefit_by_hand() -> None:
    # Of ten lesions three are malignant; at 0.2 the model acts on all three and on two of the benign.
    scores = np.array([0.9, 0.5, 0.2, 0.6, 0.3, 0.1, 0.1, 0.1, 0.1, 0.1])
    labels = np.array([True] * 3 + [False] * 7)
    [at] = [one for one in decision_curve(scores, labels) if one.threshold == 0.2]
    assert at.model == pytest.approx(3 / 10 - 2 / 10 * 0.25)
    assert at.treat_all == pytest.approx(0.3 - 0.7 * 0.25)


def test_a_model_that_tells_all_apart_gains_the_prevalence() -> None:
    labels = np.arange(1000) < 140
    at = decision_curve(np.where(labels, 0.5, 0.05), labels)[9]
    assert (at.threshold, at.treat_all) == (0.1, pytest.approx(0.14 - 0.86 / 9))
    assert at.model == pytest.approx(0.14)


@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=40))
def test_the_curve_is_its_definition_at_every_threshold(lesions: list[tuple[int, bool]]) -> None:
    scores, labels = np.array([score / 100 for score, _ in lesions]), np.array([label for _, label in lesions])
    prevalence = labels.mean()
    for one, at in zip(decision_curve(scores, labels), THRESHOLDS, strict=True):
        acts = scores >= at
        gained = (acts & labels).mean() - (acts & ~labels).mean() * at / (1 - at)
        assert one.model == pytest.approx(gained)
        assert one.treat_all == pytest.approx(prevalence - (1 - prevalence) * at / (1 - at))
        assert one.model <= prevalence + 1e-12
