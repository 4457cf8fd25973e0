"""BreastMNIST of MedMNIST v2 (Yang et al., Scientific Data 10, 2023, 41): BUSI made small, in one npz.

``train_images`` (N, 28, 28) or larger, uint8; ``train_labels`` (N, 1): 0 is malignant, 1 is normal or benign. The same
for ``val`` and ``test``.
"""

import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.dataset.importers import imported_dataset
from worker.dataset.importers.imported_dataset import Imported, OnProgress, relative
from worker.dataset.manifest import ManifestRow, Pathology, Split

LABELS = {0: Pathology.MALIGNANT, 1: Pathology.BENIGN}
SPLITS = {"train": Split.TRAIN, "val": Split.VALIDATION, "test": Split.TEST}
MAX_BYTES = 2 << 30
NOTES = (
    "BreastMNIST's label 1 is normal or benign: benign here may show no lesion at all",
    "BreastMNIST has no ages, no BI-RADS categories, no lesions' places and no patients: it is for trying things out",
)


def import_medmnist(source: Path, root: Path, images: Path, on_progress: OnProgress) -> Imported:
    """Read BreastMNIST, and write its images as PNG. Its own splits are kept.

    Args:
        source: ``breastmnist.npz``, or ``breastmnist_224.npz``.
        root: what the manifest's paths are to be relative to.
        images: a folder that is made for the images; it must not be there yet.
        on_progress: told how many images are done, and of how many.

    Raises:
        SetupRefused: ``dataset_invalid``; not such a file, or one without an image, or the folder cannot be made.
    """
    relative(images, root)
    arrays = _arrays(source)
    total = sum(len(labels) for _, labels in arrays.values())
    if not total:
        raise imported_dataset.refused("it has no image")
    try:
        images.mkdir()
    except OSError:
        raise imported_dataset.refused(
            f"the folder {images.name} for the images already exists, or cannot be created"
        ) from None
    frames, known = [], []
    for done, (name, number, frame, label) in enumerate(_each(arrays), start=1):
        path = images / f"{name}-{number:04d}.png"
        Image.fromarray(frame).save(path)
        frames.append(frame)
        known.append((name, number, path, label))
        on_progress(done, total)
    twice = imported_dataset.duplicates(frames, [label for *_, label in known])
    rows = [_row(*each, root, reason) for each, reason in zip(known, twice, strict=True)]
    return Imported(tuple(rows), NOTES)


def _row(name: str, number: int, path: Path, label: Pathology, root: Path, reason: str | None) -> ManifestRow:
    return ManifestRow(
        image=relative(path, root),
        pathology=label,
        patient_key=f"breastmnist-{name}-{number}",
        lesion_id="1",
        site="breastmnist",
        excluded=reason,
        split=SPLITS[name] if reason is None else None,
    )


Arrays = dict[str, tuple[NDArray[np.uint8], NDArray[np.integer]]]


def _arrays(source: Path) -> Arrays:
    try:
        with zipfile.ZipFile(source) as archive:
            if sum(member.file_size for member in archive.infolist()) > MAX_BYTES:
                raise imported_dataset.refused(f"the file inflates to more than {MAX_BYTES} bytes")
        with np.load(source, allow_pickle=False) as file:
            found = {name: (file[f"{name}_images"], file[f"{name}_labels"].reshape(-1)) for name in SPLITS}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError):
        raise imported_dataset.refused(
            "it is not an npz with train_images, train_labels and those of val and test"
        ) from None
    for images, labels in found.values():
        grey = images.dtype == np.uint8 and images.ndim == 3
        if not grey or len(images) != len(labels) or not set(np.unique(labels)) <= set(LABELS):
            raise imported_dataset.refused("its images are not (N, rows, columns) of bytes with a label 0 or 1 each")
    return found


def _each(arrays: Arrays) -> Iterator[tuple[str, int, NDArray[np.uint8], Pathology]]:
    for name, (images, labels) in arrays.items():
        for number, (frame, label) in enumerate(zip(images, labels, strict=True), start=1):
            yield name, number, frame, LABELS[int(label)]
