"""BrEaST (Pawlowska et al., Scientific Data 11, 2024, 148; TCIA Breast-Lesions-USG): a workbook, images and masks.

A row of the first sheet is a patient's image: CaseID, Image_filename, Mask_tumor_filename (several joined by ``&``),
Pixel_size (in cm), Age, the lexicon's descriptors, BIRADS, Verification (biopsy or follow-up), Classification (benign,
malignant, normal).
"""

from collections.abc import Mapping
from pathlib import Path

from worker.clinical.descriptors import LEVELS
from worker.dataset.importers import imported_dataset
from worker.dataset.importers.imported_dataset import Imported, OnProgress, relative
from worker.dataset.manifest import ManifestRow, Verification
from worker.dataset.manifest_image import read_picture
from worker.errors import LesionRefused
from worker.tables.workbook import read_workbook

COLUMNS = ("CaseID", "Image_filename", "Mask_tumor_filename", "Age", "BIRADS", "Classification")
IMAGES = "BrEaST-Lesions_USG-images_and_masks"
LAYOUT = f"one .xlsx, and the images and masks that it names in {IMAGES}, in images and masks, or beside it"
NOTES = (
    "some of BrEaST's benign lesions are confirmed by follow-up, not by biopsy; --biopsied-only leaves them out",
    "BrEaST's calcifications and skin thickening are not taken: Table S1's microcalcifications and skin changes differ",
)
_OLDEST_YEARS = 120
_MILLIMETRES_A_CENTIMETRE = 10
_VERIFICATION = {
    "confirmed by biopsy": Verification.BIOPSY,
    "confirmed by follow-up care": Verification.FOLLOW_UP,
}
_TISSUE = {"homogeneous: fat": "fat", "homogeneous: fibroglandular": "fibroglandular"}
_POSTERIOR = {"no": "none"}
_ECHO = {"complex cystic/solid": "complex_cystic_and_solid"}
_MARGINS = ("indistinct", "angular", "microlobulated", "spiculated")


def import_breast(source: Path, root: Path, on_progress: OnProgress, *, biopsied_only: bool = False) -> Imported:
    """Read BrEaST's workbook, and look at each image and mask.

    Args:
        source: the folder that the workbook and the images' folder are in, or the one above.
        root: what the manifest's paths are to be relative to.
        on_progress: told how many images are done, and of how many.
        biopsied_only: leave out lesions that follow-up alone confirmed.

    Raises:
        SetupRefused: ``dataset_invalid``: no workbook, or several, other columns, no row that can be used, or images
            outside of the root; ``setting_invalid``: without the extra.
    """
    book = _workbook(source)
    table, folder = _table(book), book.parent
    inner = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    images, masks = imported_dataset.image_folder(inner), imported_dataset.mask_folder(inner)
    rows = []
    for done, line in enumerate(table, start=1):
        rows.append(_row(done + 1, line, images, masks, root, biopsied_only=biopsied_only))
        on_progress(done, len(table))
    imported_dataset.require_usable(rows, f"{LAYOUT}; {imported_dataset.looked_in(source, images, masks)}")
    unread = imported_dataset.unread(table, _READERS)
    return Imported(tuple(rows), (*NOTES, *unread))


def _workbook(source: Path) -> Path:
    for pattern in ("*.xlsx", "*/*.xlsx"):
        books = [path for path in source.glob(pattern) if not path.name.startswith("~")]
        if len(books) > 1:
            raise imported_dataset.refused(f"{len(books)} workbooks are in it; looked for {LAYOUT}")
        if books:
            return books[0]
    raise imported_dataset.refused(f"no workbook is in it, nor in a folder of it; looked for {LAYOUT}")


def _table(path: Path) -> list[dict[str, str]]:
    cells = read_workbook(path)
    names = cells[0] if cells else ()
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise imported_dataset.refused(f"the workbook's first sheet has no column {', '.join(missing)}")
    rows = [dict(zip(names, row, strict=False)) for row in cells[1:]]
    return [row for row in rows if row["CaseID"] or row["Image_filename"]]


def _row(
    number: int, line: Mapping[str, str], images: Path, masks: Path, root: Path, *, biopsied_only: bool
) -> ManifestRow:
    marked = [name.strip() for name in line["Mask_tumor_filename"].split("&") if name.strip()]
    if any(Path(name).name != name for name in (line["Image_filename"], *marked)):
        raise imported_dataset.refused("the workbook has an invalid file name")
    image, pathology = images / line["Image_filename"], imported_dataset.pathology_of(line["Classification"])
    reason = _reason(line, image, [masks / name for name in marked])
    verification = _VERIFICATION.get(line.get("Verification", "").lower())
    if reason is None and biopsied_only and verification is not Verification.BIOPSY:
        reason = imported_dataset.NOT_BIOPSIED
    if not line["CaseID"]:
        reason = imported_dataset.PATIENT_UNKNOWN
    return imported_dataset.made_row(
        {
            "image": relative(image, root),
            "mask": relative(masks / marked[0], root) if reason is None else None,
            "pixel_spacing_mm": _spacing(line.get("Pixel_size", "")),
            "age_years": _age(line["Age"]),
            "birads": imported_dataset.category_of(line["BIRADS"]),
            "pathology": pathology,
            "verification": verification,
            "descriptors": descriptors_of(line),
            "patient_key": f"breast-{line['CaseID'] or f'row-{number}'}",
            "lesion_id": "1",
            "site": "breast",
            "excluded": reason,
        }
    )


def _reason(line: Mapping[str, str], image: Path, masks: list[Path]) -> str | None:
    if line["Classification"].lower() == "normal":
        return imported_dataset.NO_LESION
    if imported_dataset.pathology_of(line["Classification"]) is None:
        return imported_dataset.PATHOLOGY_UNKNOWN
    try:
        frame = read_picture(image)
    except LesionRefused:
        return imported_dataset.IMAGE_UNREADABLE
    if not masks:
        return imported_dataset.MASK_MISSING
    # The category and the descriptors are the image's: with two lesions, nobody can say whose.
    return imported_dataset.LABEL_NOT_OF_ONE_LESION if len(masks) > 1 else imported_dataset.mask_fault(masks[0], frame)


def _age(text: str) -> float | None:
    try:
        years = float(text)
    except ValueError:
        return None
    return years if 0 < years <= _OLDEST_YEARS else None


def _spacing(text: str) -> float | None:
    try:
        millimetres = round(float(text) * _MILLIMETRES_A_CENTIMETRE, 9)
    except ValueError:
        return None
    return millimetres if millimetres > 0 else None


_READERS = {"Age": _age, "BIRADS": imported_dataset.category_of, "Pixel_size": _spacing}


def descriptors_of(line: Mapping[str, str]) -> dict[str, str]:
    """Return Table S1's descriptors that the lexicon's say without doubt; any other is left out."""
    said = {name: line.get(name, "").lower() for name in ("Tissue_composition", "Shape", "Posterior_features")}
    tissue, echo = said["Tissue_composition"], line.get("Echogenicity", "").lower()
    found = {
        "tissue_composition": "heterogeneous" if tissue.startswith("heterogeneous") else _TISSUE.get(tissue, ""),
        "shape": said["Shape"],
        "posterior_features": _POSTERIOR.get(said["Posterior_features"], said["Posterior_features"]),
        "echo_pattern": _ECHO.get(echo, echo),
    } | _margins(line.get("Margin", "").lower())
    return {name: value for name, value in found.items() if value in LEVELS[name]}


def _margins(text: str) -> dict[str, str]:
    """``circumscribed``, or ``not circumscribed - angular & indistinct``."""
    if text == "circumscribed":
        return {"margin_circumscribed": "yes"} | {f"margin_{name}": "no" for name in _MARGINS}
    kinds = [kind.strip() for kind in text.removeprefix("not circumscribed").strip(" -").split("&")]
    if not text.startswith("not circumscribed") or not set(kinds) <= set(_MARGINS):
        return {}
    return {"margin_circumscribed": "no"} | {f"margin_{name}": "yes" if name in kinds else "no" for name in _MARGINS}
