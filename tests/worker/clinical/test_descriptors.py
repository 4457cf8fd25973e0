"""Table S1's names and levels."""

import pytest

from worker.clinical.descriptors import LEVELS, MEASURES, descriptor_faults


@pytest.mark.parametrize(("name", "level"), [(name, level) for name, levels in LEVELS.items() for level in levels])
def test_every_level_of_table_s1_is_taken(name: str, level: str) -> None:
    assert descriptor_faults({name: level}) == []


@pytest.mark.parametrize("name", MEASURES)
def test_measures_are_numbers_that_are_not_negative(name: str) -> None:
    assert descriptor_faults({name: 0.62}) == []
    for wrong in (-1.0, float("nan"), float("inf"), "0.62"):
        assert descriptor_faults({name: wrong})


def test_faults_name_the_descriptor_and_its_levels_and_never_the_value() -> None:
    assert descriptor_faults({"shape": "Jane Doe"}) == ["shape is one of oval, round, irregular"]
    assert "Jane" not in descriptor_faults({"Jane Doe": "oval"})[0]
