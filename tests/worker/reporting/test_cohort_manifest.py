"""Manifests of a cohort: what is read of them, and what is said of a line that is none."""

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.test_compose import ROOT
from worker.clinical.descriptors import MEASURES
from worker.errors import Code, SetupRefused
from worker.reporting.cohort import AGE, FEATURES, CohortLesion
from worker.reporting.cohort_manifest import MAX_BYTES, CohortManifest, read_cohort

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


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda rest: (HEADER + rest).encode())))
def test_whatever_a_file_holds_it_is_read_or_refused(content: bytes, tmp_path: Path) -> None:
    try:
        manifest = read_cohort(written(tmp_path, content))
    except SetupRefused:
        return
    for lesion in lesions(manifest):
        assert all(isinstance(lesion.features[name], float) for name in (AGE, *MEASURES) if name in lesion.features)
