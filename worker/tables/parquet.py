"""A Parquet file of rows, by pyarrow: each a line and its cells by their columns, as in `worker.tables.csv_json`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from worker.errors import Code, SetupRefused

SUFFIX = ".parquet"
MAX_BYTES = 256 << 20
MAX_ROWS = 1_000_000


def is_parquet(path: Path) -> bool:
    """Whether a file is Parquet, by its name."""
    return path.suffix.lower() == SUFFIX


def read_parquet(
    path: Path, header_fault: Callable[[Sequence[str]], str | None], code: Code = Code.DATASET_INVALID
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read a Parquet file of rows.

    Args:
        path: 256 MiB at most, also once it is inflated, and a million rows.
        header_fault: says what is wrong with the columns' names, in lower case; ``None`` where nothing is.
        code: of what is refused.

    Returns:
        Each row with its line, from 1. Cells that say nothing are left out: null, NaN, blank text.

    Raises:
        SetupRefused: with the code: it is not there, too large, not Parquet, or has other columns;
            ``setting_invalid``: without the extra.
    """
    parquet, arrow = pyarrow()
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SetupRefused(code, f"the file is larger than {MAX_BYTES} bytes")
        with parquet.ParquetFile(path) as file:
            names = [name.strip().lower() for name in file.schema_arrow.names]
            fault = "two columns have the same name" if len(set(names)) != len(names) else header_fault(names)
            if fault is not None:
                raise SetupRefused(code, fault)
            groups = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
            if file.metadata.num_rows > MAX_ROWS or sum(group.total_byte_size for group in groups) > MAX_BYTES:
                raise SetupRefused(
                    code, f"the file has more than {MAX_ROWS} rows, or inflates to over {MAX_BYTES} bytes"
                )
            columns = file.read().to_pydict()
    except (OSError, arrow.ArrowException):
        raise SetupRefused(code, "the file does not exist, cannot be read, or is not Parquet") from None
    for line, cells in enumerate(zip(*columns.values(), strict=True), start=1):
        yield line, {name: cell for name, cell in zip(names, cells, strict=True) if not _empty(cell)}


def text_of(cell: object) -> object:
    """Return a number as it is written; pandas makes 3.0 of a 3 in a column where another cell is empty."""
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole else cell) if isinstance(cell, (int, float)) else cell


def pyarrow() -> tuple[Any, Any]:
    """Return pyarrow's module of Parquet, and pyarrow.

    Raises:
        SetupRefused: ``setting_invalid``: without the extra.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        reason = "Parquet is read by the extra: pip install 'dlr-worker[train]', or write the file as CSV"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return parquet, pa


def _empty(cell: object) -> bool:
    """Whether a cell says nothing; pandas writes an empty number as NaN."""
    return cell is None or cell != cell or (isinstance(cell, str) and not cell.strip())
