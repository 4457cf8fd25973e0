"""BUSI (Al-Dhabyani et al., Data in Brief 28, 2020, 104863): folders of images by class, with their masks.

``benign/benign (1).png``, ``benign/benign (1)_mask.png``, and ``..._mask_1.png`` for another lesion of the image.
In some copies a class's files are in ``benign/images`` and ``benign/mask``, where a mask may have its image's name.
What is wrong with it is known (Pawlowska et al., Data in Brief 48, 2023, 109247): images that are there twice, some of
them in two classes, images of the axilla, and nobody's age, category or name of a patient.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.dataset.importers import imported_dataset
from worker.dataset.importers.imported_dataset import Imported, OnProgress, relative
from worker.dataset.manifest import ManifestRow, Pathology
from worker.dataset.manifest_image import read_picture
from worker.errors import LesionRefused

LAYOUT = "benign/benign (1).png and benign/benign (1)_mask.png, or benign/images and benign/mask; likewise malignant"
CLASSES = ("benign", "malignant", "normal")
AXILLA = {
    "benign": frozenset(
        {199, 205, 207, 210, 223, 225, 228, 235, 236, 243, 247, 248, 256, 257, 262, 292, 293, 294, 298, 306}
    ),
    "malignant": frozenset({11, 12, 13, 109, 110, 113, 148}),
}
"""The images with the word axilla in them, as github.com/im-garriz/rhaiunet lists them; there may be more."""

NOTES = (
    "BUSI names no patients: each image counts as one, so a split cannot keep a patient's images together",
    "BUSI has no ages and no BI-RADS categories: DLR_LH and the classifier with age cannot be trained on it",
    "BUSI's axilla images are those labelled as such in the image; a radiologist may find more",
)
_MASK = re.compile(r"(?P<stem>.+)_mask(_\d+)?")
_NUMBER = re.compile(r"\((\d+)\)")


def import_busi(source: Path, root: Path, on_progress: OnProgress) -> Imported:
    """Read BUSI's folders.

    Args:
        source: the folder with ``benign`` and ``malignant`` in it, or the one above, ``Dataset_BUSI_with_GT`` in it.
        root: what the manifest's paths are to be relative to.
        on_progress: told how many images are done, and of how many.

    Raises:
        SetupRefused: ``dataset_invalid``; there are no such folders, they have no image that can be used, or are
            outside of the root.
    """
    folder = next((each for each in (source, source / "Dataset_BUSI_with_GT") if (each / "benign").is_dir()), None)
    if folder is None:
        raise imported_dataset.refused(f"there is no folder `benign` in it; looked for {LAYOUT}")
    images = [(name, path) for name in CLASSES for path in _images(folder / name)]
    frames: list[NDArray[np.uint8] | None] = []
    for done, (_, path) in enumerate(images, start=1):
        frames.append(_frame(path))
        on_progress(done, len(images))
    twice = imported_dataset.duplicates(frames, [name for name, _ in images])
    rows = [
        row
        for (name, path), frame, reason in zip(images, frames, twice, strict=True)
        for row in _rows(name, path, frame, reason, folder / name, root)
    ]
    imported_dataset.require_usable(rows, LAYOUT)
    return Imported(tuple(rows), NOTES)


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    inner = imported_dataset.image_folder(folder)
    pictures = [path for path in inner.glob("*.png") if not _MASK.fullmatch(path.stem)]
    return sorted(pictures, key=lambda path: (_number(path), path.name))


def _number(path: Path) -> int:
    found = _NUMBER.search(path.stem)
    return int(found[1]) if found else 0


def _frame(path: Path) -> NDArray[np.uint8] | None:
    try:
        return read_picture(path)
    except LesionRefused:
        return None


def _masks(path: Path, folder: Path) -> list[Path]:
    """An image's masks in its class's folder: the one without a number first."""
    masks = imported_dataset.mask_folder(folder)
    others = [
        other
        for other in masks.glob("*.png")
        if ((found := _MASK.fullmatch(other.stem)) and found["stem"] == path.stem)
        or (masks != path.parent and other.name == path.name)
    ]
    return sorted(others, key=lambda other: (len(other.name), other.name))


def _rows(
    name: str, path: Path, frame: NDArray[np.uint8] | None, twice: str | None, folder: Path, root: Path
) -> Iterator[ManifestRow]:
    masks = _masks(path, folder) if name != "normal" else []
    reason = _reason(name, path, frame, twice, len(masks))
    plain = {
        "image": relative(path, root),
        "patient_key": f"busi-{name}-{_number(path) or path.stem}"[:64],
        "pathology": imported_dataset.pathology_of(name),
        "site": "busi",
    }
    if frame is None or reason is not None:
        yield imported_dataset.made_row(plain | {"lesion_id": "1", "excluded": reason})
        return
    for number, mask in enumerate(masks, start=1):
        fault = imported_dataset.mask_fault(mask, frame)
        known = {"lesion_id": str(number), "mask": relative(mask, root), "excluded": fault}
        yield imported_dataset.made_row(plain | known)


def _reason(name: str, path: Path, frame: NDArray[np.uint8] | None, twice: str | None, masks: int) -> str | None:
    if frame is None:
        return imported_dataset.IMAGE_UNREADABLE
    if twice == imported_dataset.DUPLICATE_OF_OTHER_CLASS:
        return twice
    if name == "normal":
        return imported_dataset.NO_LESION
    if _number(path) in AXILLA[name]:
        return imported_dataset.AXILLA
    if twice is not None:
        return twice
    if not masks:
        return imported_dataset.MASK_MISSING
    # A malignant image says that one of its lesions is; a benign one, that all of them are.
    several = masks > 1 and name == Pathology.MALIGNANT
    return imported_dataset.LABEL_NOT_OF_ONE_LESION if several else None
