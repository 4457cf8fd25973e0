"""The table that the phantoms are drawn from is the study's."""

import pytest

from worker.clinical.descriptors import LEVELS, MEASURES
from worker.phantom.table_s1 import class_table


@pytest.mark.parametrize(
    ("malignant", "lesions", "irregular", "age"), [(False, 438, 140, 38.77), (True, 308, 302, 52.0)]
)
def test_it_has_the_studys_numbers(malignant: bool, lesions: int, irregular: int, age: float) -> None:
    table = class_table(malignant=malignant)
    shape = table.levels["shape"]
    assert table.lesions == lesions
    assert table.spreads["age_years"].mean == age
    assert shape.shares[shape.names.index("irregular")] == pytest.approx(irregular / lesions)


@pytest.mark.parametrize("malignant", [False, True])
def test_it_has_every_descriptor_of_the_contract_with_the_same_levels(malignant: bool) -> None:
    table = class_table(malignant=malignant)
    assert {name: levels.names for name, levels in table.levels.items()} == LEVELS
    assert set(table.spreads) == {"age_years", *MEASURES}
    for levels in table.levels.values():
        assert levels.shares.sum() == pytest.approx(1)
        counts = levels.shares * table.lesions
        assert counts == pytest.approx(counts.round())
