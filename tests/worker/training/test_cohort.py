"""Cohorts: phantoms and labels, and what is refused."""

from collections.abc import Sequence

import numpy as np
import pytest

from tests.worker.training.small import cohort_row, config, phantoms
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.inference.model_card import DEMO_NOTICE
from worker.inference.preprocess import preprocess
from worker.phantom.phantom import phantom
from worker.training.augment import normalized
from worker.training.cohort import Cohort, CohortRow, labelled, sizes_of
from worker.training.labels import rule_of


def of_rows(rows: Sequence[CohortRow]) -> Cohort:
    return Cohort(np.zeros((len(rows), 1, 32, 32), np.uint8), tuple(rows), "0" * 64, "rows")


def both(split: Split) -> list[CohortRow]:
    return [
        cohort_row(split=split, patient_key=f"{split}-{birads}", birads=birads, malignant=birads == "5")
        for birads in ("3", "5")
    ]


def test_phantoms_follow_from_the_seed_and_bear_their_notice() -> None:
    one, again, other = (phantoms(config(seed=seed)) for seed in (1, 1, 2))
    assert one.digest == again.digest != other.digest
    assert (one.pixels == again.pixels).all()
    assert one.notice == DEMO_NOTICE
    assert DEMO_NOTICE in one.said


def test_phantoms_are_split_by_the_shares() -> None:
    made = config(phantoms__count=50, phantoms__validation=0.2, phantoms__test=0.3)
    lesions = labelled(phantoms(made), rule_of("DLR_BM", made))
    assert sizes_of(lesions) == {Split.TRAIN: 25, Split.VALIDATION: 10, Split.TEST: 15}


def test_a_networks_input_is_the_services() -> None:
    import torch

    made = config(phantoms__count=12, seed=5)
    rng = np.random.default_rng(5)
    malignant = rng.random(12) < 308 / 746
    drawn = phantom(int(rng.integers(2**63, size=12)[3]), malignant=bool(malignant[3]))
    ours = normalized(torch.from_numpy(phantoms(made).pixels[3:4]).float() / 255, made)
    assert np.abs(ours[0].numpy() - preprocess(drawn.image, drawn.roi, made.preprocessing)).max() < 1e-6


def test_what_is_of_neither_class_is_left_out() -> None:
    rows = [row for split in (Split.TRAIN, Split.VALIDATION, Split.TEST) for row in both(split)]
    cohort = of_rows([*rows, cohort_row(birads="0", patient_key="X"), cohort_row(birads=None, patient_key="Y")])
    assert len(labelled(cohort, rule_of("DLR_LH", config()))) == len(rows)
    assert len(labelled(cohort, rule_of("DLR_BM", config()))) == len(rows) + 2


@pytest.mark.parametrize("missing", [Split.TRAIN, Split.VALIDATION, Split.TEST])
def test_each_split_needs_both_classes(missing: Split) -> None:
    splits = (Split.TRAIN, Split.VALIDATION, Split.TEST)
    rows = [row for split in splits for row in both(split)[: 1 if split is missing else 2]]
    with pytest.raises(SetupRefused) as refused:
        labelled(of_rows(rows), rule_of("DLR_LH", config()))
    assert refused.value.code is Code.LESIONS_TOO_FEW
    assert missing in refused.value.reason


def test_two_images_of_a_lesion_can_not_be_of_both_classes() -> None:
    rows = [cohort_row(birads="3"), cohort_row(birads="4A")]
    with pytest.raises(SetupRefused) as refused:
        labelled(of_rows(rows), rule_of("DLR_LH", config()))
    assert refused.value.code is Code.DATASET_INVALID
