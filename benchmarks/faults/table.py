"""The table of figures: what was done, what came of it, and what had to."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from benchmarks.faults.verify import Verdict


@dataclass(frozen=True, slots=True)
class Figure:
    """One row.

    Attributes:
        fault: the row's name.
        done: what was done, in numbers.
        figure: what came of it.
        must_show: what the row promises.
        passed: the figure keeps the promise.
        seconds: how long the row took.
    """

    fault: str
    done: str
    figure: str
    must_show: str
    passed: bool
    seconds: float = 0.0

    def as_row(self) -> dict[str, object]:
        return asdict(self) | {"passed": "yes" if self.passed else "NO", "seconds": round(self.seconds)}


def not_installed(row: str, program: str) -> Figure:
    """Return the figure of a row that cannot be done here."""
    return Figure(row, f"not done: {program} is not installed here", "", "", passed=False)


def said(verdict: Verdict) -> str:
    """Sum a verdict up."""
    states = ", ".join(f"{count} {state}" for state, count in sorted(verdict.states.items()))
    first = f"; the first: {verdict.wrong[0]}" if verdict.wrong else ""
    return f"{len(verdict.lost)} lost, {len(verdict.wrong)} wrong ({states}){first}"


def as_markdown(figures: Sequence[Figure]) -> str:
    """Write the table for docs/reliability.md."""
    head = "| fault | done | figure | must show | kept |\n| --- | --- | --- | --- | --- |\n"
    return head + "".join(
        f"| {one.fault} | {one.done} | {one.figure} | {one.must_show} | {'yes' if one.passed else '**no**'} |\n"
        for one in figures
    )
