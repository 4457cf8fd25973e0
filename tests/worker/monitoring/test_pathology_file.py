"""Files of pathology's results: what is read of them, and what is said of a row that is none."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.test_compose import ROOT
from worker.errors import Code, SetupRefused
from worker.monitoring.imported_rows import RowsRead
from worker.monitoring.pathology_file import PathologyLine, read_pathology
from worker.tables.csv_json import MAX_BYTES

Write = Callable[[str | bytes], Path]

HEADER = "study,lesion_id,result,histology,reported_on\n"
TOMORROW_BUT_TWO = (datetime.now(UTC).date() + timedelta(days=3)).isoformat()


def shown(file: RowsRead[PathologyLine]) -> list[tuple[object, ...]]:
    return [(number, *line.model_dump(mode="json").values()) for number, line in file.lines.items()]


SAME = {
    "csv": HEADER + "1.2.3,L1,malignant,8500/3,2026-03-02\nA7,L 2,benign,,2026-03-03\n",
    "with a byte order mark and Windows' line ends": "\ufeff"
    + (HEADER + "1.2.3,L1,malignant,8500/3,2026-03-02\nA7,L 2,benign,,2026-03-03\n").replace("\n", "\r\n"),
    "with semicolons, spaces and capitals": "Study; lesion_id ;RESULT;histology;reported_on\n"
    "1.2.3; L1; Malignant ; 8500/3;2026-03-02\nA7;L 2;BENIGN;;2026-03-03",
    "in another order, quoted": "reported_on,result,study,lesion_id,histology\n"
    '2026-03-02,malignant,"1.2.3",L1,8500/3\n2026-03-03,benign,A7,"L 2",\n',
}


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_the_same_results_are_read_however_they_are_written(content: str, written: Write) -> None:
    file = read_pathology(written(content))
    assert file.bad == ()
    assert shown(file) == [
        (2, "1.2.3", "L1", "malignant", "2026-03-02", "8500/3"),
        (3, "A7", "L 2", "benign", "2026-03-03", None),
    ]


@pytest.mark.parametrize("whole", [True, False])
def test_json_is_a_list_or_an_object_with_one(whole: bool, written: Write) -> None:
    rows = [{"study": "1.2.3", "lesion_id": "L1", "result": "benign", "reported_on": "2026-03-02"}, "x", {"study": 1}]
    file = read_pathology(written(json.dumps({"results": rows} if whole else rows)))
    assert shown(file) == [(1, "1.2.3", "L1", "benign", "2026-03-02", None)]
    assert [(row.line, row.code) for row in file.bad] == [(2, Code.ROW_INVALID), (3, Code.ROW_INVALID)]


def test_a_line_number_is_the_file_s_also_after_empty_lines_and_quoted_line_ends(written: Write) -> None:
    content = HEADER + '\n  ,\n1.2,"L\n1",benign,,2026-03-02\n1.2,L1,maybe,,2026-03-02\n'
    file = read_pathology(written(content))
    assert [row.line for row in file.bad] == [4, 6]


def test_the_page_s_example_is_a_file_of_results(written: Write) -> None:
    page = (ROOT / "docs" / "safety.md").read_text("utf-8")
    [example] = re.findall(r"^    study,.*\n(?:    .*\n)+", page, re.MULTILINE)
    file = read_pathology(written(example.replace("    ", "")))
    assert (len(file.lines), file.bad) == (2, ())


BAD = [
    # cells, what the reason names
    ("1.2,L1,maybe,,2026-03-02", "result"),
    ("1.2,L1,,,2026-03-02", "result"),
    (",L1,benign,,2026-03-02", "study"),
    ("1.2,,benign,,2026-03-02", "lesion_id"),
    ("1.2,L1,benign,,", "reported_on"),
    ("1.2,L1,benign,,02.03.2026", "reported_on"),
    ("1.2,L1,benign,,2026-02-30", "reported_on"),
    ("1.2,L1,benign,,20260302", "reported_on"),
    (f"1.2,L1,benign,,{TOMORROW_BUT_TWO}", "reported_on"),
    ("1.2,L1,benign,ductal carcinoma of Mary Roe,2026-03-02", "histology"),
    (f"1.2,{'L' * 65},benign,,2026-03-02", "lesion_id"),
    ("1.2,L\x071,benign,,2026-03-02", "lesion_id"),
    ("1.2,L1,benign,,2026-03-02,Mary Roe", "more cells"),
    ("1.2", "lesion_id"),
]


@pytest.mark.parametrize(("cells", "named"), BAD)
def test_a_bad_row_says_which_field_and_never_its_value(cells: str, named: str, written: Write) -> None:
    file = read_pathology(written(f"{HEADER}{cells}\n1.2,L1,benign,,2026-03-02\n"))
    [row] = file.bad
    assert (row.line, row.code, list(file.lines)) == (2, Code.ROW_INVALID, [3])
    assert named in row.reason
    assert not [cell for cell in cells.split(",") if len(cell) > 3 and cell != "benign" and cell in row.reason]


REFUSED = {
    "empty": "",
    "no header": "1.2,L1,benign,,2026-03-02\n",
    "a column that is not known": "study,lesion_id,result,reported_on,patient_name\n",
    "a column twice": "study,lesion_id,result,reported_on,study\n",
    "a column missing": "study,lesion_id,result\n",
    "a quote without an end": HEADER + '"1.2,L1,benign,,2026-03-02\n',
    "not UTF-8": HEADER.encode() + b"1.2,L\xe4sion,benign,,2026-03-02\n",
    "JSON without a list": '{"result": []}',
    "half of JSON": "[{",
    "JSON without a bottom": "[" * 100_000,
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_not_one_is_refused_whole(content: str | bytes, written: Write) -> None:
    with pytest.raises(SetupRefused) as refused:
        read_pathology(written(content))
    assert refused.value.code is Code.PATHOLOGY_INVALID
    assert "1.2" not in refused.value.reason


def test_a_file_that_is_not_there_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused, match="pathology_invalid"):
        read_pathology(tmp_path / "none.csv")
    with (tmp_path / "huge.csv").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(SetupRefused, match="pathology_invalid"):
        read_pathology(tmp_path / "huge.csv")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(content=(HEADER + "1.2,\x00,benign,,2026-03-02\n").encode())
@given(content=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda rest: (HEADER + rest).encode())))
def test_whatever_a_file_holds_it_is_read_or_refused(content: bytes, written: Write) -> None:
    try:
        file = read_pathology(written(content))
    except SetupRefused:
        return
    assert all(line.reported_on <= datetime.now(UTC).date() + timedelta(days=1) for line in file.lines.values())
