"""How the commands print: a table for people, JSON or CSV for programs."""

import csv
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console
from rich.table import Table

stdout = Console()
stderr = Console(stderr=True)


class Format(StrEnum):
    """What a command prints."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="table for people, json or csv for programs")]


def print_rows(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], fmt: Format, title: str | None = None
) -> None:
    """Print rows to standard output: the named columns as a table or CSV; JSON has every key."""
    if fmt is Format.JSON:
        print_json(list(rows))
    elif fmt is Format.CSV:
        writer = csv.writer(sys.stdout)
        writer.writerow(columns)
        writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    else:
        table = Table(title=title, title_justify="left")
        for name in columns:
            table.add_column(name.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(_cell(row.get(name)) for name in columns))
        stdout.print(table, markup=False) if rows else stdout.print(f"{title or 'result'}: none", markup=False)


def print_json(value: object) -> None:
    """Print one JSON document to standard output."""
    json.dump(value, sys.stdout, indent=2, default=_plain, ensure_ascii=False)
    sys.stdout.write("\n")


def _plain(value: object) -> object:
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    return str(value)


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.4g}" if abs(value) >= 1 else f"{value:.4f}"
        case datetime():
            return value.isoformat(timespec="seconds")
        case UUID():
            return str(value)
        case dict() | list():
            return json.dumps(value, default=_plain, ensure_ascii=False)
        case _:
            return str(value)
