"""How bad rows are listed: those that are bad for the same reason on one line."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from worker.cli.output import Format, Report, print_json, print_rows
from worker.dataset.manifest import Fault
from worker.errors import Code, SetupRefused

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


def refuse_rows(faults: Sequence[Fault], code: Code, what: str, fmt: Report, *, silent: bool = False) -> None:
    """List bad rows and refuse to go on, if there are any.

    Args:
        faults: by line; a row may have several.
        code: of the refusal.
        what: is said of the rows.
        fmt: how they are listed; as JSON under ``bad_rows``, as `dlr dataset validate` has them.
        silent: refuse without a list, as all but one of several processes do.

    Raises:
        SetupRefused: with the code.
    """
    if not faults:
        return
    if fmt is Report.JSON and not silent:
        print_json({"bad_rows": list(map(asdict, faults))})
    elif not silent:
        print_faults(faults, "bad rows")
    raise SetupRefused(code, f"{len({fault.line for fault in faults})} rows {what}")


def print_faults(faults: Sequence[Fault], title: str) -> None:
    """Print faults as a table, those that are alike on one line; nothing where there are none."""
    if faults:
        rows = [asdict(line) for line in folded(faults)]
        print_rows(rows, COLUMNS, Format.TABLE, title=title)
