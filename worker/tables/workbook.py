"""A workbook's first sheet, by openpyxl: rows of text cells, as a person reads them."""

from pathlib import Path
from typing import Any

from worker.errors import Code, SetupRefused

SUFFIX = ".xlsx"
MAX_ROWS = 100_000


def read_workbook(path: Path, code: Code = Code.DATASET_INVALID) -> list[tuple[str, ...]]:
    """Read a workbook's first sheet. Formulas are read as their values, and whole numbers without a decimal point.

    Args:
        path: ``.xlsx``; what is beyond 100,000 rows is refused.
        code: of what is refused.

    Returns:
        Each row, from the first one on, at least as long as that; an empty cell is an empty text.

    Raises:
        SetupRefused: with the code: it is not there, or no such workbook, or too long; ``setting_invalid``: without
            the extra.
    """
    try:
        import openpyxl
    except ImportError:
        reason = "workbooks need the extra: pip install 'dlr-worker[train]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        sheet = book.worksheets[0]
        sheet.reset_dimensions()  # some programs write others than the sheet's, and what is beyond would not be read
        cells = list(sheet.iter_rows(values_only=True, max_row=MAX_ROWS + 1))
        book.close()
    except Exception:  # noqa: BLE001  openpyxl raises many things on what is no workbook
        raise SetupRefused(code, "the workbook cannot be read") from None
    if len(cells) > MAX_ROWS:
        raise SetupRefused(code, f"the workbook has more than {MAX_ROWS} rows")
    width = len(cells[0]) if cells else 0
    return [tuple(map(_text, (*row, *[None] * (width - len(row))))) for row in cells]


def _text(cell: Any) -> str:
    whole = isinstance(cell, float) and cell.is_integer()
    return "" if cell is None else str(int(cell) if whole else cell).strip()
