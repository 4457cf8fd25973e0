"""What is said of lesions that were held out: a lesion's images together, and each split for itself."""

import numpy as np
import pytest

from tests.worker.training.small import cohort_row, config
from worker.dataset.manifest import Split
from worker.evaluation.discrimination import auc, compare_aucs
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


def test_a_lesion_on_several_images_has_the_mean_of_its_scores() -> None:
    both = lesions(Split.TRAIN, Split.VALIDATION, Split.TEST).of(Split.TEST)
    network = new_network(MADE).eval()
    scored = score(network, both, MADE, alone())
    assert len(scored.names) == len(set(scored.names)) == 12
    halves = [
        score(network, Lesions(both.cohort, both.places[view::2], both.labels[view::2]), MADE, alone())
        for view in (0, 1)
    ]
    for name in ("with_age", "image_only", "logits"):
        one, other = (getattr(half, name) for half in halves)
        assert getattr(scored, name) == pytest.approx((one + other) / 2, abs=1e-6)
    assert halves[0].with_age == pytest.approx(1 / (1 + np.exp(-halves[0].logits)), abs=1e-6)


def test_image_and_age_are_held_against_either_alone() -> None:
    scored = score(
        new_network(MADE).eval(), lesions(Split.TRAIN, Split.VALIDATION, Split.TEST).of(Split.TEST), MADE, alone()
    )
    found = discrimination(scored)
    assert (found.lesions, found.positives) == (12, 4)
    assert found.age_only == auc(scored.ages, scored.labels)
    assert found.over_age == compare_aucs(scored.with_age, scored.ages, scored.labels)
    assert found.over_image == compare_aucs(scored.with_age, scored.image_only, scored.labels)


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
