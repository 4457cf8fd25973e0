"""``python -m benchmarks.gpu``: what both models, and the service around them, do on this machine's GPU, in 6 minutes.

The parts follow each other, each with a share of the time that is left; one that it does not suffice for is cut off and
says so. Only PyTorch is needed for the models; what else a part needs and is not there, that part says too.

``--simulated`` measures a simulated device in the GPU's place, on any machine: of T(n) = 2 + 0.25 n ms by itself, and
of T(n) = 20 + 40 n ms under the service, since a faster one would wait for two cores. It says whether this program
works, and nothing of a GPU.
"""

import argparse
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.gpu.card import card
from benchmarks.gpu.fault import faults
from benchmarks.gpu.models import lone, memory, rates, scores
from benchmarks.gpu.peers import peers
from benchmarks.gpu.run import CutOff, Row, Run
from benchmarks.gpu.service import feeding
from benchmarks.machine import machine
from benchmarks.measuring import say_on_stderr
from worker.cli.output import Format, print_rows

MOST_SECONDS = 360.0
COLUMNS = ("part", "what", "value", "unit", "goal", "reached")


@dataclass(frozen=True, slots=True)
class Part:
    """What is measured, and the seconds that it has of `MOST_SECONDS`; what it leaves, the later parts have."""

    measure: Callable[[Run], Iterator[Row]]
    share: float


PARTS = {
    "scores": Part(scores, 20),
    "rates": Part(rates, 75),
    "lone": Part(lone, 5),
    "feeding": Part(feeding, 85),
    "memory": Part(memory, 40),
    "faults": Part(faults, 75),
    "peers": Part(peers, 60),
}


def measured(run: Run, only: Sequence[str], ends: float) -> Iterator[Row]:
    """Measure parts, each until its time is over; one that is cut off, or breaks, fails the run."""
    for place, name in enumerate(only):
        now = time.monotonic()
        run.ends = now + (ends - now) * PARTS[name].share / sum(PARTS[later].share for later in only[place:])
        for row in _rows(run, name):
            say_on_stderr(f"{row.part}: {row.what}: {row.as_row()['value']} {row.unit}")
            yield row


def _rows(run: Run, name: str) -> Iterator[Row]:
    has_begun = False
    try:
        run.left()
        for row in PARTS[name].measure(run):
            has_begun = True
            yield row
    except CutOff as cut:
        said = f"cut off: {cut}" if str(cut) else "cut off" if has_begun else "not measured: no time was left"
        yield Row(name, "the rest" if has_begun else "", None, "", passed=False, why=said)
    except (Exception, SystemExit) as broken:  # noqa: BLE001  whatever it is, the other parts are measured
        traceback.print_exc()
        why = f"broken off: {type(broken).__name__}: {str(broken)[:200]}"
        yield Row(name, "the rest" if has_begun else "", None, "", passed=False, why=why)


def main(arguments: Sequence[str] | None = None) -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__, formatter_class=formatter)
    parser.add_argument("--simulated", action="store_true", help="a simulated device in the GPU's place")
    parser.add_argument("--quick", action="store_true", help="small numbers: a minute, and rougher")
    parser.add_argument("--only", nargs="+", choices=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=MOST_SECONDS, help=f"for all parts ({MOST_SECONDS:.0f})")
    parser.add_argument("--format", choices=["table", "json"], default="table")
    parser.add_argument("--out", type=Path, help="write the rows as JSON, anew after each row")
    asked = parser.parse_args(arguments)
    if not asked.simulated and not torch.cuda.is_available():
        parser.error("this machine has no CUDA device; --simulated measures a simulated one")
    ends = time.monotonic() + asked.seconds
    with TemporaryDirectory(prefix="dlr-gpu-") as folder, card(Path(folder), simulated=asked.simulated) as at:
        run, rows = Run(at, 0.2 if asked.quick else 1.0, asked.quick), []
        for row in measured(run, asked.only or list(PARTS), ends):
            rows.append(row)
            said = {"card": at.name, "machine": machine(), "rows": [asdict(row) for row in rows]}
            if asked.out:
                _write(asked.out, said)
    if asked.format == "json":
        sys.stdout.write(json.dumps(said, indent=1) + "\n")
    else:
        title = f"{at.name}; {machine()['summary']}"
        print_rows([row.as_row() for row in rows], COLUMNS, Format.TABLE, title=title)
    return 1 if any(row.passed is False for row in rows) else 0


def _write(path: Path, said: Mapping[str, Any]) -> None:
    written = path.with_suffix(".writing")
    written.write_text(json.dumps(said, indent=1) + "\n")
    written.rename(path)


def as_markdown(said: Mapping[str, Any]) -> str:
    """Write the table for docs/performance.md of what `--out` wrote."""
    of = said["machine"]
    lines = [
        f"{said['card']}; {of['cores']} cores of {of['processor']}; commit {of['commit']}; torch {of['torch']}.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        f"|{' --- |' * len(COLUMNS)}",
    ]
    rows = [Row(**row).as_row() for row in said["rows"]]
    return "\n".join([*lines, *(f"| {' | '.join(str(row[column]) for column in COLUMNS)} |" for row in rows)])


if __name__ == "__main__":
    sys.exit(main())
