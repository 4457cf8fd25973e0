"""``python -m benchmarks``: measure each row, print the table with its goals; exit status 1 if a goal was missed.

Each row runs ours and its peer in turns. Needs the extra ``bench``; a row whose peer is not installed says so. The
rows of the worklist fill a ledger with 10 million studies each, which takes most of the time, and 30 GB of the folder
for temporary files; without them the rows run for about an hour. ``--quick`` makes all small.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import (
    cost,
    database,
    end_to_end,
    endurance,
    images,
    imaging,
    models,
    queueing,
    serving,
    starting,
    worklist,
)
from benchmarks.machine import commit, machine
from benchmarks.measuring import Figure, Say, as_markdown, say_on_stderr
from benchmarks.program import asked_of, tell


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: how it is measured, and what it has to show."""

    measure: Callable[..., Figure]
    goal: str


ROWS = {
    "cost": Row(cost.cost, "<= 2.0 of the irreducible, and <= 0.5 of an earlier commit's"),
    "pipeline": Row(end_to_end.pipeline, ">= 0.95"),
    "roofline": Row(models.roofline, ">= 0.85"),
    "peer": Row(models.peer, ">= 1.0"),
    "batcher": Row(serving.batcher, ">= 0.95, and >= LitServe's at no greater p99"),
    "idle": Row(serving.idle, "<= 1.05, and <= LitServe's"),
    "one-by-one": Row(queueing.one_by_one, ">= 8x"),
    "queue": Row(queueing.queue_overhead, ">= 0.85"),
    "queue-8": Row(queueing.queue_without_spare, ">= 0.7"),
    "images": Row(images.several, ">= 0.95"),
    "decode": Row(imaging.decode, "<= 0.05"),
    "write": Row(database.write, ">= 5x"),
    "worklist": Row(worklist.top, "<= 1.5"),
    "worklist-page": Row(worklist.page, "<= 50 ms"),
    "worklist-filter": Row(worklist.filters, "<= 200 ms, the slowest"),
    "policy-apply": Row(worklist.policy_apply, "<= 600 s for 10 million, nothing else waits 1 s"),
    "memory": Row(endurance.memory, "<= 50 MiB"),
    "start": Row(end_to_end.start, "<= 4 s"),
    "start-up": Row(starting.start_up, "submit <= 2.5, and --help <= 1.0"),
}
COLUMNS = ("row", "what", "goal", "value", "spread", "reached", "ours", "peers", "seconds")


def run(name: str, say: Say, *, quick: bool, **options: str) -> Figure:
    """Measure one row; a row that breaks is a figure too."""
    started, now = time.monotonic(), commit()
    try:
        figure = ROWS[name].measure(lambda line: say(f"{name}: {line}"), quick=quick, **options)
    except (TimeoutError, AssertionError, ImportError) as broken:
        figure = Figure(name, f"broken off: {broken}", None, None, passed=False, ours="", peers="")
    seconds = round(time.monotonic() - started, 1)
    return replace(figure, goal=ROWS[name].goal, seconds=seconds, commit=now, processor=machine()["processor"])


def main(arguments: Sequence[str] | None = None) -> int:
    asked = asked_of(
        "python -m benchmarks",
        __doc__,
        ROWS,
        arguments,
        quick="small numbers: minutes, and rougher",
        out="keep the figures in this JSON file: each row takes its last one's place",
        more=lambda parser: parser.add_argument("--against", metavar="COMMIT", help="of the row cost: its peer"),
    )
    figures: list[Figure] = []
    for name in asked.only or ROWS:
        say_on_stderr(f"{name}: starts")
        options = {"against": asked.against} if name == "cost" and asked.against else {}
        figures.append(run(name, say_on_stderr, quick=asked.quick, **options))
        say_on_stderr(
            f"{name}: {figures[-1].as_row()['value']}, goal {figures[-1].goal}, after {figures[-1].seconds:.0f} s"
        )
        if asked.out:
            _keep(asked.out, figures[-1])
    tell(
        figures,
        asked.format,
        _as_json,
        as_markdown,
        columns=COLUMNS,
        title=machine()["summary"],
    )
    return 1 if any(figure.passed is False for figure in figures) else 0


def _keep(path: Path, figure: Figure) -> None:
    """Put a figure into a file of figures, which are in the order of the rows."""
    kept = [Figure(**one) for one in json.loads(path.read_text())["figures"]] if path.exists() else []
    by_row = {one.row: one for one in (*kept, figure)}
    path.write_text(_as_json([by_row[name] for name in ROWS if name in by_row]))


def _as_json(figures: Sequence[Figure]) -> str:
    return json.dumps({"machine": machine(), "figures": [asdict(figure) for figure in figures]}, indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(main())
