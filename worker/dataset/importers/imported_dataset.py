"""What an importer makes: rows, those that it leaves out among them, each with the reason."""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import ValidationError

from worker.clinical.categories import Birads
from worker.dataset.looks import alike, look_of
from worker.dataset.manifest import Fault, ManifestRow, Pathology, reason_of
from worker.dataset.manifest_image import mask_roi, read_picture
from worker.dataset.near_duplicates import joined
from worker.durable_files import write_private
from worker.errors import Code, LesionRefused, SetupRefused

OnProgress = Callable[[int, int], None]

NO_LESION = "no_lesion"
AXILLA = "axilla"
DUPLICATE = "duplicate"
DUPLICATE_OF_OTHER_CLASS = "duplicate_of_other_class"
LABEL_NOT_OF_ONE_LESION = "label_not_of_one_lesion"
IMAGE_UNREADABLE = "image_unreadable"
MASK_MISSING = "mask_missing"
MASK_UNUSABLE = "mask_unusable"
SIZE_DIFFERS = "size_differs"
BBOX_DIFFERS = "bbox_differs"
PATHOLOGY_UNKNOWN = "pathology_unknown"
NOT_BIOPSIED = "not_biopsied"
NO_PATHOLOGY = "no_pathology"
PATIENT_UNKNOWN = "patient_unknown"

NOT_KNOWN = ("", "not available", "not applicable", "n/a", "na", "none", "-")
"""What a table has in the cell of a value that nobody knows."""

PICTURES_ARE_WHOLE_FRAMES = "pictures are whole frames without a header; a name that is burned into one is still in it"

_IMAGE_FOLDERS = ("images", "image")
_MASK_FOLDERS = ("masks", "mask")


@dataclass(frozen=True, slots=True)
class Imported:
    """A data set as a manifest.

    Attributes:
        rows: all that was found; those that are left out are ``excluded`` with a code of this module, or of an error.
        notes: what the data set lacks, one sentence each, for whoever trains on it.
        faults: of a table's rows, by its lines; these rows are left out.
    """

    rows: tuple[ManifestRow, ...]
    notes: tuple[str, ...]
    faults: tuple[Fault, ...] = ()


def relative(path: Path, root: Path) -> str:
    """Return a path as a manifest has it.

    Raises:
        SetupRefused: ``dataset_invalid``; it is not below the root.
    """
    try:
        return path.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        raise refused(
            "the images are not in the manifest's folder: write it into the one above them, or give --root"
        ) from None


def image_folder(folder: Path) -> Path:
    """Return where a folder's images are: its subfolder ``images`` or ``image``, in any case, or else the folder."""
    return _subfolder(folder, _IMAGE_FOLDERS)


def mask_folder(folder: Path) -> Path:
    """Return where a folder's masks are: its subfolder ``masks`` or ``mask``, in any case, or else the folder."""
    return _subfolder(folder, _MASK_FOLDERS)


def _subfolder(folder: Path, names: Sequence[str]) -> Path:
    found = [path for path in folder.iterdir() if path.name.lower() in names and path.is_dir()]
    return min(found, default=folder)


def require_usable(rows: Sequence[ManifestRow], layout: str) -> None:
    """Refuse a data set of which every row is left out, as where its images or its masks are somewhere else.

    Args:
        rows: all that were made.
        layout: where images and masks were looked for.

    Raises:
        SetupRefused: ``dataset_invalid``.
    """
    if all(row.excluded is not None for row in rows):
        reasons = Counter(row.excluded for row in rows).most_common()
        counted = ", ".join(f"{reason} {count}" for reason, count in reasons) or "it has none"
        raise refused(f"no row of it can be used ({counted}); looked for {layout}")


def looked_in(source: Path, images: Path, masks: Path) -> str:
    """Say in which folders images and masks were looked for, by their names below the one that was given."""
    names = (folder.relative_to(source).as_posix() for folder in (images, masks))
    of_images, of_masks = ("the folder itself" if name == "." else name for name in names)
    return f"images were looked for in {of_images}, masks in {of_masks}"


def duplicates(frames: Sequence[NDArray[np.uint8] | None], classes: Sequence[str]) -> list[str | None]:
    """Say which images are there twice, or nearly: ``duplicate`` for all but the first of those that look alike.

    Where images that look alike are of different classes, one label at least is wrong and nobody knows which: all of
    them are ``duplicate_of_other_class``.

    Args:
        frames: uint8, (rows, columns) or (rows, columns, 3); ``None`` where one could not be read.
        classes: the label of each.
    """
    readable = [place for place, frame in enumerate(frames) if frame is not None]
    looks = [look_of(frame) for frame in frames if frame is not None]
    found: list[str | None] = [None] * len(frames)
    first = joined(len(looks), alike(looks))
    for low in set(first):
        group = [readable[at] for at, other in enumerate(first) if other == low]
        if len({classes[place] for place in group}) > 1:
            for place in group:
                found[place] = DUPLICATE_OF_OTHER_CLASS
        else:
            for place in group[1:]:
                found[place] = DUPLICATE
    return found


def mask_fault(mask: Path, frame: NDArray[np.uint8]) -> str | None:
    """Say why a mask cannot be used for an image; ``None`` when it can."""
    if not mask.is_file():
        return MASK_MISSING
    try:
        _, size = mask_roi(mask)
    except LesionRefused:
        return MASK_UNUSABLE
    return None if size == frame.shape[:2] else MASK_UNUSABLE


def pathology_of(text: str) -> Pathology | None:
    """Return what a data set's label says; ``None`` for anything but benign and malignant."""
    word = text.strip().lower()
    return Pathology(word) if word in tuple(Pathology) else None


def category_of(text: str) -> str | None:
    """Return a BI-RADS category, 4 without its letter among them; ``None`` for anything else."""
    word = text.strip().upper()
    return word if word in tuple(Birads) else None


def unread(table: Sequence[Mapping[str, str]], readers: Mapping[str, Callable[[str], object]]) -> Iterator[str]:
    """Say how many values of each column cannot be read, which are as if they were not known, and where the first is.

    Args:
        table: its rows under the heading, which is row 1.
        readers: of columns' cells, by their names; ``None`` is what they make of a cell that they cannot read.
    """
    for name, read in readers.items():
        cells = [(number, line.get(name, "").strip()) for number, line in enumerate(table, start=2)]
        rows = [number for number, cell in cells if cell.lower() not in NOT_KNOWN and read(cell) is None]
        if rows:
            yield f"{len(rows)} values of {name} cannot be read, and count as not known; the first is in row {rows[0]}"


def make_folder(pictures: Path) -> None:
    """Make the folder of pictures, for its owner alone, unless it is there.

    Raises:
        SetupRefused: ``dataset_invalid``.
    """
    try:
        pictures.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        raise refused(f"the folder {pictures.name} for the pictures cannot be made: is a file of that name?") from None


def write_picture(path: Path, frame: NDArray[np.uint8]) -> None:
    """Write a frame as a PNG that its owner alone may read, unless it is there.

    Raises:
        SetupRefused: ``dataset_invalid``: it cannot be written, or another frame is there.
    """
    if path.exists():
        # Whoever painted over a name in it would have the name back if it were overwritten.
        if not _is_of(path, frame):
            raise refused(
                f"{path.parent.name} has pictures of an earlier import that are other than these: remove that folder, "
                "or write the manifest under another name"
            )
        return
    content = io.BytesIO()
    Image.fromarray(frame).save(content, "PNG")
    try:
        write_private(path, content.getvalue())
    except OSError:
        raise refused("a picture cannot be written: is there space?") from None


def _is_of(path: Path, frame: NDArray[np.uint8]) -> bool:
    try:
        return np.array_equal(read_picture(path), frame)
    except LesionRefused:
        return False


def made_row(cells: Mapping[str, object]) -> ManifestRow:
    """Make a row.

    Raises:
        SetupRefused: ``dataset_invalid``; the data set holds what no manifest can.
    """
    try:
        return ManifestRow.model_validate(cells)
    except ValidationError as invalid:
        raise refused(f"it is not laid out as published: {reason_of(invalid)}") from None


def refused(reason: str) -> SetupRefused:
    """Refuse to import."""
    return SetupRefused(Code.DATASET_INVALID, reason)
