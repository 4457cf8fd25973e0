"""``python -m benchmarks.faults``: do each fault, print the table; exit status 1 if a promise was not kept."""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.faults import bombs, identifiers, mutants, poison, receiver, refusals, servers, workers
from benchmarks.faults.disks import MountingNotAllowed
from benchmarks.faults.service import Say
from benchmarks.faults.table import Figure, as_markdown
from benchmarks.measuring import say_on_stderr
from worker.cli.output import Format, print_rows

ROWS: dict[str, Callable[..., Figure]] = {
    "kill": workers.kill_the_tree,
    "freeze": workers.freeze_and_kill,
    "redis": servers.redis_killed,
    "refusals": refusals.redis_refuses,
    "postgres": servers.postgres_stopped,
    "readonly": servers.postgres_read_only,
    "frozen": servers.server_frozen,
    "storage": receiver.storage_full,
    "poison": poison.poison,
    "mutants": mutants.mutants,
    "bombs": bombs.bombs,
    "rolling": workers.rolling_restarts,
    "identifiers": identifiers.identifiers,
}
COLUMNS = ("fault", "done", "figure", "must_show", "passed", "seconds")


def run(name: str, say: Say, *, quick: bool) -> Figure:
    """Do one row; a row that breaks is a figure too.

    Raises:
        MountingNotAllowed: it can not be done here.
    """
    started = time.monotonic()
    try:
        figure = ROWS[name](lambda line: say(f"{name}: {line}"), quick=quick)
    except (TimeoutError, AssertionError) as broken:
        figure = Figure(name, "", f"broken off: {broken}", "", passed=False)
    return replace(figure, seconds=time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers: minutes instead of hours")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), metavar="ROW", help=f"of {', '.join(ROWS)}")
    parser.add_argument("--format", choices=["table", "json", "markdown"], default="table")
    parser.add_argument("--out", type=Path, help="write the figures to this JSON file, after each row")
    asked = parser.parse_args(arguments)
    # So that what a row has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    figures: list[Figure] = []
    for name in asked.only or ROWS:
        say_on_stderr(f"{name}: starts")
        try:
            figures.append(run(name, say_on_stderr, quick=asked.quick))
        except MountingNotAllowed:
            figures.append(Figure(name, "not done: no disk can be mounted here", "", "", passed=False))
        say_on_stderr(f"{name}: {'kept' if figures[-1].passed else 'NOT KEPT'} after {figures[-1].seconds:.0f} s")
        if asked.out:
            asked.out.write_text(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    if asked.format == "json":
        json.dump([asdict(figure) for figure in figures], sys.stdout, indent=2)
    elif asked.format == "markdown":
        sys.stdout.write(as_markdown(figures))
    else:
        print_rows([figure.as_row() for figure in figures], COLUMNS, Format.TABLE, title="faults")
    return 0 if all(figure.passed for figure in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
