"""One result, printed for people and for programs."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from worker.cli.output import Format, print_rows

ROWS = [
    {"name": "a", "p": 0.123456, "at": datetime(2026, 11, 23, tzinfo=UTC), "notice": "demo", "more": [1]},
    {"name": "[b]", "p": None, "at": None, "notice": "demo", "more": {"x": 1}},
]
COLUMNS = ("name", "p", "at", "notice")


def test_json_has_every_key_at_full_precision(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS, Format.JSON)
    first, second = json.loads(capsys.readouterr().out)
    assert (first["p"], first["more"], first["at"]) == (0.123456, [1], "2026-11-23T00:00:00+00:00")
    assert second["p"] is None


def test_csv_has_the_named_columns(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows(ROWS, COLUMNS, Format.CSV)
    rows = list(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert rows[0] == list(COLUMNS)
    assert rows[1] == ["a", "0.123456", "2026-11-23T00:00:00+00:00", "demo"]
    assert rows[2] == ["[b]", "", "", "demo"]


def test_no_rows_are_an_empty_list_a_header_or_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    for fmt, expected in ((Format.JSON, "[]\n"), (Format.CSV, "name\r\n"), (Format.TABLE, "things: none\n")):
        print_rows([], ["name"], fmt, title="things")
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize(("other", "times"), [("demo", 1), ("another", 1), (None, 1)])
def test_a_notice_is_never_left_out_of_a_table(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, other: str | None, times: int
) -> None:
    print_rows([ROWS[0], ROWS[1] | {"notice": other}], COLUMNS, Format.TABLE)
    shown = capsys.readouterr().out
    assert shown.count("demo") == times
    assert other is None or other in shown
