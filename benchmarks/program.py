"""What ``benchmarks`` and ``benchmarks.faults`` have in common as programs."""

import argparse
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from worker.cli.output import Format, print_rows


class AsRow(Protocol):
    """A figure that can be told as a row."""

    def as_row(self) -> dict[str, object]: ...


FigureT = TypeVar("FigureT", bound=AsRow)


def asked_of(
    prog: str,
    description: str | None,
    rows: Collection[str],
    arguments: Sequence[str] | None,
    *,
    quick: str,
    out: str,
    more: Callable[[argparse.ArgumentParser], object] = lambda _parser: None,
) -> argparse.Namespace:
    """Read which rows are to be done (``only``, ``quick``) and how they are told (``format``, ``out``).

    A program that is told to end then ends what its rows have started. ``more`` adds what one program alone asks.
    """
    parser = argparse.ArgumentParser(prog=prog, description=description)
    parser.add_argument("--only", nargs="+", choices=list(rows), metavar="ROW", help=f"of {', '.join(rows)}")
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--format", choices=["table", "json", "markdown"], default="table")
    parser.add_argument("--out", type=Path, help=out)
    more(parser)
    asked = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    return asked


def tell(
    figures: Sequence[FigureT],
    fmt: str,
    as_json: Callable[[Sequence[FigureT]], str],
    as_markdown: Callable[[Sequence[FigureT]], str],
    *,
    columns: Sequence[str],
    title: str,
) -> None:
    """Print figures as was asked."""
    match fmt:
        case "json":
            sys.stdout.write(as_json(figures))
        case "markdown":
            sys.stdout.write(as_markdown(figures))
        case _:
            print_rows([figure.as_row() for figure in figures], columns, Format.TABLE, title=title)
