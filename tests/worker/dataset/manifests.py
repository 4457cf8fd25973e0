"""Small manifests with real files, made in a folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.worker.imaging.dicom_files import picture
from worker.dataset.check import Checked, check
from worker.dataset.manifest import ManifestRow
from worker.dataset.manifest_file import read_manifest, write_manifest

ROI = {"x": 10, "y": 8, "width": 24, "height": 16}


def save_picture(path: Path, seed: int, rows: int = 48, columns: int = 64, *, colour: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (rows, columns, 3), dtype=np.uint8)
    Image.fromarray(noise if colour else noise[..., 0]).save(path)
    return path


def with_calipers(path: Path) -> None:
    pixels = np.full((48, 64), 40, np.uint8) + np.random.default_rng(0).integers(0, 9, (48, 64), dtype=np.uint8)
    pixels[10:22, 20] = pixels[16, 14:27] = 255
    Image.fromarray(pixels).save(path)


def save_mask(path: Path, x: int, y: int, width: int, height: int, rows: int = 48, columns: int = 64) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    marked = np.zeros((rows, columns), np.uint8)
    marked[y : y + height, x : x + width] = 255
    Image.fromarray(marked).save(path)
    return path


def row(**changes: Any) -> ManifestRow:
    cells: dict[str, Any] = {
        "image": "1.png", "roi": ROI, "age_years": 47, "birads": "4A", "pathology": "benign",
        "patient_key": "P1", "lesion_id": "L1",
    }  # fmt: skip
    return ManifestRow.model_validate(cells | changes)


def cohort(folder: Path, patients: int, *, views: int = 2, sites: Sequence[str] = ("A",)) -> list[ManifestRow]:
    """``views`` images of one lesion each of as many patients, every third malignant; files and all."""
    rows = []
    for patient in range(patients):
        malignant = patient % 3 == 0
        for view in range(views):
            name = f"{patient}-{view}.png"
            save_picture(folder / name, seed=1000 * patient + view)
            rows.append(
                row(
                    image=name,
                    patient_key=f"P{patient}",
                    age_years=35 + 3 * (patient % 12),
                    pathology="malignant" if malignant else "benign",
                    birads=("4C", "5")[patient % 2] if malignant else ("2", "3", "4A")[patient % 3],
                    site=sites[patient % len(sites)],
                )
            )
    return rows


def checked(folder: Path, rows: Sequence[ManifestRow]) -> Checked:
    """Write rows to a file, read them back, and look at them; the first row is on line 2."""
    path = folder / "manifest.csv"
    path.unlink(missing_ok=True)
    write_manifest(path, rows)
    return check(read_manifest(path))


__all__ = ["ROI", "checked", "cohort", "picture", "row", "save_mask", "save_picture", "with_calipers"]
