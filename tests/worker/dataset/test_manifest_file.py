"""Manifests as files: CSV and Parquet say the same, and every bad row is listed with its line."""

import resource
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from tests.worker.dataset.manifests import row
from worker.dataset import manifest_file
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.errors import Code, SetupRefused

HEADER = "image,pathology,patient_key,lesion_id,birads,age_years\n"


def written(folder: Path, content: str | bytes, name: str = "m.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", ["m.csv", "m.parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    rows = [
        row(descriptors={"shape": "oval", "aspect_ratio": 0.5}, site='A, "B"; C'),
        row(lesion_id="007", roi=None, mask="masks/a b.png", age_years=None, birads=None, split="test", fold=2),
        row(lesion_id="3", pathology=None, excluded="no_pathology"),
    ]
    write_manifest(tmp_path / name, rows)
    manifest = read_manifest(tmp_path / name)
    assert list(manifest.rows.values()) == rows
    assert list(manifest.rows) == ([2, 3, 4] if name == "m.csv" else [1, 2, 3])
    assert manifest.root == tmp_path.resolve()
    assert list(manifest.included.values()) == rows[:2]


def test_what_is_written_is_its_owners_alone(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", [row()])
    assert (tmp_path / "m.csv").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["m.csv"]


def test_a_full_disk_leaves_no_part_of_a_manifest(tmp_path: Path) -> None:
    rows = [row(lesion_id=str(number)) for number in range(200)]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As on a full disk, some bytes are written and the next are refused.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(SetupRefused) as refused:
            write_manifest(tmp_path / "m.csv", rows)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert refused.value.code is Code.DATASET_INVALID
    assert list(tmp_path.iterdir()) == []


def test_every_bad_row_is_listed_with_its_line_and_the_others_are_kept(tmp_path: Path) -> None:
    content = (
        HEADER
        + 'a.png,benign,"P\n1",1,3,40\nb.png,benign,P2,1,9,40\n\nc.png,malignant,P3,1,5,-1\n,,,,,\nd.png,,P4,1,,\n'
    )
    manifest = read_manifest(written(tmp_path, content))
    assert [(fault.line, fault.code) for fault in manifest.faults] == [
        (2, Code.ROW_INVALID), (4, Code.ROW_INVALID), (6, Code.ROW_INVALID), (8, Code.ROW_INVALID),
    ]  # fmt: skip
    assert [fault.reason.split(":")[0] for fault in manifest.faults][1:3] == ["birads", "age_years"]
    assert not manifest.rows


def test_a_cell_too_many_is_a_fault(tmp_path: Path) -> None:
    manifest = read_manifest(written(tmp_path, HEADER + "a.png,benign,P1,1,3,40,Mrs Example\n"))
    assert [fault.reason for fault in manifest.faults] == ["more cells than columns"]


def test_excels_csv_is_read(tmp_path: Path) -> None:
    content = "\ufeffImage;Pathology;Patient_Key;Lesion_ID;BIRADS\r\na.png; Benign ;007;1;4a\r\n"
    (read,) = read_manifest(written(tmp_path, content)).rows.values()
    assert (read.patient_key, read.birads, read.pathology) == ("007", "4A", "benign")


def test_columns_at_the_end_that_a_spreadsheet_left_without_a_name_are_passed_over(tmp_path: Path) -> None:
    content = "image;pathology;patient_key;lesion_id;;\na.png;benign;P1;1;;\nb.png;benign;P2;1;;Mrs Example\n"
    read = read_manifest(written(tmp_path, content))
    assert [row.patient_key for row in read.rows.values()] == ["P1"]
    assert [(fault.line, fault.reason) for fault in read.faults] == [(3, "more cells than columns")]


def test_parquet_of_pandas_with_numbers_for_text_and_nan_for_nothing_is_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": ["a.png", "b.png"],
            "pathology": ["benign", "malignant"],
            "patient_key": [7, 8],
            "lesion_id": [1, 1],
            "birads": [3, 5],
            "age_years": [float("nan"), 61.5],
            "roi_x": [None, 1.0], "roi_y": [None, 2.0], "roi_width": [None, 3.0], "roi_height": [None, 4.0],
        }
    )  # fmt: skip
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    one, other = read_manifest(tmp_path / "m.parquet").rows.values()
    assert (one.patient_key, one.birads, one.age_years, one.roi) == ("7", "3", None, None)
    assert (other.age_years, other.roi and other.roi.height) == (61.5, 4)


def test_a_category_that_pandas_made_a_float_beside_an_empty_cell_is_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "image": ["a.png", "b.png"],
            "pathology": ["benign", "malignant"],
            "patient_key": [7.0, 8.0],
            "lesion_id": [1, 1],
            "birads": [3.0, float("nan")],
        }
    )
    pyarrow.parquet.write_table(table, tmp_path / "m.parquet")
    read = read_manifest(tmp_path / "m.parquet")
    assert [(row.patient_key, row.birads) for row in read.rows.values()] == [("7", "3"), ("8", None)]


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a column of its own": (HEADER.replace("birads", "Mrs Example"), "column 5"),
    "no pathology": (HEADER.replace("pathology,", ""), "no column pathology"),
    "a column twice": (HEADER.replace("birads", "image"), "same name"),
    "no rows": (HEADER, "no rows"),
    "nothing": (b"", "no column"),
    "not UTF-8": (b"\xff\xfe\x00", "not UTF-8"),
    "not CSV": (HEADER + 'a.png,"ben', "not CSV"),
}


@pytest.mark.parametrize(("content", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str | bytes, said: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        read_manifest(written(tmp_path, content))
    assert refused.value.code == Code.DATASET_INVALID
    assert said in refused.value.reason
    assert "Example" not in refused.value.reason


def test_what_is_no_parquet_is_refused(tmp_path: Path) -> None:
    for path in (written(tmp_path, HEADER, "m.parquet"), tmp_path / "nowhere.parquet", tmp_path / "nowhere.csv"):
        with pytest.raises(SetupRefused) as refused:
            read_manifest(path)
        assert refused.value.code == Code.DATASET_INVALID


def test_a_manifest_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_file, "MAX_BYTES", 100)
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        read_manifest(written(tmp_path, HEADER + "x" * 100))


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = written(tmp_path, "mine")
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        write_manifest(path, [row()])
    assert path.read_text() == "mine"
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        write_manifest(tmp_path / "nowhere" / "m.csv", [row()])
