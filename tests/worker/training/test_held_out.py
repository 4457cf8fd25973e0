"""What is said of lesions that were held out: a lesion's images together, and each split for itself."""

import numpy as np
import pytest

from tests.worker.training.small import cohort_row, config
from worker.clinical.aggregation import AGGREGATIONS, Aggregation, aggregate
from worker.dataset.manifest import Split
from worker.evaluation.discrimination import auc, compare_aucs
from worker.evaluation.thresholds import youden_threshold
from worker.training.artefacts import metrics_of
from worker.training.cohort import Cohort, Lesions, labelled
from worker.training.config import TrainingConfig
from worker.training.held_out import discrimination, judge, score
from worker.training.labels import rule_of
from worker.training.processes import Team
from worker.training.start import new_network

MADE: TrainingConfig = config(seed=11)


def alone() -> Team:
    import torch

    return Team(0, 1, torch.device("cpu"))


def lesions(*splits: Split, patients: int = 12, views: int = 2) -> Lesions:
    rows = tuple(
        cohort_row(patient_key=f"{split}-{patient}", split=split, malignant=patient % 3 == 0, age_years=30.0 + patient)
        for split in splits
        for patient in range(patients)
        for _ in range(views)
    )
    pixels = np.random.default_rng(1).integers(0, 256, (len(rows), 1, 32, 32), np.uint8)
    return labelled(Cohort(pixels, rows, "0" * 64, "noise"), rule_of("DLR_BM", MADE))


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_the_scores_of_a_lesions_images_become_one_by_the_services_own_rule(method: Aggregation) -> None:
    made = MADE.model_copy(update={"aggregation": method})
    both = lesions(Split.TRAIN, Split.VALIDATION, Split.TEST).of(Split.TEST)
    network = new_network(MADE).eval()
    scored = score(network, both, made, alone())
    assert scored.images.tolist() == [2] * 12
    assert len(scored.names) == len(set(scored.names)) == 12
    halves = [
        score(network, Lesions(both.cohort, both.places[view::2], both.labels[view::2]), MADE, alone())
        for view in (0, 1)
    ]
    for name in ("with_age", "image_only"):
        pairs = zip(*(getattr(half, name).tolist() for half in halves), strict=True)
        assert getattr(scored, name) == pytest.approx([aggregate(method, pair) for pair in pairs], abs=1e-6)


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_the_threshold_is_chosen_on_lesions_and_not_on_images(method: Aggregation) -> None:
    made = MADE.model_copy(update={"aggregation": method})
    judged = judge(new_network(MADE).eval(), lesions(Split.TRAIN, Split.VALIDATION, Split.TEST), made, alone())
    chosen_on = judged.validation
    assert judged.threshold == round(youden_threshold(chosen_on.with_age, chosen_on.labels), 4)
    assert len(chosen_on.with_age) == 12


def test_image_and_age_are_held_against_either_alone() -> None:
    scored = score(
        new_network(MADE).eval(), lesions(Split.TRAIN, Split.VALIDATION, Split.TEST).of(Split.TEST), MADE, alone()
    )
    found = discrimination(scored)
    assert (found.lesions, found.positives) == (12, 4)
    assert found.score == auc(scored.with_age, scored.labels)
    assert found.age is not None
    assert found.age.only == auc(scored.ages, scored.labels)
    assert found.age.over_age == compare_aucs(scored.with_age, scored.ages, scored.labels)
    assert found.age.over_image == compare_aucs(scored.with_age, scored.image_only, scored.labels)


@pytest.mark.parametrize(
    ("splits", "held_out", "outside"),
    [
        ((Split.TEST,), Split.TEST, False),
        ((Split.TEST, Split.EXTERNAL), Split.TEST, True),
        ((Split.EXTERNAL,), Split.EXTERNAL, False),
    ],
)
def test_external_lesions_are_measured_apart_or_stand_for_the_test(
    splits: tuple[Split, ...], held_out: Split, outside: bool
) -> None:
    judged = judge(new_network(MADE).eval(), lesions(Split.TRAIN, Split.VALIDATION, *splits), MADE, alone())
    assert judged.held_out is held_out
    assert set(judged.scored) == {Split.VALIDATION, *splits}
    metrics = metrics_of(judged)
    assert ("external_auc" in metrics) == (judged.external is not None) == outside
    assert str(metrics["test_set"]) == f"12 held-out lesions ({held_out}), 4 of them positive"
    positive = judged.scored[held_out].with_age >= judged.threshold
    assert judged.sensitivity == positive[judged.scored[held_out].labels].mean()
