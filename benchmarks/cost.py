"""What a study costs of the processor, part by part, against what it costs at the least, and an earlier commit's cost.

Processor time and not seconds, of every process concerned, PostgreSQL and Redis included: neither waits nor the
machine's other programs are counted, though what shares a core's caches still slows it. So each commit, and what a
study costs at the least, is measured in turns in one run.
"""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults.service import ROOT
from benchmarks.measuring import Figure, Ratio, Say

CASES = (("JPEG", 2), ("JPEG", 1), ("native", 2), ("native", 1))
_MAIN = CASES[0]
MOST_OF_IRREDUCIBLE, MOST_OF_EARLIER = 2.0, 0.5
STUDIES, ROUNDS = 400, 5
_COPIED = ("cost_side.py", "cost_worker.py")
_PATIENCE_S = 30

Parts = Mapping[str, float]
Ask = Callable[..., Parts]
"""Asks one commit's service for a case; answers with seconds a study, by part."""


def cost(say: Say, *, quick: bool, against: str | None = None) -> Figure:
    """Core-milliseconds a study by part, for one and two lesions, on native and on JPEG frames.

    Args:
        say: is told of each round.
        quick: few studies, once.
        against: a commit, whose cost is measured in turns with this one's.
    """
    count, rounds = (24, 1) if quick else (STUDIES, ROUNDS)
    with ExitStack() as stack:
        sides = {"ours": stack.enter_context(_side(ROOT))}
        if against is not None:
            sides["earlier"] = stack.enter_context(_side(stack.enter_context(_checkout(against))))
        for ask in sides.values():
            ask(kind=_MAIN[0], lesions=_MAIN[1], count=count // 2)
        measured: dict[str, dict[tuple[str, int], list[Parts]]] = {
            name: {case: [] for case in CASES} for name in (*sides, "least")
        }
        for number in range(rounds):
            for kind, lesions in CASES:
                for name, ask in sides.items():
                    measured[name][kind, lesions].append(ask(kind=kind, lesions=lesions, count=count))
                least = sides["ours"](kind=kind, lesions=lesions, irreducible=True)
                measured["least"][kind, lesions].append(least)
            say(
                f"round {number + 1}: "
                + ", ".join(f"{name} {_ms(of[_MAIN][-1]):.2f} ms" for name, of in measured.items())
            )
    totals = {name: [sum(parts.values()) for parts in of[_MAIN]] for name, of in measured.items()}
    of_least = Ratio(totals["ours"], totals["least"])
    of_earlier = Ratio(totals["ours"], totals["earlier"]) if against is not None else None
    value = of_earlier or of_least
    passed = of_least.median <= MOST_OF_IRREDUCIBLE and (of_earlier is None or of_earlier.median <= MOST_OF_EARLIER)
    table = {
        name: {f"{kind}, {lesions}": _medians(of[kind, lesions]) for kind, lesions in CASES}
        for name, of in measured.items()
    }
    for line in cost_table(table).splitlines():
        say(line)
    earlier = "" if of_earlier is None else f"commit {against}: {1e3 * statistics.median(totals['earlier']):.2f} ms; "
    return Figure(
        "cost",
        "core-milliseconds a study of two lesions on a JPEG frame, from its job in Redis to its rows / "
        + (f"commit {against}'s" if against is not None else "the irreducible: decoded, cropped, copied, popped"),
        value.median,
        value.spread,
        passed,
        f"{1e3 * statistics.median(totals['ours']):.2f} ms; {of_least.median:.1f} times the irreducible",
        f"{earlier}irreducible {1e3 * statistics.median(totals['least']):.2f} ms",
        {"milliseconds": table, "against": against, "of_the_irreducible": round(of_least.median, 3)},
    )


def cost_table(milliseconds: Mapping[str, Mapping[str, Parts]]) -> str:
    """Write the parts as a table in Markdown: ours in each case, and of an earlier commit's the first."""
    ours, least = milliseconds["ours"], milliseconds["least"]
    main = next(iter(ours))
    columns = {f"{case} lesion{'s' if case.endswith('2') else ''}": parts for case, parts in ours.items()}
    if "earlier" in milliseconds:
        columns[f"earlier: {main} lesions"] = milliseconds["earlier"][main]
    of_least = [*least.values(), *[{}] * (len(columns) - len(least))]
    lines = [["part", *columns], ["---"] * (1 + len(columns))]
    lines += _lines(list(columns.values()), "", "**in all**")
    lines += _lines(of_least, "irreducible: ", "**irreducible**")
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _lines(columns: Sequence[Parts], prefix: str, in_all: str) -> list[list[str]]:
    parts = dict.fromkeys(part for column in columns for part in column)
    lines = [
        [prefix + part, *(f"{column[part]:.2f}" if part in column else "" for column in columns)] for part in parts
    ]
    return [*lines, [in_all, *(f"**{sum(column.values()):.2f}**" if column else "" for column in columns)]]


def _ms(parts: Parts) -> float:
    return 1e3 * sum(parts.values())


def _medians(rounds: Sequence[Parts]) -> dict[str, float]:
    names = dict.fromkeys(name for parts in rounds for name in parts)
    return {name: round(1e3 * statistics.median(parts.get(name, 0.0) for parts in rounds), 3) for name in names}


@contextmanager
def _checkout(revision: str) -> Iterator[Path]:
    """Unpack a commit into a folder that is gone afterwards, with what measures it."""
    with TemporaryDirectory(prefix="dlr-commit-") as folder:
        archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "--extract"], cwd=folder, input=archive, check=True)
        for name in _COPIED:
            shutil.copy(Path(__file__).with_name(name), Path(folder) / "benchmarks" / name)
        yield Path(folder)


@contextmanager
def _side(root: Path) -> Iterator[Ask]:
    """Run a checkout's service, and give what asks it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cost_side"],
        cwd=root,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    writes, reads = process.stdin, process.stdout

    def answer() -> Any:
        line = reads.readline()
        if not line:
            raise TimeoutError("the measured service ended")
        return json.loads(line)

    def ask(**case: Any) -> Parts:
        writes.write(json.dumps(case) + "\n")
        writes.flush()
        parts: Parts = answer()
        return parts

    try:
        answer()
        yield ask
    finally:
        writes.close()
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reads.close()
