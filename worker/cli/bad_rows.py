"""How bad rows are listed: those that are bad for the same reason on one line."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from worker.dataset.manifest import Fault
from worker.errors import Code

COLUMNS = ("line", "rows", "code", "reason")
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Folded:
    """Faults of one code and reason.

    Attributes:
        line: of each row: ``7``, ``2 to 1871``, or the first three and how many more there are.
        rows: how many there are.
        code: what is wrong.
        reason: the same, for people.
    """

    line: str
    rows: int
    code: Code
    reason: str


def folded(faults: Iterable[Fault]) -> list[Folded]:
    """Put faults of the same code and reason together, in the order of the first row of each."""
    alike: defaultdict[tuple[Code, str], list[int]] = defaultdict(list)
    for fault in faults:
        alike[fault.code, fault.reason].append(fault.line)
    return [Folded(_lines(lines), len(lines), code, reason) for (code, reason), lines in alike.items()]


def _lines(lines: list[int]) -> str:
    if len(lines) > _NAMED and lines == list(range(lines[0], lines[0] + len(lines))):
        return f"{lines[0]} to {lines[-1]}"
    named = ", ".join(map(str, lines[:_NAMED]))
    return f"{named} and {len(lines) - _NAMED} more" if len(lines) > _NAMED else named
