"""What came of a file of rows about lesions, told the same way whatever the rows say."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from worker.cli.output import Format, Report, print_json, print_rows
from worker.monitoring.imported_rows import Imported

EXIT_ROWS_LEFT_OUT = 3
COLUMNS = ("rows", "new", "corrected", "unchanged", "outdated", "bad")
BAD_COLUMNS = ("line", "code", "reason")


def print_imported(imported: Imported[Any], fmt: Report, title: str = "imported", **said: object) -> None:
    """Print how many rows changed what, and the bad ones; as JSON with what else is said."""
    counts: Mapping[str, int] = {change.value: count for change, count in imported.changes.items()}
    row = {"rows": imported.rows, **counts, "bad": len(imported.bad)}
    bad = [asdict(one) for one in imported.bad]
    if fmt is Report.JSON:
        print_json(row | said | {"bad_rows": bad})
        return
    if bad:
        print_rows(bad, BAD_COLUMNS, Format.TABLE, title="bad rows")
    print_rows([row], COLUMNS, Format.TABLE, title=title)


def nothing_imported(imported: Imported[Any]) -> str:
    """Say that bad rows kept all others out."""
    return f"{len(imported.bad)} of {imported.rows} rows are bad, so nothing was imported: fix them or use --skip-bad"
