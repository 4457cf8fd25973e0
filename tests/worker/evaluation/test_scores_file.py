"""A table of scores: what its columns mean, and what is said of a row that cannot be read."""

import json
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.worker.inference.samples import sample_card
from worker.clinical.categories import Priority
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.lesions import Scorer
from worker.evaluation.scores_file import ScoresFile, read_scores
from worker.inference.model_card import DEMO_NOTICE
from worker.tables.csv_json import MAX_BYTES

HEADER = "lesion_id,pathology,malignant_probability"
GIVEN = Scorer("DLR_BM", "given")


def read(folder: Path, *lines: str, name: str = "scores.csv") -> ScoresFile:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return read_scores(path)


def refusal(folder: Path, *lines: str) -> str:
    with pytest.raises(SetupRefused) as refused:
        read(folder, *lines)
    assert refused.value.code is Code.SCORES_INVALID
    return refused.value.reason


def test_every_column_is_read(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "lesion_id;patient_key;pathology;birads;age_years;width_mm;height_mm;site;split;high_risk_probability;Malignant_Probability",
        "L1;P1;Malignant;4a;47.5;12;20.5;North;test;0.7;0.9",
    )
    [one] = found.material.lesions
    assert (one.lesion_id, one.patient, one.malignant, one.birads) == ("L1", "P1", True, "4A")
    assert (one.age_years, one.size_mm, one.site, one.split) == (47.5, 20.5, "North", Split.TEST)
    assert one.scores == {Scorer("DLR_LH", "given"): 0.7, GIVEN: 0.9}
    assert (found.bad, found.material.left_out) == ((), {"without scores": 0})


@pytest.mark.parametrize(("name", "carried"), [("DLR_BM", True), ("DLR_LH", False)])
def test_the_notice_of_the_card_that_the_table_was_written_with_goes_with_it(
    tmp_path: Path, name: str, carried: bool
) -> None:
    (tmp_path / "card.json").write_text(sample_card(name=name, notice=DEMO_NOTICE).to_json())
    notices = read(tmp_path, HEADER, "L1,benign,0.5").material.notices
    assert notices == ((f"DLR_BM 1.0: {DEMO_NOTICE}",) if carried else ())


def test_a_file_that_is_no_card_is_none_of_its_business(tmp_path: Path) -> None:
    (tmp_path / "card.json").write_text("{}")
    assert read(tmp_path, HEADER, "L1,benign,0.5").material.notices == ()


def test_a_lesion_may_say_its_study_and_how_soon_that_is_wanted(tmp_path: Path) -> None:
    found = read(tmp_path, f"{HEADER},study_id,priority", "L1,benign,0.5,S1,STAT", "L1,benign,,S2,", "L2,benign,0.5,,")
    first, last = found.material.lesions
    assert (first.lesion_id, first.study, first.priority) == ("S1/L1", "S1", Priority.STAT)
    assert (last.lesion_id, last.study, last.priority) == ("L2", None, None)
    [unscored] = found.unscored
    assert (unscored.lesion_id, unscored.study, dict(unscored.scores)) == ("S2/L1", "S2", {})
    assert read(tmp_path, f"{HEADER},study_id", "L1,benign,0.5,S1", "L1,benign,0.5,S1").bad[0].line == 3


def test_a_lesion_may_say_on_how_many_images_it_was_scored(tmp_path: Path) -> None:
    found = read(
        tmp_path, f"{HEADER},images", "L1,benign,0.5,2", "L2,benign,0.5,", "L3,benign,0.5,65", "L4,benign,0.5,0"
    )
    assert [one.images for one in found.material.lesions] == [2, None]
    assert [(fault.line, "images" in fault.reason) for fault in found.bad] == [(4, True), (5, True)]


def test_parquet_says_the_same(tmp_path: Path) -> None:
    columns = {
        "lesion_id": [1.0, 2.0],
        "pathology": ["benign", "malignant"],
        "malignant_probability": [0.25, None],
        "birads": [3.0, None],
    }
    parquet.write_table(pa.table(columns), tmp_path / "scores.parquet")
    found = read_scores(tmp_path / "scores.parquet")
    [one] = found.material.lesions
    assert (one.lesion_id, one.malignant, one.scores, one.birads) == ("1", False, {GIVEN: 0.25}, "3")
    assert [other.lesion_id for other in found.unscored] == ["2"]


def test_json_says_the_same(tmp_path: Path) -> None:
    row = {"lesion_id": "L1", "pathology": "benign", "malignant_probability": 0.25, "size_mm": 8, "birads": None}
    for content in ([row], {"lesions": [row]}):
        [one] = read(tmp_path, json.dumps(content)).material.lesions
        assert (one.malignant, one.scores, one.size_mm, one.birads) == (False, {GIVEN: 0.25}, 8, None)


def test_a_column_with_a_version_is_another_version(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "lesion_id,pathology,malignant_probability_2026.12,malignant_probability,high_risk_probability",
        "L1,benign,0.1,0.2,0.3",
        "L2,benign,0.1,,",
    )
    assert [one.name for one in found.material.scorers] == ["DLR_BM given", "DLR_BM 2026.12", "DLR_LH given"]
    assert [(pair.lh.version, pair.bm.version) for pair in found.material.pairs] == [
        ("given", "given"),
        ("given", "2026.12"),
    ]
    assert len(found.material.lesions[1].scores) == 1


def test_a_lesion_without_scores_is_left_out_and_counted(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER, "L1,benign,0.5", "L2,benign,")
    assert (len(found.material.lesions), found.material.left_out) == (1, {"without scores": 1})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("L1,perhaps,0.5", "pathology: has to be 'benign' or 'malignant'"),
        ("L1,,0.5", "pathology: is missing"),
        (",benign,0.5", "lesion_id: is missing"),
        ("L1,benign,1.5", "malignant_probability: has to be 1 or less"),
        ("L1,benign,nan", "malignant_probability: has to be a finite number"),
        ("L1,benign,SECRET", "malignant_probability: has to be a number"),
        ("L1,benign,0.5,SECRET", "more cells, or other fields, than there are columns"),
    ],
)
def test_a_row_that_can_not_be_read_says_why_and_not_its_value(tmp_path: Path, row: str, reason: str) -> None:
    found = read(tmp_path, HEADER, "L0,benign,0.5", row)
    [bad] = found.bad
    assert (bad.line, bad.code) == (3, Code.ROW_INVALID)
    assert bad.reason.startswith(reason)
    assert "SECRET" not in bad.reason
    assert len(found.material.lesions) == 1


def test_where_every_row_is_bad_each_is_told(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER, "L1,B,0.5", "L2,M,0.5")
    assert [(bad.line, bad.reason.partition(":")[0]) for bad in found.bad] == [(2, "pathology"), (3, "pathology")]
    assert (found.material.lesions, found.material.scorers) == ((), ())


def test_a_category_that_is_none_says_which_there_are(tmp_path: Path) -> None:
    [bad] = read(tmp_path, HEADER + ",birads", "L1,benign,0.5,4A", "L2,benign,0.5,4D").bad
    assert bad.reason == "birads: one of 0, 1, 2, 3, 4, 4A, 4B, 4C, 5, 6"


def test_a_lesion_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    found = read(tmp_path, HEADER + ",patient_key", "L1,benign,0.1,P1", "L1,benign,0.2,P2", "L1,malignant,0.3,P1")
    assert [(bad.line, bad.code) for bad in found.bad] == [(4, Code.ROW_REPEATED)]
    assert [one.lesion_id for one in found.material.lesions] == ["P1/L1", "P2/L1"]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (("lesion_id,malignant_probability", "L1,0.5"), "the file has no column pathology"),
        ((HEADER + ",secret", "L1,benign,0.5,x"), "column 4 is none of lesion_id"),
        ((HEADER + ",pathology", "L1,benign,0.5,benign"), "two columns have the same name"),
        (("lesion_id,pathology", "L1,benign"), "no row has a score"),
        (("[1", ""), "the file is not JSON"),
        (('{"rows": []}',), "a JSON list of objects"),
        (("[]",), "no row has a score"),
    ],
)
def test_a_file_that_is_no_table_of_scores_is_refused(tmp_path: Path, lines: tuple[str, ...], reason: str) -> None:
    said = refusal(tmp_path, *lines)
    assert said.startswith(reason)
    assert "secret" not in said


def test_an_entry_that_is_no_object_and_a_field_that_is_no_columns_are_bad_rows(tmp_path: Path) -> None:
    good = {"lesion_id": "L1", "pathology": "benign", "malignant_probability": 0.5}
    found = read(
        tmp_path, json.dumps([good, 7, good | {"lesion_id": "L2", "scores": {"x": 1}}, good | {"name": "Eve"}])
    )
    assert [(bad.line, "Eve" in bad.reason) for bad in found.bad] == [(2, False), (3, False), (4, False)]


def test_a_file_that_is_too_large_or_not_there_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "large.csv").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    for name, reason in (("large.csv", "larger than"), ("none.csv", "does not exist")):
        with pytest.raises(SetupRefused, match="scores_invalid") as refused:
            read_scores(tmp_path / name)
        assert reason in refused.value.reason
