"""The pixels of a row: what the service would read, and every way in which they can be wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.worker.dataset.manifests import ROI, row, save_mask, save_picture
from tests.worker.imaging.dicom_files import dataset, picture, region
from worker.dataset.manifest import ManifestRow
from worker.dataset.manifest_image import read_lesion
from worker.errors import Code, LesionRefused
from worker.image_access import DEFAULT_LIMITS, Limits
from worker.study import Roi

PLACE = Roi(10, 8, 24, 16)


def refusal(root: Path, one: ManifestRow, limits: Limits = DEFAULT_LIMITS) -> Code:
    with pytest.raises(LesionRefused) as refused:
        read_lesion(root, one, limits)
    return refused.value.code


def save_dicom(path: Path, pixels: Any, **elements: Any) -> Path:
    dataset(pixels, **elements).save_as(path, enforce_file_format=True)
    return path


@pytest.mark.parametrize(("suffix", "mode"), [("png", "L"), ("png", "RGB"), ("tif", "L"), ("jpg", "RGB")])
def test_a_picture_is_read_as_it_is_stored(tmp_path: Path, suffix: str, mode: str) -> None:
    pixels = picture(colour=mode == "RGB")
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", quality=95)
    lesion = read_lesion(tmp_path, row(image=f"a.{suffix}"))
    assert (lesion.frame.shape, lesion.frame.dtype, lesion.region, lesion.age_years) == (
        pixels.shape, np.uint8, PLACE, 47,
    )  # fmt: skip
    if suffix != "jpg":
        assert (lesion.frame == pixels).all()


def test_what_a_file_is_is_told_by_its_content_and_not_by_its_name(tmp_path: Path) -> None:
    save_dicom(tmp_path / "a.png", picture())
    Image.fromarray(picture(seed=2)).save(tmp_path / "b.png")
    (tmp_path / "b.png").rename(tmp_path / "b.dcm")
    assert (read_lesion(tmp_path, row(image="a.png")).frame == picture()).all()
    assert (read_lesion(tmp_path, row(image="b.dcm")).frame == picture(seed=2)).all()


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1"])
def test_palettes_and_alpha_become_grey_or_rgb(tmp_path: Path, mode: str) -> None:
    Image.fromarray(picture(colour=True)).convert("L").convert("RGB").convert(mode if mode != "LA" else "L").convert(
        mode
    ).save(tmp_path / "1.png")
    assert read_lesion(tmp_path, row()).frame.shape == ((48, 64, 3) if mode in ("P", "RGBA") else (48, 64))


def test_without_a_rectangle_it_is_the_b_mode_region_or_the_whole_image(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    save_dicom(tmp_path / "2.dcm", picture(), SequenceOfUltrasoundRegions=[region(Roi(4, 5, 40, 30))])
    assert read_lesion(tmp_path, row(roi=None)).region == Roi(0, 0, 64, 48)
    assert read_lesion(tmp_path, row(roi=None, image="2.dcm")).region == Roi(4, 5, 40, 30)


def test_a_masks_rectangle_holds_all_that_it_marks(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    save_mask(tmp_path / "mask.png", 5, 7, 20, 10)
    assert read_lesion(tmp_path, row(roi=None, mask="mask.png")).region == Roi(5, 7, 20, 10)
    ones = np.asarray(Image.open(tmp_path / "mask.png")) // 255
    Image.fromarray(ones).save(tmp_path / "ones.png")
    Image.fromarray(np.stack([ones * 255] * 3, axis=-1)).save(tmp_path / "colour.png")
    for name in ("ones.png", "colour.png"):
        assert read_lesion(tmp_path, row(roi=None, mask=name)).region == Roi(5, 7, 20, 10)


def test_a_mask_that_can_not_be_one_is_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    save_mask(tmp_path / "empty.png", 0, 0, 0, 0)
    save_mask(tmp_path / "other.png", 5, 7, 20, 10, rows=49)
    (tmp_path / "text.png").write_text("no picture")
    for name in ("empty.png", "other.png", "text.png", "nowhere.png"):
        assert refusal(tmp_path, row(roi=None, mask=name)) == Code.MASK_INVALID


def test_a_dicom_files_age_is_taken_where_the_row_has_none(tmp_path: Path) -> None:
    save_dicom(tmp_path / "1.png", picture(), PatientAge="047Y")
    assert read_lesion(tmp_path, row(age_years=None)).age_years == 47
    assert read_lesion(tmp_path, row(age_years=47.5)).age_years == 47.5
    assert refusal(tmp_path, row(age_years=30)) == Code.AGE_CONTRADICTORY
    save_dicom(tmp_path / "1.png", picture(), PatientAge="")
    assert read_lesion(tmp_path, row(age_years=None)).age_years is None


def test_a_frame_of_several_is_the_one_that_is_named(tmp_path: Path) -> None:
    frames = np.stack([picture(seed=seed) for seed in range(3)])
    save_dicom(tmp_path / "1.dcm", frames, NumberOfFrames=3)
    first, *others = [Image.fromarray(frame) for frame in frames]
    first.save(tmp_path / "1.tif", save_all=True, append_images=others)
    for name in ("1.dcm", "1.tif"):
        assert (read_lesion(tmp_path, row(image=name, frame=2)).frame == frames[1]).all()
        assert refusal(tmp_path, row(image=name)) == Code.FRAME_NOT_GIVEN
        assert refusal(tmp_path, row(image=name, frame=4)) == Code.FRAME_NOT_FOUND


def test_what_can_not_be_read_is_refused_by_its_code(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture " * 30)
    whole = save_picture(tmp_path / "whole.png", 1).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((48, 64), 9, np.uint8)).save(tmp_path / "flat.png")
    Image.fromarray(np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)).save(tmp_path / "deep.png")
    save_dicom(tmp_path / "ct.dcm", picture(), Modality="CT")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "out.png").symlink_to("/etc/hostname")
    found = {name: refusal(tmp_path, row(image=f"{name}")) for name in (
        "text.png", "cut.png", "flat.png", "deep.png", "ct.dcm", "folder.png", "out.png", "nowhere.png",
    )}  # fmt: skip
    assert found == {
        "text.png": Code.PIXELS_UNDECODABLE,
        "cut.png": Code.PIXELS_UNDECODABLE,
        "flat.png": Code.PIXELS_UNIFORM,
        "deep.png": Code.PHOTOMETRIC_UNSUPPORTED,
        "ct.dcm": Code.MODALITY_NOT_ULTRASOUND,
        "folder.png": Code.FILE_NOT_REGULAR,
        "out.png": Code.PATH_OUTSIDE_STORAGE,
        "nowhere.png": Code.FILE_NOT_FOUND,
    }


def test_a_rectangle_outside_of_the_image_is_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    assert refusal(tmp_path, row(roi=ROI | {"x": 50})) == Code.ROI_OUTSIDE_IMAGE


def test_sizes_are_looked_at_before_pixels(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    assert refusal(tmp_path, row(), Limits(1 << 20, 100)) == Code.PIXELS_TOO_LARGE
    assert refusal(tmp_path, row(), Limits(100, 1 << 20)) == Code.FILE_TOO_LARGE
