"""Several manifests as one: their paths from one folder on, and no patient of one taken for another's."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from worker.dataset.manifest import Fault, Manifest, ManifestRow
from worker.errors import Code, SetupRefused

_SHARED = "its patient_key is another manifest's too: make the keys differ, or say --keys apart or same"
_SHARED_APART = "with its manifest's name before it, its patient_key is another manifest's too: rename a manifest"


@dataclass(frozen=True, slots=True)
class Joined:
    """Manifests, one behind the other.

    Attributes:
        manifest: all rows, by the lines that they have in the file to write, the heading being 1.
        starts: the first line of each manifest, in their order.
        faults: rows that have a patient's key of another manifest.
    """

    manifest: Manifest
    starts: tuple[int, ...]
    faults: tuple[Fault, ...]


def join(manifests: Sequence[Manifest], root: Path, prefixes: Sequence[str] | None = None) -> Joined:
    """Put manifests one behind the other.

    Args:
        manifests: each without a fault.
        root: what the paths are relative to afterwards; the roots of all are in it.
        prefixes: put before the keys of the patients of each, which keeps them apart; ``None``: the keys are as they
            are, and the same key in two manifests is a fault.

    Raises:
        SetupRefused: ``dataset_invalid``; images of a manifest are outside of the root, or a key grows too long.
    """
    rows: dict[int, ManifestRow] = {}
    faults: list[Fault] = []
    starts: list[int] = []
    owner: dict[str, int] = {}
    for number, manifest in enumerate(manifests):
        below = _below(manifest.root, root)
        starts.append(len(rows) + 2)
        for row in manifest.rows.values():
            line = len(rows) + 2
            rows[line] = _moved(row, below, "" if prefixes is None else prefixes[number])
            if owner.setdefault(rows[line].patient_key, number) != number:
                faults.append(Fault(line, Code.ROW_REPEATED, _SHARED if prefixes is None else _SHARED_APART))
    return Joined(Manifest(root.resolve(), rows), tuple(starts), tuple(faults))


def _below(own: Path, root: Path) -> PurePosixPath:
    try:
        return PurePosixPath(own.relative_to(root.resolve()).as_posix())
    except ValueError:
        reason = "images of a manifest are not below the folder to write into, or --root: it has to be above them all"
        raise SetupRefused(Code.DATASET_INVALID, reason) from None


def _moved(row: ManifestRow, below: PurePosixPath, prefix: str) -> ManifestRow:
    cells = row.model_dump()
    cells |= {"image": str(below / row.image), "patient_key": f"{prefix}{row.patient_key}"}
    if row.mask is not None:
        cells["mask"] = str(below / row.mask)
    try:
        return ManifestRow.model_validate(cells)
    except ValueError:
        raise SetupRefused(Code.DATASET_INVALID, "a path or a patient_key grows too long by joining") from None
