"""The file of a manifest: CSV by the standard library, Parquet by pyarrow."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from worker.dataset.manifest import COLUMNS, REQUIRED_COLUMNS, Fault, Manifest, ManifestRow, cells_of, reason_of, row_of
from worker.durable_files import write_private
from worker.errors import Code, SetupRefused
from worker.tables.csv_json import csv_rows
from worker.tables.parquet import is_parquet, pyarrow, read_parquet, text_of

MAX_BYTES = 256 << 20
_WHOLE = ("frame", "roi_x", "roi_y", "roi_width", "roi_height", "fold")
_NUMBERS = (
    "pixel_spacing_mm",
    "age_years",
    "distance_lesion_to_nipple_mm",
    "distance_lesion_to_surface_mm",
    "aspect_ratio",
)


def read_manifest(path: Path, root: Path | None = None) -> Manifest:
    """Read a manifest. Rows that cannot be read are faults; no image is looked at.

    Args:
        path: Parquet where it ends in ``.parquet``, else CSV in UTF-8 with commas or semicolons.
        root: what its paths are relative to; the manifest's folder, unless it is given.

    Raises:
        SetupRefused: ``dataset_invalid``: it is not there, too large, not such a file, or has other columns;
            ``setting_invalid``: Parquet without the extra.
    """
    cells = _parquet_rows(path) if is_parquet(path) else csv_rows(_text(path), Code.DATASET_INVALID, _header_fault)
    rows: dict[int, ManifestRow] = {}
    faults: list[Fault] = []
    for line, row in cells:
        try:
            rows[line] = row_of(row)
        except ValidationError as invalid:
            faults.append(Fault(line, Code.ROW_INVALID, reason_of(invalid)))
    if not rows and not faults:
        raise _refused("the manifest has no rows")
    return Manifest(_root(root or path.parent), rows, tuple(faults))


def read_manifest_of(path: Path, root: Path | None) -> Manifest:
    """Read a manifest whose paths are relative to its folder or, if none of its images is there, to a root.

    Raises:
        SetupRefused: as `read_manifest`.
    """
    manifest = read_manifest(path)
    if root is None or any(_is_there(manifest.root / row.image) for row in manifest.included.values()):
        return manifest
    return replace(manifest, root=_root(root))


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def write_manifest(path: Path, rows: Iterable[ManifestRow]) -> None:
    """Write a manifest that its owner alone may read: Parquet where the path ends in ``.parquet``, else CSV.

    It is there whole, or not at all: half a manifest would be read as a smaller one.

    Raises:
        SetupRefused: ``dataset_invalid``: something is there already, or the folder cannot be written;
            ``setting_invalid``: Parquet without the extra.
    """
    require_free(path)
    cells = [cells_of(row) for row in rows]
    content = _parquet(cells) if is_parquet(path) else _csv(cells)
    try:
        _put(path, content)
    except OSError:
        raise _refused(
            "the manifest cannot be written: does its folder exist, is it writable, and is there space?"
        ) from None


def _put(path: Path, content: bytes) -> None:
    # Claims the name: what came to be there meanwhile is not overwritten.
    path.touch(0o600, exist_ok=False)
    try:
        write_private(path, content, alone=True)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def require_free(path: Path) -> None:
    """Make sure that a manifest can be written without overwriting one.

    Raises:
        SetupRefused: ``dataset_invalid``; something is there already.
    """
    if path.exists():
        raise _refused("the manifest to write already exists: give another name, or remove it")


def _root(path: Path) -> Path:
    try:
        return path.resolve(strict=True)
    except OSError:
        raise _refused("the folder that the paths are relative to does not exist") from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError:
        raise _refused("the manifest does not exist or cannot be read") from None
    if len(content) > MAX_BYTES:
        raise _refused(f"the manifest is larger than {MAX_BYTES} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _refused("the manifest is not UTF-8") from None


def _header_fault(names: Sequence[str]) -> str | None:
    unknown = [str(place) for place, name in enumerate(names, start=1) if name not in COLUMNS]
    if unknown:
        # A heading that is not ours came with the file, and may be anything.
        return f"column {', '.join(unknown)}: no column of a manifest (`dlr dataset schema` lists them)"
    missing = [name for name in REQUIRED_COLUMNS if name not in names]
    return f"the manifest has no column {', '.join(missing)}" if missing else None


def _parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for line, cells in read_parquet(path, _header_fault):
        yield line, {name: _plain(name, cell) for name, cell in cells.items()}


def _plain(name: str, cell: object) -> object:
    """Text where text is expected of a number: a BI-RADS 3, a patient's number."""
    return text_of(cell) if name not in (*_WHOLE, *_NUMBERS) else cell


def _csv(rows: list[dict[str, object]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _parquet(rows: list[dict[str, object]]) -> bytes:
    parquet, arrow = pyarrow()
    types = {**dict.fromkeys(_WHOLE, arrow.int64()), **dict.fromkeys(_NUMBERS, arrow.float64())}
    schema = arrow.schema([(column, types.get(column, arrow.string())) for column in COLUMNS])
    content = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(rows, schema), content)
    return content.getvalue()


def _refused(reason: str) -> SetupRefused:
    return SetupRefused(Code.DATASET_INVALID, reason)
