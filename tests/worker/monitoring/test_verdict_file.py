"""Files of radiologists' verdicts: what is read of them, and what is said of a row that is none."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_compose import ROOT
from worker.errors import Code, SetupRefused
from worker.monitoring.imported_rows import RowsRead
from worker.monitoring.verdict_file import VerdictLine, read_verdicts

Write = Callable[[str | bytes], Path]

HEADER = "study,revision,lesion_id,final_birads,reader,read_at,lh_version,bm_version,agrees,remark\n"
ROWS = [
    {"study": "1.2.3", "revision": 1, "lesion_id": "L1", "final_birads": "4B", "reader": "Dr. B", "agrees": False,
     "read_at": "2026-03-02T08:00:00Z", "lh_version": "1.0", "bm_version": "1.1", "remark": "a remark"},
    {"study": "A7", "revision": 2, "lesion_id": "L 2", "final_birads": "4", "reader": "Dr. B",
     "read_at": "2026-03-02T09:00:00+01:00"},
]  # fmt: skip
SAME = {
    "csv": HEADER + "1.2.3,1,L1,4b,Dr. B,2026-03-02T08:00:00Z,1.0,1.1,no,a remark\n"
    "A7,2,L 2,4,Dr. B,2026-03-02T09:00:00+01:00,,,,\n",
    "semicolons, without empty columns": HEADER.replace(",", ";")
    + "1.2.3;1;L1;4B;Dr. B;2026-03-02T08:00:00Z;1.0;1.1;FALSE;a remark\nA7;2;L 2;4;Dr. B;2026-03-02T08:00:00Z\n",
    "json": json.dumps(ROWS),
    "json, an object": json.dumps({"verdicts": ROWS}),
}
LATER = "2126-03-02T08:00:00Z"


def shown(file: RowsRead[VerdictLine]) -> list[dict[str, object]]:
    return [line.model_dump(mode="json", exclude_none=True) for line in file.lines.values()]


@pytest.mark.parametrize("content", SAME.values(), ids=SAME)
def test_the_same_verdicts_are_read_however_they_are_written(content: str, written: Write) -> None:
    file = read_verdicts(written(content))
    assert file.bad == ()
    assert shown(file) == [ROWS[0], ROWS[1] | {"read_at": "2026-03-02T08:00:00Z"}]


def test_the_page_s_example_is_a_file_of_verdicts(written: Write) -> None:
    page = (ROOT / "docs" / "integrator.md").read_text("utf-8")
    [example] = re.findall(r"^    study,revision.*\n(?:    .*\n)+", page, re.MULTILINE)
    file = read_verdicts(written(example.replace("    ", "")))
    assert (len(file.lines), file.bad) == (2, ())


BAD = [
    # cells, what the reason names
    ("1.2,1,L1,4D,B,2026-03-02T08:00:00Z,,,,", "final_birads"),
    ("1.2,1,L1,>4A,B,2026-03-02T08:00:00Z,,,,", "final_birads"),
    ("1.2,1,L1,,B,2026-03-02T08:00:00Z,,,,", "final_birads"),
    ("1.2,0,L1,3,B,2026-03-02T08:00:00Z,,,,", "revision"),
    ("1.2,,L1,3,B,2026-03-02T08:00:00Z,,,,", "revision"),
    ("1.2,1,L1,3,,2026-03-02T08:00:00Z,,,,", "reader"),
    ("1.2,1,L1,3,B,,,,,", "read_at"),
    ("1.2,1,L1,3,B,2026-03-02T08:00:00,,,,", "read_at"),
    ("1.2,1,L1,3,B,2026-03-02,,,,", "read_at"),
    (f"1.2,1,L1,3,B,{LATER},,,,", "read_at"),
    ("1.2,1,L1,3,B,2026-03-02T08:00:00Z,,,maybe,", "agrees"),
    (f"1.2,1,L1,3,B,2026-03-02T08:00:00Z,,,,{'r' * 501}", "remark"),
    (",1,L1,3,B,2026-03-02T08:00:00Z,,,,", "study"),
    ("1.2,1,,3,B,2026-03-02T08:00:00Z,,,,", "lesion_id"),
]


@pytest.mark.parametrize(("cells", "column"), BAD)
def test_a_bad_row_says_which_field_and_never_its_value(cells: str, column: str, written: Write) -> None:
    file = read_verdicts(written(HEADER + cells + "\n"))
    assert not file.lines
    [bad] = file.bad
    assert (bad.line, bad.code, bad.reason.split(":")[0]) == (2, Code.ROW_INVALID, column)
    assert "maybe" not in bad.reason
    assert "rrr" not in bad.reason


@pytest.mark.parametrize(
    "content", ["", "study,lesion_id\n", HEADER.replace("remark", "comment"), "{", '{"results": []}', b"\xff\xfe"]
)
def test_a_file_that_is_none_is_refused_as_a_whole(content: str | bytes, written: Write) -> None:
    with pytest.raises(SetupRefused) as raised:
        read_verdicts(written(content))
    assert raised.value.code is Code.VERDICT_INVALID
