"""A file of rows: what is a row, which line it is on, and what is refused."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from worker.errors import Code, SetupRefused
from worker.tables.csv_json import TOO_MANY_CELLS, read_rows


def needs_a(names: Sequence[str]) -> str | None:
    return None if "a" in names else "no column a"


def read(folder: Path, content: str | bytes) -> list[tuple[int, object]]:
    path = folder / "rows"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_rows(path, Code.SCORES_INVALID, "rows", needs_a))


@pytest.mark.parametrize(
    ("content", "rows"),
    [
        ("a,b\n1,2\n\n3,\n", [(2, {"a": "1", "b": "2"}), (4, {"a": "3"})]),
        ("\ufeffA ; b\n 1;2,5\n", [(2, {"a": "1", "b": "2,5"})]),
        ('a,b\n"1\n1",2\n3,4\n', [(2, {"a": "1\n1", "b": "2"}), (4, {"a": "3", "b": "4"})]),
        ("a\n1,2\n", [(2, {"a": "1", TOO_MANY_CELLS: None})]),
        ("a;b;;\n1;2;;\n3;;;4\n", [(2, {"a": "1", "b": "2"}), (3, {"a": "3", TOO_MANY_CELLS: None})]),
        ("a\n1,\n", [(2, {"a": "1"})]),
        ('[{"a": 1}, 2]', [(1, {"a": 1}), (2, 2)]),
        (' {"rows": [{"a": 1}]}', [(1, {"a": 1})]),
    ],
)
def test_rows_with_their_lines(tmp_path: Path, content: str, rows: list[tuple[int, object]]) -> None:
    assert read(tmp_path, content) == rows


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("b\n1\n", "no column a"),
        ("a,A\n1,2\n", "two columns have the same name"),
        ("", "no column a"),
        ('a\n"1\n', "line 2: not CSV"),
        ("[1,", "the file is not JSON"),
        ("[" * 100_000, "the file is not JSON"),
        ('{"rows": {}}', "a JSON list of objects"),
        ('{"rows": [], "more": 1}', "a JSON list of objects"),
        (b"a\n\xff\n", "the file is not UTF-8"),
    ],
)
def test_what_holds_no_rows_is_refused_with_the_code_that_was_given(
    tmp_path: Path, content: str | bytes, reason: str
) -> None:
    with pytest.raises(SetupRefused) as refused:
        read(tmp_path, content)
    assert refused.value.code is Code.SCORES_INVALID
    assert refused.value.reason.startswith(reason)
