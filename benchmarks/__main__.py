"""``python -m benchmarks``: measure each row, print the table with its goals; exit status 1 if a goal was missed.

Each row runs ours and its peer in turns. Needs the extra ``bench``; a row whose peer is not installed says so. The
rows run for about an hour in all, two of them (``memory``, ``worklist``) for most of it; ``--quick`` makes all small.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks import database, end_to_end, endurance, imaging, models, queueing, serving
from benchmarks.machine import machine
from benchmarks.measuring import Figure, Say, as_markdown
from worker.cli.output import Format, print_rows

ROWS: dict[str, Callable[..., Figure]] = {
    "pipeline": end_to_end.pipeline,
    "roofline": models.roofline,
    "peer": models.peer,
    "batcher": serving.batcher,
    "idle": serving.idle,
    "one-by-one": queueing.one_by_one,
    "queue": queueing.queue_overhead,
    "decode": imaging.decode,
    "write": database.write,
    "worklist": database.worklist,
    "memory": endurance.memory,
    "start": end_to_end.start,
}
COLUMNS = ("row", "what", "goal", "value", "spread", "reached", "ours", "peers", "seconds")


def run(name: str, say: Say, *, quick: bool) -> Figure:
    """Measure one row; a row that breaks is a figure too."""
    started = time.monotonic()
    try:
        figure = ROWS[name](lambda line: say(f"{name}: {line}"), quick=quick)
    except (TimeoutError, AssertionError, ImportError) as broken:
        nothing = float("nan")
        figure = Figure(name, f"broken off: {broken}", "", nothing, (nothing, nothing), passed=False, ours="", peers="")
    return replace(figure, seconds=time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--quick", action="store_true", help="small numbers: minutes, and rougher")
    parser.add_argument("--format", choices=["table", "json", "markdown"], default="table")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file, after each row")
    asked = parser.parse_args(arguments)
    figures: list[Figure] = []
    for name in asked.only or ROWS:
        _say(f"{name}: starts")
        figures.append(run(name, _say, quick=asked.quick))
        _say(f"{name}: {figures[-1].value:.3g}, goal {figures[-1].goal}, after {figures[-1].seconds:.0f} s")
        if asked.out:
            asked.out.write_text(_as_json(figures))
    if asked.format == "json":
        sys.stdout.write(_as_json(figures))
    elif asked.format == "markdown":
        sys.stdout.write(as_markdown(figures))
    else:
        print_rows([figure.as_row() for figure in figures], COLUMNS, Format.TABLE, title=machine()["summary"])
    return 1 if any(figure.passed is False for figure in figures) else 0


def _as_json(figures: Sequence[Figure]) -> str:
    return json.dumps({"machine": machine(), "figures": [asdict(figure) for figure in figures]}, indent=2) + "\n"


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
