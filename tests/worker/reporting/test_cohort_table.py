"""Table S1, computed again from 746 lesions, and what holds of any cohort."""

from collections.abc import Mapping
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.reporting.table_s1_lesions import COLUMNS, published, study_lesions
from worker.cli.report_rows import csv_rows
from worker.clinical.descriptors import LEVELS
from worker.reporting.cohort_table import (
    CONTINUOUS,
    FEATURES,
    CohortLesion,
    CohortTable,
    Column,
    Share,
    Spread,
    cohort_table,
)
from worker.reporting.recorded_cohort import NoticedTable


def as_lesion(row: Mapping[str, str]) -> CohortLesion:
    features = {name: float(row[name]) if name in CONTINUOUS else row[name] for name in FEATURES}
    return CohortLesion(row["pathology"] == "malignant", row["patient_key"], features)


STUDY = [as_lesion(row) for row in study_lesions()]
COMPUTED = list(csv_rows(NoticedTable(None, cohort_table(STUDY))))


def test_the_table_has_table_s1s_rows_in_its_order() -> None:
    assert [(row["feature"], row.get("level") or "") for row in COMPUTED] == [
        (row["feature"], row["level"]) for row in published()
    ]


@pytest.mark.parametrize("place", range(len(published())), ids=[f"{r['feature']} {r['level']}" for r in published()])
def test_each_count_mean_and_p_value_is_printed_as_in_table_s1(place: int) -> None:
    computed = {name: str(COMPUTED[place].get(name) or "") for name in COLUMNS}
    computed |= {column: str(COMPUTED[place][column]) for column in Column}
    assert computed == published()[place]


@pytest.mark.parametrize("place", range(5, len(published())))
def test_each_percentage_is_of_the_lesions_of_its_column(place: int) -> None:
    lesions, row = published()[0], published()[place]
    for column in ("total", "benign", "malignant"):
        assert COMPUTED[place][f"{column}_percent"] == f"{100 * int(row[column]) / int(lesions[column]):.1f}"


@pytest.mark.parametrize(
    ("feature", "level", "percentages"),
    [
        # counted by hand: 298 of 746, 293 of 438, 5 of 308, and so on
        ("shape", "oval", ("39.9", "66.9", "1.6")),
        ("margin_spiculated", "yes", ("11.1", "0.9", "25.6")),
        ("skin_changes", "yes", ("0.5", "0.0", "1.3")),
        ("cdfi", "adler_2", ("20.8", "1.8", "47.7")),
    ],
)
def test_percentages_are_those_of_a_calculator(feature: str, level: str, percentages: tuple[str, ...]) -> None:
    [row] = [row for row in COMPUTED if (row["feature"], row.get("level")) == (feature, level)]
    assert tuple(row[f"{column}_percent"] for column in Column) == percentages


def test_where_few_lesions_are_expected_the_p_value_is_said_to_be_rough() -> None:
    remarks = {row["feature"]: row["remark"] for row in COMPUTED if row.get("remark")}
    assert set(remarks) == {"tissue_composition", "shape", "posterior_features", "echo_pattern", "skin_changes",
                            "edema", "cdfi"}  # fmt: skip
    assert remarks["edema"] == "rough: 2 of 4 cells expect fewer than 5 lesions"


def test_the_study_has_a_lesion_of_each_patient() -> None:
    table = cohort_table(STUDY)
    assert (table.lesions[Column.TOTAL], table.clusters) == (746, 746)


def test_what_is_not_known_is_counted_and_left_out_of_its_feature_alone() -> None:
    without = [
        CohortLesion(lesion.malignant, lesion.cluster, {n: v for n, v in lesion.features.items() if n != "edema"})
        if place in (0, 1, 745)
        else lesion
        for place, lesion in enumerate(STUDY)
    ]
    features = {feature.name: feature for feature in cohort_table(without).features}
    edema = features["edema"]
    assert dict(edema.missing) == {"total": 3, "benign": 2, "malignant": 1}
    no = edema.levels[0].cells
    # The last malignant lesion has an edema, and the two benign ones have none.
    assert [no[column] for column in Column] == [Share(742, 743), Share(436, 436), Share(306, 307)]
    whole = {feature.name: feature for feature in cohort_table(STUDY).features}
    assert {name for name in features if features[name] != whole[name]} == {"edema"}


def test_a_cohort_without_lesions_or_of_one_class_has_a_table_and_no_p_value() -> None:
    for lesions in ([], STUDY[:20], [lesion for lesion in STUDY if lesion.malignant]):
        table = cohort_table(lesions)
        assert {feature.difference.p_value for feature in table.features} == {None}
        assert all("not tested" in (feature.difference.remark or "") for feature in table.features)
    assert cohort_table([]).features[0].levels[0].cells[Column.TOTAL] == Spread(0, None, None)


number = st.floats(0, 120, allow_subnormal=False)
lesions = st.lists(
    st.builds(
        CohortLesion,
        malignant=st.booleans(),
        cluster=st.sampled_from(["a", "b", "c"]),
        features=st.fixed_dictionaries(
            {},
            optional=dict.fromkeys(CONTINUOUS, number)
            | {name: st.sampled_from(levels) for name, levels in LEVELS.items()},
        ),
    ),
    max_size=30,
)


@given(cohort=lesions, seed=st.integers(0, 2**32))
def test_another_order_of_the_lesions_changes_nothing(cohort: list[CohortLesion], seed: int) -> None:
    shuffled = Random(seed).sample(cohort, len(cohort))
    assert cohort_table(shuffled) == cohort_table(cohort)


@given(cohort=lesions)
def test_benign_for_malignant_leaves_each_p_value_as_it_is(cohort: list[CohortLesion]) -> None:
    swapped = [CohortLesion(not lesion.malignant, lesion.cluster, lesion.features) for lesion in cohort]
    for one, other in zip(cohort_table(cohort).features, cohort_table(swapped).features, strict=True):
        assert one.levels[0].cells[Column.BENIGN] == other.levels[0].cells[Column.MALIGNANT]
        assert one.difference.remark == other.difference.remark
        p_values = one.difference.p_value, other.difference.p_value
        assert p_values == (None, None) or p_values[0] == pytest.approx(p_values[1], rel=1e-9)


@given(cohort=lesions)
def test_the_classes_and_the_levels_add_up(cohort: list[CohortLesion]) -> None:
    table: CohortTable = cohort_table(cohort)
    assert table.lesions[Column.TOTAL] == table.lesions[Column.BENIGN] + table.lesions[Column.MALIGNANT] == len(cohort)
    for feature in table.features:
        p_value = feature.difference.p_value
        assert p_value is None or 0 <= p_value <= 1
        for column in Column:
            cells = [level.cells[column] for level in feature.levels]
            counted = sum(cell.count if isinstance(cell, Share) else cell.known for cell in cells)
            assert counted + feature.missing[column] == table.lesions[column]
