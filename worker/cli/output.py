"""How the commands print: a table for people, JSON or CSV for programs."""

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
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.standard_output import ESCAPED
from worker.errors import Code, SetupRefused

WIDTH_OF_A_FILE = 180
"""Columns of text, where it is written to no terminal that has a width of its own."""

NOTICE = "notice"
"""The key of a row under which a model says what it is not for."""


def _width(stream: TextIO | None) -> int | None:
    return None if stream is not None and stream.isatty() else WIDTH_OF_A_FILE


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


def print_rows(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], fmt: Format, title: str | None = None
) -> None:
    """Print rows to standard output: the named columns as a table or CSV; JSON has every key.

    A table leaves out columns that are empty in every row, and whose rows all bear one notice has it as its caption
    instead of a column.
    """
    if fmt is Format.JSON:
        print_json(list(rows))
    elif fmt is Format.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([_exact(row.get(name)) for name in columns] for row in rows)
    elif rows:
        stdout.print(_table(rows, columns, title), markup=False)
    else:
        stdout.print(f"{title or 'result'}: none", markup=False)


def _table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], title: str | None) -> Table:
    notices = {row.get(NOTICE) for row in rows}
    caption = str(notices.pop()) if len(notices) == 1 and notices != {None} else None
    filled = [name for name in columns if any(row.get(name) not in (None, "") for row in rows)]
    shown = [name for name in filled if caption is None or name != NOTICE]
    table = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for name in shown:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in shown))
    return table


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
        SetupRefused: ``setting_invalid``: the file can not be written.
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
        SetupRefused: ``setting_invalid``: it can not be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path.resolve(), content)
    except OSError as error:
        reason = f"--output: {path} can not be written ({os.strerror(error.errno or 0)})"
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
