"""BUSI's layout: folders by class with masks, what is there twice, and images of the axilla."""

from pathlib import Path

import pytest
from PIL import Image

from tests.worker.dataset.manifests import picture, save_mask, save_picture
from worker.dataset.importers.busi import LAYOUT, import_busi
from worker.dataset.importers.imported_dataset import Imported
from worker.errors import Code, SetupRefused


def quiet(_done: int, _total: int) -> None:
    pass


def add(folder: Path, name: str, number: int, *, seed: int | None = None, masks: int = 1) -> Path:
    """An image of BUSI: RGB with three equal channels, as published, and its masks."""
    image = folder / name / f"{name} ({number}).png"
    save_picture(image, seed if seed is not None else hash_of(name, number))
    Image.open(image).convert("RGB").save(image)
    for mask in range(masks):
        ending = f"_mask_{mask}" if mask else "_mask"
        save_mask(image.with_name(f"{image.stem}{ending}.png"), 5 + 20 * mask, 7, 12, 10)
    return image


def hash_of(name: str, number: int) -> int:
    return sum(map(ord, name)) * 1000 + number


def found(imported: Imported) -> list[tuple[str, str, str | None]]:
    return [(Path(row.image).name, row.lesion_id, row.excluded) for row in imported.rows]


@pytest.fixture
def busi(tmp_path: Path) -> Path:
    folder = tmp_path / "Dataset_BUSI_with_GT"
    add(folder, "benign", 1)
    add(folder, "benign", 2, masks=2)
    add(folder, "benign", 10)
    add(folder, "malignant", 1)
    add(folder, "normal", 1)
    return folder


def test_the_published_layout_becomes_rows(busi: Path, tmp_path: Path) -> None:
    imported = import_busi(tmp_path, tmp_path, quiet)
    assert found(imported) == [
        ("benign (1).png", "1", None),
        ("benign (2).png", "1", None),
        ("benign (2).png", "2", None),
        ("benign (10).png", "1", None),
        ("malignant (1).png", "1", None),
        ("normal (1).png", "1", "no_lesion"),
    ]
    one = imported.rows[2]
    assert one.image == "Dataset_BUSI_with_GT/benign/benign (2).png"
    assert one.mask == "Dataset_BUSI_with_GT/benign/benign (2)_mask_1.png"
    assert (one.pathology, one.patient_key, one.age_years, one.birads) == ("benign", "busi-benign-2", None, None)
    assert [row.malignant for row in imported.rows] == [False, False, False, False, True, None]
    assert imported.rows[1].patient_key == one.patient_key


def test_the_folder_itself_may_be_named(busi: Path, tmp_path: Path) -> None:
    assert found(import_busi(busi, tmp_path, quiet)) == found(import_busi(tmp_path, tmp_path, quiet))


def test_an_image_that_is_there_twice_is_kept_once(busi: Path, tmp_path: Path) -> None:
    add(busi, "benign", 3, seed=hash_of("benign", 1))
    save = busi / "benign" / "benign (4).png"
    Image.fromarray(picture()).save(busi / "benign" / "benign (10).png")
    Image.open(busi / "benign" / "benign (10).png").resize((96, 72)).save(save)
    Image.open(busi / "benign" / "benign (10)_mask.png").resize((96, 72)).save(save.with_name("benign (4)_mask.png"))
    left_out = {name: reason for name, _, reason in found(import_busi(busi, tmp_path, quiet)) if reason}
    assert left_out == {
        "benign (3).png": "duplicate", "benign (10).png": "duplicate", "normal (1).png": "no_lesion",
    }  # fmt: skip


def test_an_image_in_two_classes_is_left_out_of_both(busi: Path, tmp_path: Path) -> None:
    add(busi, "malignant", 2, seed=hash_of("benign", 1))
    add(busi, "normal", 2, seed=hash_of("malignant", 1))
    left_out = {name: reason for name, _, reason in found(import_busi(busi, tmp_path, quiet)) if reason}
    assert left_out == {
        "benign (1).png": "duplicate_of_other_class",
        "malignant (2).png": "duplicate_of_other_class",
        "malignant (1).png": "duplicate_of_other_class",
        "normal (2).png": "duplicate_of_other_class",
        "normal (1).png": "no_lesion",
    }


def test_images_of_the_axilla_are_left_out(busi: Path, tmp_path: Path) -> None:
    for name, number in (("benign", 199), ("benign", 306), ("malignant", 148), ("malignant", 199)):
        add(busi, name, number)
    left_out = {name: reason for name, _, reason in found(import_busi(busi, tmp_path, quiet)) if reason == "axilla"}
    assert set(left_out) == {"benign (199).png", "benign (306).png", "malignant (148).png"}


def test_a_malignant_image_of_several_lesions_does_not_say_which_is(busi: Path, tmp_path: Path) -> None:
    add(busi, "malignant", 2, masks=2)
    assert ("malignant (2).png", "1", "label_not_of_one_lesion") in found(import_busi(busi, tmp_path, quiet))


def test_what_can_not_be_used_is_left_out_with_its_reason(busi: Path, tmp_path: Path) -> None:
    add(busi, "benign", 20, masks=0)
    save_mask(add(busi, "benign", 21).with_name("benign (21)_mask.png"), 0, 0, 0, 0)
    save_mask(add(busi, "benign", 22).with_name("benign (22)_mask.png"), 1, 1, 5, 5, rows=99)
    add(busi, "benign", 23).write_bytes(b"no picture")
    left_out = {name: reason for name, _, reason in found(import_busi(busi, tmp_path, quiet)) if reason}
    assert left_out == {
        "benign (20).png": "mask_missing",
        "benign (21).png": "mask_unusable",
        "benign (22).png": "mask_unusable",
        "benign (23).png": "image_unreadable",
        "normal (1).png": "no_lesion",
    }


def test_another_folder_is_refused_and_images_outside_of_the_root_too(busi: Path, tmp_path: Path) -> None:
    for source, root in ((tmp_path / "nowhere", tmp_path), (busi, busi / "benign")):
        with pytest.raises(SetupRefused) as refused:
            import_busi(source, root, quiet)
        assert refused.value.code == Code.DATASET_INVALID


def test_images_and_masks_of_a_class_may_be_in_folders_of_their_own(tmp_path: Path) -> None:
    folder = tmp_path / "benign"
    for image in (add(tmp_path, "benign", 1), add(tmp_path, "benign", 2, masks=2)):
        for path in folder.glob(f"{image.stem}*.png"):
            inner = folder / ("images" if path == image else "mask")
            inner.mkdir(exist_ok=True)
            path.rename(inner / path.name)
    (folder / "mask" / "benign (1)_mask.png").rename(folder / "mask" / "benign (1).png")
    rows = import_busi(tmp_path, tmp_path, quiet).rows
    assert [(row.image, row.mask, row.excluded) for row in rows] == [
        ("benign/images/benign (1).png", "benign/mask/benign (1).png", None),
        ("benign/images/benign (2).png", "benign/mask/benign (2)_mask.png", None),
        ("benign/images/benign (2).png", "benign/mask/benign (2)_mask_1.png", None),
    ]


def test_folders_without_an_image_are_refused_by_the_layout(tmp_path: Path) -> None:
    (tmp_path / "benign").mkdir()
    add(tmp_path, "normal", 1)
    with pytest.raises(SetupRefused) as refused:
        import_busi(tmp_path, tmp_path, quiet)
    assert LAYOUT in refused.value.reason
