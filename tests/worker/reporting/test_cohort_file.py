"""Manifests of a cohort: what is read of them, and what is said of a line that is none."""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from tests.test_compose import ROOT
from worker.clinical.descriptors import MEASURES
from worker.errors import Code, SetupRefused
from worker.reporting.cohort_file import CohortManifest, read_cohort
from worker.reporting.cohort_table import AGE, FEATURES, CohortLesion
from worker.tables.csv_json import MAX_BYTES

HEADER = "pathology,lesion_id,patient_key,birads,age_years,shape,aspect_ratio\n"
ROWS = "malignant,L1,p1,4A,52.5,irregular,0.9\nbenign,L1,p2,,,,\n"
READ = [CohortLesion(True, "p1", {"shape": "irregular", "aspect_ratio": 0.9, AGE: 52.5}), CohortLesion(False, "p2", {})]


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "cohort.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lesions(manifest: CohortManifest) -> list[CohortLesion]:
    return [line.lesion() for line in manifest.lines.values()]


SAME = {
    "csv": HEADER + ROWS,
    "semicolons, a byte order mark and Windows' line ends": "\ufeff"
    + (HEADER + ROWS).replace(",", ";").replace("\n", "\r\n"),
    "capitals, spaces and empty lines": HEADER.upper() + "\n" + ROWS.replace(",", " , ").replace("benign", "BENIGN"),
    "a category in small letters, and one without its letter": HEADER + ROWS.replace("4A", "4a").replace("p2,", "p2,4"),
    "other columns too": HEADER.replace("\n", ",image\n") + ROWS.replace("\n", ",a.png\n"),
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_the_same_lesions_are_read_however_they_are_written(content: str, tmp_path: Path) -> None:
    manifest = read_cohort(written(tmp_path, content))
    assert (lesions(manifest), manifest.bad) == (READ, ())
    assert manifest.absent == tuple(name for name in FEATURES if name not in (AGE, "shape", "aspect_ratio"))
    assert manifest.unread == ("image" in content)


TYPED: list[dict[str, object]] = [
    {"Pathology": "malignant", "lesion_id": 1, "patient_key": 7.0, "birads": "4A", "age_years": 52.5,
     "shape": "irregular", "aspect_ratio": 0.9},
    {"Pathology": "Benign", "lesion_id": 1, "patient_key": 8.0, "birads": None, "age_years": float("nan"),
     "shape": "", "aspect_ratio": None},
]  # fmt: skip
"""As pandas has them: numbers for names, a whole one as a float where another cell is empty, and NaN for nothing."""


def as_parquet(tmp_path: Path, rows: Sequence[dict[str, object]]) -> Path:
    path = tmp_path / "cohort.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return path


def as_json(tmp_path: Path, rows: Sequence[dict[str, object]]) -> Path:
    known = [{name: cell for name, cell in row.items() if cell == cell} for row in rows]
    return written(tmp_path, json.dumps({"lesions": known}))


@pytest.mark.parametrize("write", [as_parquet, as_json])
def test_the_same_lesions_are_read_of_a_file_with_types(write: Callable[..., Path], tmp_path: Path) -> None:
    manifest = read_cohort(write(tmp_path, TYPED))
    assert [(one.malignant, one.features) for one in lesions(manifest)] == [
        (one.malignant, one.features) for one in READ
    ]
    assert ([one.cluster for one in lesions(manifest)], manifest.bad) == (["7", "8"], ())


def test_each_bad_row_of_parquet_is_told_with_its_number(tmp_path: Path) -> None:
    bad = [{**TYPED[0], "birads": "4D"}, TYPED[1], {**TYPED[1], "lesion_id": 2, "aspect_ratio": -1.0}]
    manifest = read_cohort(as_parquet(tmp_path, bad))
    assert [(line.line, line.reason.partition(" ")[0]) for line in manifest.bad] == [
        (1, "birads:"),
        (3, "aspect_ratio"),
    ]


def test_what_is_no_parquet_or_lacks_a_column_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_text(HEADER + ROWS)
    lacks = as_parquet(tmp_path, [{name: cell for name, cell in TYPED[0].items() if name != "patient_key"}])
    for path, said in (
        (tmp_path / "text.parquet", "not Parquet"),
        (lacks, "patient_key"),
        (tmp_path / "no.parquet", "does not exist"),
    ):
        with pytest.raises(SetupRefused) as refused:
            read_cohort(path)
        assert (refused.value.code, said in refused.value.reason) == (Code.DATASET_INVALID, True)


@pytest.mark.parametrize("rows", ["[1]", '["benign"]', "[null]", '[{"pathology": ["benign"]}]', '[{"birads": {}}]'])
def test_a_row_of_json_that_is_no_lesion_is_bad(rows: str, tmp_path: Path) -> None:
    [bad] = read_cohort(written(tmp_path, rows)).bad
    assert (bad.line, bad.code, "lesion_id" in bad.reason) == (1, Code.ROW_INVALID, True)


def test_the_pages_example_is_a_manifest(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "research.md").read_text("utf-8")
    [example] = re.findall(r"^    pathology,.*\n(?:    .*\n)+", page, re.MULTILINE)
    manifest = read_cohort(written(tmp_path, example.replace("    ", "")))
    assert (len(manifest.lines), manifest.bad, manifest.unread) == (3, (), 0)


BAD = [
    # cells, what the reason names
    ("perhaps,L1,p1,4A,52,oval,0.5", "pathology"),
    (",L1,p1,4A,52,oval,0.5", "pathology"),
    ("benign,,p1,4A,52,oval,0.5", "lesion_id"),
    ("benign,L1,,4A,52,oval,0.5", "patient_key"),
    (f"benign,L1,{'p' * 65},4A,52,oval,0.5", "patient_key"),
    ("benign,L1,p1,4D,52,oval,0.5", "birads"),
    ("benign,L1,p1,4A,121,oval,0.5", "age_years"),
    ("benign,L1,p1,4A,-1,oval,0.5", "age_years"),
    ("benign,L1,p1,4A,nan,oval,0.5", "age_years"),
    ("benign,L1,p1,4A,052Y,oval,0.5", "age_years"),
    ("benign,L1,p1,4A,52,lobular,0.5", "shape is one of"),
    ("benign,L1,p1,4A,52,Oval,0.5", "shape is one of"),
    ("benign,L1,p1,4A,52,oval,-0.5", "aspect_ratio"),
    ("benign,L1,p1,4A,52,oval,nan", "aspect_ratio"),
    ("benign,L1,p1,4A,52,oval,inf", "aspect_ratio"),
    ('benign,L1,p1,4A,52,oval,"0,5"', "aspect_ratio"),
    ("benign,L1,p1,4A,52,oval,n/a", "aspect_ratio"),
    ("benign,L1,p1,4A,52,oval,0.5,Mary Roe", "more cells"),
    ("benign", "lesion_id"),
]


@pytest.mark.parametrize(("cells", "named"), BAD)
def test_a_bad_line_says_which_column_and_never_its_value(cells: str, named: str, tmp_path: Path) -> None:
    manifest = read_cohort(written(tmp_path, f"{HEADER}{cells}\nbenign,L1,p9,4A,52,oval,0.5\n"))
    [bad] = manifest.bad
    assert (bad.line, bad.code, list(manifest.lines)) == (2, Code.ROW_INVALID, [3])
    assert named in bad.reason
    assert not [word for word in ("perhaps", "4D", "052Y", "lobular", "n/a", "Mary", "ppp") if word in bad.reason]


def test_each_bad_line_is_told_with_its_number(tmp_path: Path) -> None:
    content = HEADER + '\nbenign,"L\n1",p1,4A,,,\nbenign,L1,p1,4A,x,,\nbenign,L1,p1,4A,,oval,\nmalignant,L1,p1,4A,,,\n'
    manifest = read_cohort(written(tmp_path, content))
    assert [(bad.line, bad.code) for bad in manifest.bad] == [
        (3, Code.ROW_INVALID), (5, Code.ROW_INVALID), (7, Code.LABEL_CONTRADICTORY),
    ]  # fmt: skip
    assert list(manifest.lines) == [6]


def test_a_lesion_with_a_line_for_each_image_counts_once(tmp_path: Path) -> None:
    header, row = HEADER.replace("\n", ",image\n"), "benign,L1,p1,4A,52,oval,0.5"
    manifest = read_cohort(written(tmp_path, f"{header}{row},a.png\n{row},b.png\n{row.replace('L1', 'L2')},a.png\n"))
    assert (list(manifest.lines), manifest.repeated, manifest.bad) == ([2, 4], 1, ())


def test_an_excluded_line_is_counted_and_not_looked_at(tmp_path: Path) -> None:
    header, row = HEADER.replace("\n", ",excluded\n"), "benign,L1,p1,4A,52,oval,0.5"
    manifest = read_cohort(written(tmp_path, f"{header}{row},\n{row.replace('oval', 'x')},no_pathology\n"))
    assert (list(manifest.lines), manifest.excluded, manifest.bad, manifest.unread) == ([2], 1, (), 0)


def test_lesions_of_different_patients_may_have_one_name(tmp_path: Path) -> None:
    manifest = read_cohort(written(tmp_path, HEADER + "benign,L1,p1,,,,\nbenign,L1,p2,,,,\nbenign,L2,p1,,,,\n"))
    assert (len(manifest.lines), manifest.bad) == (3, ())


REFUSED = {
    "empty": "",
    "no lesion": HEADER,
    "no header": ROWS,
    "a column that is needed is missing": "pathology,lesion_id,shape\nbenign,L1,oval\n",
    "a column twice": HEADER.replace("shape", "birads") + ROWS,
    "a quote without an end": HEADER + '"benign,L1,p1\n',
    "not UTF-8": HEADER.encode() + b"benign,L1,p\xe4\n",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_not_one_is_refused_whole(content: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        read_cohort(written(tmp_path, content))
    assert refused.value.code is Code.DATASET_INVALID
    assert "p1" not in refused.value.reason


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        read_cohort(tmp_path / "none.csv")
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        read_cohort(tmp_path / "huge.csv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda rest: (HEADER + rest).encode())))
def test_whatever_a_file_holds_it_is_read_or_refused(content: bytes, tmp_path: Path) -> None:
    try:
        manifest = read_cohort(written(tmp_path, content))
    except SetupRefused:
        return
    for lesion in lesions(manifest):
        assert all(isinstance(lesion.features[name], float) for name in (AGE, *MEASURES) if name in lesion.features)
