"""One result, printed for people and for programs."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest

from worker.cli import output
from worker.cli.output import Card, Format, print_rows, short_ids

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


WIDE = [
    {"study_id": "a1b2c3d4-0000-4000-8000-000000000001", "state": "failed", "why": "word " * 30, "at": ROWS[0]["at"]},
    {"study_id": "12345678-0000-4000-8000-000000000002", "state": "done", "why": "", "at": ROWS[0]["at"]},
]
WIDE_COLUMNS = ("study_id", "state", "why", "at")


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output.stdout, "_width", 80)


@pytest.mark.usefixtures("narrow")
def test_on_a_narrow_terminal_a_table_that_does_not_fit_is_a_card_for_each_row(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = [row | {"also": "x" * 20} for row in WIDE]
    print_rows(
        rows, (*WIDE_COLUMNS, "also"), Format.TABLE, "studies", Card(("study_id", "state"), ("why", "at", "also"))
    )
    title, first, *lines = capsys.readouterr().out.splitlines()
    assert (title, first) == ("studies", "a1b2c3d4 · failed")
    assert lines[0].startswith("    why word word")
    assert lines[-2:] == ["12345678-0 · done", "    at 2026-11-23T00:00:00+00:00 · also xxxxxxxxxxxxxxxxxxxx"]
    assert max(map(len, lines)) <= 80


@pytest.mark.usefixtures("narrow")
def test_a_table_that_fits_stays_one_and_so_does_one_whose_longest_column_can_be_wrapped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_rows([{"line": 1, "code": "row_invalid", "reason": "word " * 30}], ("line", "code", "reason"), Format.TABLE)
    printed = capsys.readouterr().out
    assert "┃ line ┃ code" in printed
    assert max(map(len, printed.splitlines())) <= 80


@pytest.mark.usefixtures("narrow")
@pytest.mark.parametrize("fmt", [Format.JSON, Format.CSV])
def test_what_programs_read_does_not_depend_on_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, fmt: Format
) -> None:
    print_rows(WIDE, WIDE_COLUMNS, fmt)
    narrow = capsys.readouterr().out
    monkeypatch.setattr(output.stdout, "_width", 180)
    print_rows(WIDE, WIDE_COLUMNS, fmt)
    assert capsys.readouterr().out == narrow
    assert str(WIDE[0]["study_id"]) in narrow


@pytest.mark.usefixtures("narrow")
def test_a_notice_of_all_rows_is_said_once_below_their_cards(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows([row | {"notice": "demo"} for row in WIDE], (*WIDE_COLUMNS, "notice"), Format.TABLE)
    printed = capsys.readouterr().out
    assert printed.count("demo") == 1
    assert printed.endswith("demo\n")


@pytest.mark.parametrize(
    ("ids", "short"),
    [
        (["a1b2c3d4-0000"], ["a1b2c3d4"]),
        (["a1b2c3d4-0000", "a1b2c3d4-1000"], ["a1b2c3d4-0", "a1b2c3d4-1"]),
        (["a1b2c3d4-0000", "a1b2c3d4-0100"], ["a1b2c3d4-00", "a1b2c3d4-01"]),
        (["12345678-9000"], ["12345678-9"]),
        (["a1b2c3d4-0000", "a1b2c3d4-0000"], ["a1b2c3d4", "a1b2c3d4"]),
    ],
)
def test_a_short_id_is_as_long_as_it_has_to_be(ids: list[str], short: list[str]) -> None:
    assert [short_ids(ids)[one] for one in ids] == short
