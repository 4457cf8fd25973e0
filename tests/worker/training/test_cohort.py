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
from worker.training.cohort import Cohort, CohortRow, labelled, require_telling_ages, sizes_of
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


@pytest.mark.parametrize(
    ("ages", "telling"),
    [
        ([50.0] * 12, False),
        ([50.0] * 7 + [31.0, 42.0, 55.0, 60.0, 71.0], False),
        ([50.0] * 6 + [31.0, 42.0, 55.0, 60.0, 71.0, 38.0], True),
        ([30.0 + place for place in range(12)], True),
    ],
    ids=["constant", "mostly filled in", "half", "true"],
)
def test_an_age_that_was_filled_in_is_nothing_to_learn_from(ages: list[float], telling: bool) -> None:
    splits = (Split.TRAIN, Split.VALIDATION, Split.TEST)
    rows = [
        cohort_row(patient_key=f"P{place}", split=splits[place % 3], malignant=place % 2 == 0, age_years=age)
        for place, age in enumerate(ages)
        for _ in range(1 + 3 * (age != 50))  # many images of a patient say no more of ages than one
    ]
    lesions = labelled(of_rows(rows), rule_of("DLR_BM", config()))
    if telling:
        require_telling_ages(lesions)
        return
    with pytest.raises(SetupRefused) as refused:
        require_telling_ages(lesions)
    assert refused.value.code is Code.AGE_UNINFORMATIVE
    assert f"{ages.count(50.0)} of 12 patients have the age 50" in refused.value.reason
    assert "--stages image" in refused.value.reason
