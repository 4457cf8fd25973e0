"""A manifest's rows: what they may hold, what they say of labels, and that no value is told of one that is none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.worker.dataset.manifests import row
from worker.clinical.descriptors import LEVELS, MEASURES
from worker.dataset.manifest import COLUMNS, ManifestRow, cells_of, manifest_schema, reason_of, row_of

CELLS: dict[str, object] = {"image": "a.png", "pathology": "benign", "patient_key": "P1", "lesion_id": "L1"}


def reason(**cells: object) -> str:
    with pytest.raises(ValidationError) as invalid:
        row_of(CELLS | cells)
    return reason_of(invalid.value)


@pytest.mark.parametrize(
    ("birads", "high_risk"),
    [("0", None), (None, None), ("1", False), ("2", False), ("3", False), ("4", True), ("4A", True), ("4b", True),
     ("4C", True), ("5", True), ("6", True)],
)  # fmt: skip
def test_4a_and_above_is_high_risk_and_3_and_below_is_low(birads: str | None, high_risk: bool | None) -> None:
    assert row(birads=birads).high_risk is high_risk


def test_a_four_without_its_letter_is_never_a_4a() -> None:
    assert row(birads="4").birads == "4"
    assert row(birads="4").birads != row(birads="4A").birads


def test_pathology_is_the_label_of_the_other_model() -> None:
    assert row(pathology="Malignant").malignant is True
    assert row(pathology="benign").malignant is False
    assert row(pathology=None, excluded="no_pathology").malignant is None


WRONG: dict[str, tuple[dict[str, object], str]] = {
    "a path that leads out": ({"image": "../a.png"}, "image: a path is relative"),
    "an absolute path": ({"mask": "/etc/passwd"}, "mask: a path is relative"),
    "no such category": ({"birads": "7"}, "birads: one of 0, 1"),
    "no such pathology": ({"pathology": "unclear"}, "pathology: "),
    "no pathology and no exclusion": ({"pathology": None}, "pathology is needed"),
    "an age of nobody": ({"age_years": "121"}, "age_years: "),
    "an age that is no number": ({"age_years": "forty"}, "age_years: "),
    "half a rectangle": ({"roi_x": "1", "roi_y": "2"}, "roi_width: is missing; roi_height: is missing"),
    "a rectangle of nothing": (
        {"roi_x": "1", "roi_y": "2", "roi_width": "0", "roi_height": "4"}, "roi_width: "
    ),
    "part of a pixel": ({"roi_x": "1.5", "roi_y": "2", "roi_width": "3", "roi_height": "4"}, "roi_x: "),
    "a rectangle and a mask": (
        {"roi_x": "1", "roi_y": "2", "roi_width": "3", "roi_height": "4", "mask": "m.png"}, "not both"
    ),
    "a level that Table S1 has not": ({"shape": "lobular"}, "shape is one of oval, round, irregular"),
    "a measure that is none": ({"aspect_ratio": "wide"}, "aspect_ratio is a number"),
    "a frame 0": ({"frame": "0"}, "frame: "),
    "a reason in words": ({"excluded": "Mrs Example declined"}, "excluded: "),
    "a split of what is excluded": ({"excluded": "declined", "split": "train"}, "an excluded row is in no split"),
}  # fmt: skip


@pytest.mark.parametrize(("cells", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said_by_its_column(cells: dict[str, object], said: str) -> None:
    assert said in reason(**cells)


@given(st.sampled_from([name for name in COLUMNS if name != "image"]), st.text("xyzq", min_size=4, max_size=9))
def test_no_value_is_ever_told(column: str, value: str) -> None:
    cells = CELLS | {"roi_x": 1, "roi_y": 1, "roi_width": 2, "frame": "0"} | {column: f"secret{value}"}
    with pytest.raises(ValidationError) as invalid:
        row_of(cells)
    assert "secret" not in reason_of(invalid.value)


DESCRIPTORS = st.fixed_dictionaries(
    {},
    optional={
        **{name: st.sampled_from(levels) for name, levels in LEVELS.items()},
        **{name: st.floats(0, 1e6) for name in MEASURES},
    },
)
OPTIONAL: dict[str, st.SearchStrategy[Any]] = {
    "frame": st.integers(1, 2**31 - 1),
    "roi": st.builds(
        dict, x=st.integers(-9, 9), y=st.integers(-9, 9), width=st.integers(1, 9), height=st.integers(1, 9)
    ),
    "age_years": st.floats(0, 120),
    "birads": st.sampled_from(["0", "1", "2", "3", "4", "4A", "4B", "4C", "5", "6"]),
    "site": st.text("ABC", min_size=1, max_size=64),
    "split": st.sampled_from(["train", "validation", "test", "external"]),
    "fold": st.integers(1, 100),
}


@given(st.fixed_dictionaries({}, optional=OPTIONAL), DESCRIPTORS)
def test_a_row_survives_its_cells(optional: dict[str, Any], descriptors: dict[str, Any]) -> None:
    one = ManifestRow.model_validate(CELLS | optional | {"descriptors": descriptors})
    cells = cells_of(one)
    assert tuple(cells) == COLUMNS
    assert row_of({name: value for name, value in cells.items() if value is not None}) == one
    as_text = {name: str(value) for name, value in cells.items() if value is not None}
    assert row_of(as_text) == one


def test_the_schema_is_flat_and_names_every_column() -> None:
    schema = manifest_schema()
    assert tuple(schema["properties"]) == COLUMNS
    assert schema["properties"]["shape"] == {"enum": ["oval", "round", "irregular"]}
    assert schema["required"] == ["image", "patient_key", "lesion_id"]
    assert not json.dumps(schema).count("RoiJob")
