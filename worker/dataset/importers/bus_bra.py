"""BUS-BRA (Gomez-Flores et al., Medical Physics 51, 2024, 3110-3123): ``bus_data.csv``, ``Images`` and ``Masks``.

A row of the table is an image: ID (``bus_0001-l``, ``-r`` or ``-s``), Case (the patient), Histology, Pathology, BIRADS
(2 to 5, without the letters of 4), Device (the scanner), Width, Height, Side, BBOX (``[x, y, width, height]``).
"""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.dataset.importers import imported_dataset
from worker.dataset.importers.imported_dataset import Imported, OnProgress, relative
from worker.dataset.manifest import ManifestRow
from worker.dataset.manifest_image import mask_roi, read_picture
from worker.errors import LesionRefused
from worker.study import Roi
from worker.tables.csv_json import delimiter_of

COLUMNS = ("ID", "Case", "Pathology", "BIRADS", "Width", "Height", "BBOX")
BBOX_TOLERANCE = 2
"""Pixels; the table does not say whether it counts from 0 or from 1."""

LAYOUT = "bus_data.csv, Images/bus_0001-l.png and Masks/mask_0001-l.png"
NOTES = (
    "BUS-BRA has no ages: the classifier with age cannot be trained on it",
    "BUS-BRA's BI-RADS 4 has no letter: such a lesion is of high risk, and never counted as 4A",
)


def import_bus_bra(source: Path, root: Path, on_progress: OnProgress) -> Imported:
    """Read BUS-BRA's table, and hold each row against its image and mask.

    Args:
        source: the folder that ``bus_data.csv`` is in, or the one above, ``BUSBRA`` in it.
        root: what the manifest's paths are to be relative to.
        on_progress: told how many images are done, and of how many.

    Raises:
        SetupRefused: ``dataset_invalid``; no such table, other columns, or images outside of the root;
            or no row can be used.
    """
    folder = next((each for each in (source, source / "BUSBRA") if (each / "bus_data.csv").is_file()), None)
    if folder is None:
        raise imported_dataset.refused(f"there is no bus_data.csv in it; looked for {LAYOUT}")
    table = _table(folder / "bus_data.csv")
    images, masks = imported_dataset.image_folder(folder), imported_dataset.mask_folder(folder)
    rows = []
    for done, line in enumerate(table, start=1):
        rows.append(_row(line, images, masks, root))
        on_progress(done, len(table))
    imported_dataset.require_usable(rows, f"{LAYOUT}; {imported_dataset.looked_in(source, images, masks)}")
    unread = imported_dataset.unread(table, {"BIRADS": imported_dataset.category_of})
    return Imported(tuple(rows), (*NOTES, *unread))


def _table(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = delimiter_of(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, restval="", restkey="", delimiter=delimiter)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise imported_dataset.refused(f"bus_data.csv has no column {', '.join(missing)}")
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error):
        raise imported_dataset.refused("bus_data.csv cannot be read") from None


def _row(line: Mapping[str, str], images: Path, masks: Path, root: Path) -> ManifestRow:
    name = line["ID"].strip()
    if not name or Path(name).name != name:
        raise imported_dataset.refused("bus_data.csv has an ID that is not a valid file name")
    image, mask = images / f"{name}.png", masks / f"mask_{name.removeprefix('bus_')}.png"
    pathology = imported_dataset.pathology_of(line["Pathology"])
    reason = _reason(line, image, mask)
    if pathology is None:
        reason = reason or imported_dataset.PATHOLOGY_UNKNOWN
    case = line["Case"].strip()
    if not case:
        reason = imported_dataset.PATIENT_UNKNOWN
    return imported_dataset.made_row(
        {
            "image": relative(image, root),
            "mask": relative(mask, root) if reason is None else None,
            "birads": imported_dataset.category_of(line["BIRADS"]),
            "pathology": pathology,
            "patient_key": f"bus-bra-{case or name}",
            # 722 benign and 342 malignant tumours of 1064 patients, so one each: a patient's images are views of it,
            # whatever their Side.
            "lesion_id": "1",
            "site": "bus-bra",
            "scanner_model": _scanner(line.get("Device", "")),
            "excluded": reason,
        }
    )


def _scanner(device: str) -> str | None:
    """``GE Logiq 7 @10-14MHz`` without the transducer's frequencies."""
    return device.split("@")[0].strip() or None


def _reason(line: Mapping[str, str], image: Path, mask: Path) -> str | None:
    try:
        frame = read_picture(image)
    except LesionRefused:
        return imported_dataset.IMAGE_UNREADABLE
    fault = imported_dataset.mask_fault(mask, frame)
    if fault is not None:
        return fault
    if not _same_size(line, frame):
        return imported_dataset.SIZE_DIFFERS
    return None if _same_place(line["BBOX"], mask_roi(mask)[0]) else imported_dataset.BBOX_DIFFERS


def _same_size(line: Mapping[str, str], frame: NDArray[np.uint8]) -> bool:
    return [line["Height"].strip(), line["Width"].strip()] == [str(side) for side in frame.shape[:2]]


def _same_place(text: str, roi: Roi) -> bool:
    try:
        box = [float(value) for value in json.loads(text)]
    except (ValueError, TypeError):
        return False
    marked = [roi.x, roi.y, roi.width, roi.height]
    return len(box) == len(marked) and all(
        abs(one - other) <= BBOX_TOLERANCE for one, other in zip(box, marked, strict=True)
    )
