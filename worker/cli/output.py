"""How the commands print: a table or cards for people, JSON or CSV for programs."""

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from datetime import date, datetime
from enum import StrEnum
from itertools import takewhile
from pathlib import Path
from typing import Annotated, NamedTuple, TextIO

import typer
from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from worker.cli.standard_output import ESCAPED
from worker.errors import Code, SetupRefused

WIDTH_OF_A_FILE = 180
"""Columns of text, where it is written to no terminal that has a width of its own."""

NARROW = 100
"""Below this width, in columns of text, ids are short and a table that would not fit becomes cards."""

SHORTEST_ID = 8
"""Characters of a short id, at least."""

NOTICE = "notice"
"""The key of a row under which a model says what it is not for."""

STUDY_ID = "study_id"

_ROOM_TO_WRAP = 30
"""Columns of text that a table's longest column needs to be readable."""

_BETWEEN = " · "


def _width(stream: TextIO | None) -> int | None:
    """``None``: the terminal's, or COLUMNS."""
    return None if "COLUMNS" in os.environ or (stream is not None and stream.isatty()) else WIDTH_OF_A_FILE


stdout = Console(width=_width(sys.stdout))
stderr = Console(stderr=True, width=_width(sys.stderr))


class Format(StrEnum):
    """What a command prints."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Report(StrEnum):
    """What a command prints whose answer is more than one table."""

    TABLE = "table"
    JSON = "json"


ReportOption = Annotated[Report, typer.Option("--format", "-f", help="table for people, json for programs")]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="table for people, json or csv for programs")]


class Card(NamedTuple):
    """A row where a table does not fit: values on its first line, and below them other columns with their names."""

    heading: Sequence[str]
    below: Sequence[str]


def print_rows(
    rows: Sequence[Mapping[str, object]],
    columns: Sequence[str],
    fmt: Format,
    title: str | None = None,
    card: Card | None = None,
) -> None:
    """Print rows to standard output: the named columns as a table or CSV; JSON has every key.

    For people, columns that are empty in every row are left out, and a notice that all rows bear is said once, below
    them. On a narrow terminal study ids are short, and a table that does not fit becomes a card for each row.

    Args:
        rows: in their order.
        columns: of a table or of CSV.
        fmt: for people, or for programs.
        title: above a table.
        card: a row on a narrow terminal; without it, the first column is the heading.
    """
    if fmt is Format.JSON:
        print_json(list(rows))
    elif fmt is Format.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([_exact(row.get(name)) for name in columns] for row in rows)
    elif rows:
        _print_for_people(rows, columns, title, card or Card(columns[:1], columns[1:]))
    else:
        stdout.print(f"{title or 'result'}: none", markup=False)


def _print_for_people(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], title: str | None, card: Card
) -> None:
    notices = {row.get(NOTICE) for row in rows}
    caption = str(notices.pop()) if len(notices) == 1 and notices != {None} else None
    filled = {name for row in rows for name, value in row.items() if value not in (None, "")}
    if caption is not None:
        filled.discard(NOTICE)
    narrow = stdout.width < NARROW
    if narrow:
        rows = _with_short_ids(rows)
    table = _table(rows, [name for name in columns if name in filled], title, caption)
    if not narrow or _is_readable(table):
        stdout.print(table, markup=False)
    else:
        _print_cards(rows, card, title, caption, filled)


def _table(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], title: str | None, caption: str | None
) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=box.ASCII if stdout.is_dumb_terminal else box.HEAVY_HEAD,
    )
    for name in columns:
        table.add_column(_label(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in columns))
    return table


def _is_readable(table: Table) -> bool:
    """Whether a table fits, or would if its longest column were wrapped."""
    unlimited = stdout.options.update(width=10_000)
    widths = [
        max(Measurement.get(stdout, unlimited, cell).maximum for cell in (column.header, *column.cells))
        for column in table.columns
    ]
    longest = max(widths)
    borders = 3 * len(widths) + 1
    return borders + sum(widths) - longest + min(longest, _ROOM_TO_WRAP) <= stdout.width


def _print_cards(
    rows: Sequence[Mapping[str, object]], card: Card, title: str | None, caption: str | None, filled: set[str]
) -> None:
    if title is not None:
        stdout.print(Text(title, style="italic"))
    for row in rows:
        told = {name: _cell(row[name]) for name in filled if row.get(name) not in (None, "")}
        heading = [Text(told[name], style="bold") for name in card.heading if name in told]
        below = [Text.assemble((f"{_label(name)} ", "dim"), told[name]) for name in card.below if name in told]
        _print_filled(heading, indent=0)
        _print_filled(below, indent=4)
    if caption is not None:
        stdout.print(Text(caption, style="dim italic"))


def print_entries(entries: Iterable[tuple[str, str]], title: str) -> None:
    """Print names for people, each with a text below it, indented."""
    stdout.print(Text(title, style="italic"))
    for name, text in entries:
        _print_filled([Text(name, style="bold")], indent=0)
        _print_filled([Text(text)], indent=4)


def _print_filled(pieces: Iterable[Text], indent: int) -> None:
    """Print pieces side by side while they fit; one that is longer than a line is wrapped."""
    width = stdout.width - indent
    line = Text()
    for piece in pieces:
        if line and line.cell_len + len(_BETWEEN) + piece.cell_len > width:
            _print_wrapped(line, width, indent)
            line = Text()
        line.append(_BETWEEN if line else "").append_text(piece)
    _print_wrapped(line, width, indent)


def _print_wrapped(line: Text, width: int, indent: int) -> None:
    for part in line.wrap(stdout, width, overflow="fold") if line else ():
        stdout.print(Text(" " * indent).append_text(part), soft_wrap=True)


def _with_short_ids(rows: Sequence[Mapping[str, object]]) -> Sequence[Mapping[str, object]]:
    short = short_ids(str(row[STUDY_ID]) for row in rows if row.get(STUDY_ID) is not None)
    return [{**row, STUDY_ID: short.get(str(row.get(STUDY_ID)))} for row in rows]


def short_ids(ids: Iterable[str]) -> dict[str, str]:
    """Return for each id its shortest beginning that no other of them has, as `worker.reporting.lookup` takes it.

    A number alone could be somebody's accession number: it goes on behind the first dash.
    """
    ordered = sorted(set(ids))
    short = {}
    for before, one, after in zip(["", *ordered], ordered, [*ordered[1:], ""], strict=False):
        length = max(SHORTEST_ID, 1 + max(_alike(one, other) for other in (before, after)))
        ends_badly = one[:length].isdigit() or one[:length].endswith("-")
        short[one] = one[: one.index("-", length - 1) + 2] if ends_badly else one[:length]
    return short


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with that are the same."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _label(name: str) -> str:
    return name.replace("_", " ")


def say(line: str) -> None:
    """Write a line to standard error as it is: nothing in it is markup, and it is not wrapped."""
    stderr.print(line, markup=False, highlight=False, soft_wrap=True)


def print_json(value: object) -> None:
    """Print one JSON document to standard output."""
    json.dump(value, sys.stdout, indent=2, default=_plain, ensure_ascii=False)
    sys.stdout.write("\n")


def print_json_stream(head: Mapping[str, object], name: str, rows: Iterable[object]) -> None:
    """Print one JSON object: ``head``, which is not empty, and under ``name`` a list; one row is held at a time."""
    started = json.dumps(head, indent=2, default=_plain, ensure_ascii=False).removesuffix("\n}")
    sys.stdout.write(f"{started},\n  {json.dumps(name)}: [")
    for place, row in enumerate(rows):
        separator = ",\n    " if place else "\n    "
        sys.stdout.write(separator + json.dumps(row, default=_plain, ensure_ascii=False))
    sys.stdout.write("\n  ]\n}\n")


def _plain(value: object) -> object:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def _cell(value: object) -> str:
    match value:
        case float():
            return f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}"
        case datetime():
            return value.isoformat(timespec="seconds")
        case _:
            return _exact(value)


def _exact(value: object) -> str:
    match value:
        case None:
            return ""
        case dict() | list():
            return json.dumps(value, default=_plain, ensure_ascii=False)
        case _:
            return str(_plain(value))


@contextmanager
def writing_to(output: Path | None) -> Iterator[None]:
    """Write what is printed to a file, in UTF-8; ``None``: print it.

    Raises:
        SetupRefused: ``setting_invalid``: the file cannot be written.
    """
    if output is None:
        yield
        return
    with redirect_stdout(io.StringIO()) as printed:
        yield
    write_file(output, printed.getvalue().encode(errors=ESCAPED))


def write_file(path: Path, content: bytes) -> None:
    """Write a file that its owner alone may read; it appears at once, or not at all.

    Raises:
        SetupRefused: ``setting_invalid``: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path.resolve(), content)
    except OSError as error:
        reason = f"--output: {path} cannot be written ({os.strerror(error.errno or 0)})"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None


def _replace(path: Path, content: bytes) -> None:
    """Write a file. A device or a pipe is written to, and stays."""
    if path.exists() and not path.is_file():
        path.write_bytes(content)
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(temporary).replace(path)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
