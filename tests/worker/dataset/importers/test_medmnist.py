"""BreastMNIST's npz: its label 0 is malignant, its splits are kept, and no pickle is ever opened."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from worker.dataset import check
from worker.dataset.importers.imported_dataset import Imported
from worker.dataset.importers.medmnist import import_medmnist
from worker.dataset.manifest import Pathology, Split
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.errors import Code, SetupRefused


def arrays(counts: tuple[int, int, int] = (6, 2, 3), side: int = 28) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made: dict[str, Any] = {}
    for name, count in zip(("train", "val", "test"), counts, strict=True):
        made[f"{name}_images"] = rng.integers(0, 256, (count, side, side), dtype=np.uint8)
        made[f"{name}_labels"] = (np.arange(count) % 2).astype(np.uint8).reshape(-1, 1)
    return made


def save(path: Path) -> None:
    np.savez(path, **arrays())


def imported(folder: Path, made: dict[str, Any]) -> Imported:
    np.savez(folder / "breastmnist.npz", **made)
    return import_medmnist(folder / "breastmnist.npz", folder, folder / "images", lambda _done, _total: None)


@pytest.mark.parametrize("side", [28, 224])
def test_label_0_is_malignant_and_the_splits_are_kept(tmp_path: Path, side: int) -> None:
    made = arrays(side=side)
    rows = imported(tmp_path, made).rows
    assert [row.split for row in rows] == [Split.TRAIN] * 6 + [Split.VALIDATION] * 2 + [Split.TEST] * 3
    assert [row.pathology for row in rows][:3] == [Pathology.MALIGNANT, Pathology.BENIGN, Pathology.MALIGNANT]
    assert (np.asarray(Image.open(tmp_path / rows[7].image)) == made["val_images"][1]).all()


def test_what_it_makes_is_sound(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", imported(tmp_path, arrays()).rows)
    assert check.check(read_manifest(tmp_path / "m.csv")).faults == ()


def test_an_image_of_two_splits_is_left_in_one(tmp_path: Path) -> None:
    made = arrays()
    made["test_images"][2] = made["train_images"][2]
    made["test_images"][1] = made["train_images"][0]
    rows = imported(tmp_path, made).rows
    assert {row.patient_key: row.excluded for row in rows if row.excluded} == {
        "breastmnist-test-3": "duplicate",
        "breastmnist-train-1": "duplicate_of_other_class",
        "breastmnist-test-2": "duplicate_of_other_class",
    }
    write_manifest(tmp_path / "m.csv", rows)
    assert check.check(read_manifest(tmp_path / "m.csv")).faults == ()


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    wrong = {
        "an array is missing": {name: value for name, value in arrays().items() if name != "val_labels"},
        "a label of another set": arrays() | {"test_labels": np.array([[0], [1], [2]])},
        "fewer labels than images": arrays() | {"test_labels": np.array([[0]])},
        "images of colour": arrays() | {"test_images": np.zeros((3, 28, 28, 3), np.uint8)},
        "no image": arrays((0, 0, 0)),
        "a pickle": arrays() | {"train_labels": np.array([[object()]] * 6, dtype=object)},
    }
    for what, made in wrong.items():
        with pytest.raises(SetupRefused) as refused:
            imported(tmp_path, made)
        assert refused.value.code == Code.DATASET_INVALID, what
        assert not (tmp_path / "images").exists(), what
    (tmp_path / "breastmnist.npz").write_text("no npz")
    for source in ("breastmnist.npz", "nowhere.npz"):
        with pytest.raises(SetupRefused, match="dataset_invalid"):
            import_medmnist(tmp_path / source, tmp_path, tmp_path / "images", lambda _done, _total: None)


def test_images_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    imported(tmp_path, arrays())
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        imported(tmp_path, arrays())
