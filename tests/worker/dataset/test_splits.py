"""Splits: whole patients, near the shares that were asked for, the same for a seed, and never the same image twice."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.worker.dataset.manifests import row
from worker.dataset.manifest import ManifestRow, Pathology, Split
from worker.dataset.splits import Plan, leaks, split_rows
from worker.errors import Code, SetupRefused

Rows = dict[int, ManifestRow]


def table(sizes: list[int], *, sites: tuple[str, ...] = ("A",), first: int = 2) -> Rows:
    """A patient each size, with as many rows; every third malignant."""
    rows = [
        row(
            image=f"{patient}-{view}.png",
            patient_key=f"P{patient}",
            pathology="malignant" if patient % 3 == 0 else "benign",
            birads="5" if patient % 3 == 0 else ("3", "4A")[patient % 2],
            site=sites[patient % len(sites)],
        )
        for patient, size in enumerate(sizes)
        for view in range(size)
    ]
    return dict(enumerate(rows, start=first))


def splits_of(rows: Mapping[int, ManifestRow]) -> dict[str, set[tuple[Split | None, int | None]]]:
    found: defaultdict[str, set[tuple[Split | None, int | None]]] = defaultdict(set)
    for one in rows.values():
        found[one.patient_key].add((one.split, one.fold))
    return found


def refusal(rows: Rows, plan: Plan) -> str:
    with pytest.raises(SetupRefused) as refused:
        split_rows(rows, [], plan)
    assert refused.value.code == Code.SPLIT_IMPOSSIBLE
    return refused.value.reason


SIZES = st.lists(st.integers(1, 5), min_size=36, max_size=56)
SHARES = st.sampled_from([(0.7, 0.15, 0.15), (0.5, 0.25, 0.25), (0.6, 0.2, 0.2), (0.8, 0.0, 0.2), (1.0, 0.0, 0.0)])


@settings(max_examples=25)
@given(SIZES, SHARES, st.integers(0, 1000))
def test_no_patient_is_in_two_splits_and_each_split_is_near_its_share(
    sizes: list[int], shares: tuple[float, float, float], seed: int
) -> None:
    rows = table(sizes)
    made = split_rows(rows, [], Plan(*shares, seed=seed))
    assert list(made) == list(rows)
    assert all(len(found) == 1 for found in splits_of(made).values())
    assert leaks(made, []) == []
    counts = Counter(one.split for one in made.values())
    for split, share in zip(Split, (*shares, 0.0), strict=True):
        assert abs(counts[split] - share * len(rows)) <= 2 * max(sizes)


def test_whom_a_version_was_trained_on_is_trained_on_again_and_never_tested_on() -> None:
    rows = {
        line: one.model_copy(update={"trained_on": "DLR_BM 7"}) if one.patient_key in ("P3", "P4", "P5") else one
        for line, one in table([2] * 40).items()
    }
    for seed in range(5):
        splits = splits_of(split_rows(rows, [], Plan(seed=seed)))
        assert {next(iter(splits[patient]))[0] for patient in ("P3", "P4", "P5")} == {Split.TRAIN}
        assert {split for found in splits.values() for split, _ in found} == set(Plan().shares)


@settings(max_examples=20)
@given(SIZES, st.integers(0, 1000))
def test_each_class_is_spread_as_all_rows_are(sizes: list[int], seed: int) -> None:
    made = split_rows(table(sizes), [], Plan(seed=seed))
    for pathology in Pathology:
        of_class = [one for one in made.values() if one.pathology is pathology]
        for split, share in Plan().shares.items():
            there = sum(one.split is split for one in of_class)
            assert abs(there - share * len(of_class)) <= 2 * max(sizes)


@settings(max_examples=15)
@given(SIZES, st.integers(0, 1000), st.sampled_from([0, 3, 5]), st.randoms(use_true_random=False))
def test_the_same_seed_gives_the_same_split_whatever_order_the_rows_are_in(
    sizes: list[int], seed: int, folds: int, random: Random
) -> None:
    rows, plan = table(sizes), Plan(seed=seed, folds=folds)
    made = split_rows(rows, [], plan)
    lines = list(rows)
    random.shuffle(lines)
    assert split_rows({line: rows[line] for line in lines}, [], plan) == made
    renumbered = split_rows({place: rows[line] for place, line in enumerate(lines)}, [], plan)
    assert {one.image: (one.split, one.fold) for one in renumbered.values()} == {
        one.image: (one.split, one.fold) for one in made.values()
    }


def test_another_seed_gives_another_split() -> None:
    rows = table([1] * 60)
    assert len({tuple(one.split for one in split_rows(rows, [], Plan(seed=seed)).values()) for seed in range(5)}) == 5


@settings(max_examples=15)
@given(SIZES, st.integers(0, 1000), st.integers(1, 5), st.sampled_from([0, 4]))
def test_rows_of_another_patient_leave_every_patient_whole(sizes: list[int], seed: int, more: int, folds: int) -> None:
    plan = Plan(seed=seed, folds=folds)
    made = split_rows(table([*sizes, more]), [], plan)
    assert all(len(found) == 1 for found in splits_of(made).values())


@settings(max_examples=15)
@given(SIZES, st.integers(0, 1000), st.integers(2, 6))
def test_folds_hold_whole_patients_and_the_test_is_in_none(sizes: list[int], seed: int, folds: int) -> None:
    made = split_rows(table(sizes), [], Plan(seed=seed, folds=folds))
    assert all(len(found) == 1 for found in splits_of(made).values())
    assert {one.split for one in made.values()} == {Split.TRAIN, Split.TEST}
    counts = Counter(one.fold for one in made.values() if one.split is Split.TRAIN)
    assert set(counts) == set(range(1, folds + 1))
    assert {one.fold for one in made.values() if one.split is Split.TEST} == {None}


@settings(max_examples=15)
@given(SIZES, st.integers(0, 1000), st.data())
def test_patients_who_share_an_image_are_kept_together(sizes: list[int], seed: int, data: st.DataObject) -> None:
    rows = table(sizes)
    lines = st.integers(min(rows), max(rows))
    pairs = data.draw(st.lists(st.tuples(lines, lines), max_size=6))
    made = split_rows(rows, pairs, Plan(seed=seed))
    assert all(made[one].split == made[other].split for one, other in pairs)
    assert leaks(made, pairs) == []


@settings(max_examples=15)
@given(SIZES, st.integers(0, 1000))
def test_an_external_site_is_external_and_no_other_row_is(sizes: list[int], seed: int) -> None:
    made = split_rows(table(sizes, sites=("A", "B", "C", "D")), [], Plan(seed=seed, external=frozenset({"C"})))
    assert all((one.split is Split.EXTERNAL) == (one.site == "C") for one in made.values())
    assert leaks(made, []) == []


def test_a_patient_of_two_sites_leaks_into_the_external_one() -> None:
    rows = table([2] * 40, sites=("A", "B"))
    moved = max(rows)
    rows[moved] = rows[moved].model_copy(update={"patient_key": "P0"})
    (fault,) = leaks(split_rows(rows, [], Plan(external=frozenset({"B"}))), [])
    assert (fault.line, fault.code) == (moved, Code.SPLIT_LEAKS)


def test_each_row_that_leaks_is_told_with_the_row_that_it_leaks_from() -> None:
    rows = {
        2: row(split="train", site="A"),
        3: row(split="test", site="A"),
        4: row(split="test", patient_key="P2", site="A"),
        5: row(split="train", patient_key="P3", site="B"),
        6: row(split="external", patient_key="P4", site="B"),
        7: row(split=None, patient_key="P1"),
    }
    found = [(fault.line, fault.reason) for fault in leaks(rows, [(2, 4), (2, 7)])]
    assert found == [
        (3, "the patient of line 2, in another split or fold"),
        (4, "the image of line 2, or nearly, in another split or fold"),
        (5, "its site has external rows, and this one is not external"),
    ]


def test_a_patient_in_two_folds_leaks() -> None:
    assert [fault.line for fault in leaks({2: row(split="train", fold=1), 3: row(split="train", fold=2)}, [])] == [3]


IMPOSSIBLE: dict[str, tuple[Rows, Plan, str]] = {
    "too few patients": (table([1] * 5), Plan(), "too few patients"),
    "one class": ({2: row(), 3: row(patient_key="P2")}, Plan(), "no malignant lesion"),
    "fewer than the folds": (table([1] * 20), Plan(folds=40), "fewer"),
    "no row": ({}, Plan(), "no row"),
    "no such site": (table([1] * 40), Plan(external=frozenset({"Z"})), "no row's site"),
    "a row without a site": (
        table([1] * 40, sites=("A", "B")) | {1: row(patient_key="Q", site=None)},
        Plan(external=frozenset({"B"})), "each a site",
    ),
    "an external site that a version was trained on": (
        table([1] * 40, sites=("A", "B")) | {1: row(patient_key="Q", site="B", trained_on="DLR_BM 1")},
        Plan(external=frozenset({"B"})), "1 rows of external sites have trained_on",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "plan", "said"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_can_not_be_split_is_refused(rows: Rows, plan: Plan, said: str) -> None:
    assert said in refusal(rows, plan)


NO_PLAN: dict[str, tuple[dict[str, Any], str]] = {
    "shares that are not one": ({"train": 0.7, "validation": 0.2, "test": 0.2}, "sum to 1"),
    "a negative share": ({"train": 1.2, "validation": -0.2, "test": 0.0}, "0 or more"),
    "no number": ({"train": float("nan")}, "sum to 1"),
    "nothing to learn from": ({"train": 0.0, "validation": 0.5, "test": 0.5}, "train has one"),
    "one fold": ({"folds": 1}, "2 folds or more"),
}


@pytest.mark.parametrize(("values", "said"), NO_PLAN.values(), ids=NO_PLAN)
def test_a_plan_that_is_none_is_refused_before_any_image_is_read(values: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        Plan(**values)
    assert (refused.value.code, said in refused.value.reason) == (Code.SPLIT_IMPOSSIBLE, True)
