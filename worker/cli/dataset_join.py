"""``dlr dataset join``: manifests put together, and checked as one."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from worker.cli.bad_rows import print_faults, refuse_rows
from worker.cli.output import Format, Report, print_json, print_rows
from worker.cli.progress import progress_bar
from worker.dataset.check import check
from worker.dataset.join import join
from worker.dataset.manifest_file import read_manifest_of, require_free, write_manifest
from worker.errors import Code, SetupRefused

COLUMNS = ("manifest", "from_line", "rows")
_REFUSED = "are bad, so nothing was written: fix or exclude them"


def write_joined(
    manifests: Sequence[Path], output: Path, root: Path | None, fmt: Report, *, apart: bool, same: bool
) -> None:
    """Join manifests, check them as one, and write them unless a row is bad.

    Args:
        manifests: to read. The paths of each are relative to its folder or, if none of its images is there, to the
            root.
        output: the manifest to write.
        root: what its paths are relative to; its folder, unless it is given.
        fmt: how is said what was done.
        apart: patients of two manifests are never the same; their keys get their manifest's name.
        same: patients with the same key in two manifests are the same.

    Raises:
        SetupRefused: ``dataset_invalid``.
        Unavailable: ``storage_unavailable``.
    """
    require_free(output)
    prefixes = _prefixes(manifests) if apart else None
    read = [read_manifest_of(path, root) for path in manifests]
    for path, each in zip(manifests, read, strict=True):
        refuse_rows(each.faults, Code.DATASET_INVALID, f"of {path.name} {_REFUSED}", fmt)
    joined = join(read, root or output.parent, prefixes)
    parts = [
        {"manifest": path.name, "from_line": start, "rows": len(each.rows)}
        for path, start, each in zip(manifests, joined.starts, read, strict=True)
    ]
    if fmt is Report.TABLE:
        print_rows(parts, COLUMNS, Format.TABLE, title="joined")
    refuse_rows(() if same else joined.faults, Code.DATASET_INVALID, _REFUSED, fmt)
    with progress_bar("rows") as on_progress:
        checked = check(joined.manifest, on_progress=on_progress)
    refuse_rows(checked.faults, Code.DATASET_INVALID, _REFUSED, fmt)
    write_manifest(output, checked.manifest.rows.values())
    shared = [warning for warning in checked.warnings if warning.code is Code.IMAGE_REPEATED]
    if fmt is Report.JSON:
        print_json({"joined": parts, "digest": checked.digest, "warned_of": list(map(asdict, shared))})
        return
    print_faults(shared, "images of two patients, which `dlr dataset split` keeps together")


def _prefixes(manifests: Sequence[Path]) -> list[str]:
    names = [path.stem for path in manifests]
    if len(set(names)) != len(names):
        reason = "--keys apart puts a manifest's name before its keys, and two have the same name: rename one"
        raise SetupRefused(Code.DATASET_INVALID, reason)
    return [f"{name}-" for name in names]
