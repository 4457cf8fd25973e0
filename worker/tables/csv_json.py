"""A file of rows, CSV or JSON: each a line and its cells by their columns. What a cell means is for others to say."""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from worker.errors import Code, SetupRefused

MAX_BYTES = 64 << 20

TOO_MANY_CELLS = "more cells than columns"
"""The name of a cell that has no column."""


def read_rows(
    path: Path, code: Code, key: str, header_fault: Callable[[Sequence[str]], str | None]
) -> Iterator[tuple[int, Any]]:
    """Read a file of rows: JSON where it starts with a bracket, else CSV with commas or semicolons.

    Args:
        path: UTF-8, 64 MiB at most.
        code: of what is refused.
        key: under which a JSON object has the list of rows.
        header_fault: says what is wrong with CSV's column names, in lower case; ``None`` where nothing is.

    Returns:
        Each row with its line, from 1: a line of CSV, an entry of JSON. Empty lines and cells are left out; so are
        columns at the end without a name, which spreadsheets leave, unless something is in them.

    Raises:
        SetupRefused: with the code: it is not there, too large, neither, or has other columns.
    """
    text = _text(path, code)
    return _json_rows(text, code, key) if text.lstrip()[:1] in ("[", "{") else csv_rows(text, code, header_fault)


def _text(path: Path, code: Code) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        raise SetupRefused(code, "the file does not exist or cannot be read") from None
    if len(content) > MAX_BYTES:
        raise SetupRefused(code, f"the file is larger than {MAX_BYTES} bytes: split it")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SetupRefused(code, "the file is not UTF-8") from None


def _json_rows(text: str, code: Code, key: str) -> Iterator[tuple[int, Any]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise SetupRefused(code, "the file is not JSON") from None
    rows = content.get(key) if isinstance(content, dict) and set(content) == {key} else content
    if not isinstance(rows, list):
        raise SetupRefused(code, f'a JSON list of objects, or {{"{key}": [...]}}, is expected')
    return enumerate(rows, start=1)


def csv_rows(
    text: str, code: Code, header_fault: Callable[[Sequence[str]], str | None]
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """Read the text of a CSV file as `read_rows` does."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text.split("\n", 1)[0]), strict=True)
    try:
        names = _names(next(reader, []))
        fault = "two columns have the same name" if len(set(names)) != len(names) else header_fault(names)
        if fault is not None:
            raise SetupRefused(code, fault)
        before = reader.line_num
        for cells in reader:
            line, before = before + 1, reader.line_num
            if any(cell.strip() for cell in cells):
                yield line, _cells(names, cells)
    except csv.Error:
        raise SetupRefused(code, f"line {reader.line_num}: not CSV") from None


def delimiter_of(heading: str) -> str:
    """Return what parts the cells of a CSV file, by its first line: a semicolon where it has one, else a comma."""
    return ";" if ";" in heading else ","


def _names(heading: Sequence[str]) -> list[str]:
    names = [name.strip().lower() for name in heading]
    while names and not names[-1]:
        names.pop()
    return names


def _cells(names: list[str], cells: list[str]) -> dict[str, str | None]:
    """A row by its columns; a cell too many has no name, and one that is empty or missing is as if not there."""
    filled = {name: cell.strip() for name, cell in zip(names, cells, strict=False) if cell.strip()}
    return filled | ({TOO_MANY_CELLS: None} if any(cell.strip() for cell in cells[len(names) :]) else {})
