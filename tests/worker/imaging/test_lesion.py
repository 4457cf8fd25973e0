"""A lesion from its files: one image, or the first thing that a person has to look at."""

from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest

from db.schema.vocabulary import AgeSource, RegionSource
from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, marked_image, picture, region, write
from worker.errors import Code, LesionRefused
from worker.imaging.lesion import Marked, RegionRefused, decode_lesions
from worker.imaging.pixels import decode_frame
from worker.imaging.study_files import StudyFiles, index_study, read_entry
from worker.study import Age, LesionImage, MarkedImage, Roi


def _index(folder: Path, *names: str) -> StudyFiles:
    return index_study(folder, names, STUDY_UID, partial(read_entry, limits=LIMITS))


def _decode(files: StudyFiles, image: MarkedImage, job_age: float | None) -> LesionImage:
    path = str(files.path_of(image.sop_instance_uid))
    decoded = decode_lesions(Marked(path, image.sop_instance_uid, image.frame, (image.roi,), job_age), LIMITS)
    (region,) = decoded.regions
    if isinstance(region, RegionRefused):
        raise LesionRefused(region.code, region.reason)
    return LesionImage(decoded.frame, region.roi, region.source, decoded.age)


def _load(path: Path, job_age: float | None = None, image_changes: dict[str, Any] | None = None) -> LesionImage:
    return _decode(_index(path.parent, path.name), marked_image(**(image_changes or {})), job_age)


def test_a_lesion_has_its_frame_its_region_and_its_age(tmp_path: Path) -> None:
    frames = np.stack([picture(seed=1), picture(seed=2)])
    path = write(tmp_path / "a.dcm", frames, NumberOfFrames=2)
    image = _load(path, image_changes={"frame": 2, "roi": Roi(3, 4, 20, 10)})
    assert np.array_equal(image.frame, picture(seed=2))
    assert (image.region, image.region_source) == (Roi(3, 4, 20, 10), RegionSource.JOB)
    assert image.age == Age(47.0, AgeSource.PATIENT_AGE)


def test_the_job_s_age_goes_first(tmp_path: Path) -> None:
    assert _load(write(tmp_path / "a.dcm", picture()), 47.6).age == Age(47.6, AgeSource.JOB)


@pytest.mark.parametrize("undefined_length", [False, True])
def test_the_b_mode_region_of_the_file_is_found(tmp_path: Path, undefined_length: bool) -> None:
    regions = [region(Roi(0, 0, 9, 9)), region(Roi(10, 5, 30, 20)), region(Roi(0, 0, 64, 48), data_type=2)]
    for item in regions:
        item.is_undefined_length_sequence_item = undefined_length
    path = write(tmp_path / "a.dcm", picture(), SequenceOfUltrasoundRegions=regions)
    image = _load(path)
    assert (image.region, image.region_source) == (Roi(10, 5, 30, 20), RegionSource.ULTRASOUND_REGION)


@pytest.mark.parametrize("modality", ["US", "OT", "", None])
def test_ultrasound_secondary_captures_and_files_without_a_modality_are_taken(
    tmp_path: Path, modality: str | None
) -> None:
    assert _load(write(tmp_path / "a.dcm", picture(), Modality=modality)).frame.shape == picture().shape


@pytest.mark.parametrize(
    ("header", "job_age", "changes", "code"),
    [
        ({"Modality": "MG"}, 47.0, {}, Code.MODALITY_NOT_ULTRASOUND),
        ({"Modality": "IVUS"}, 47.0, {}, Code.MODALITY_NOT_ULTRASOUND),
        ({"PatientAge": "000Y"}, None, {}, Code.AGE_IMPLAUSIBLE),
        ({"PatientAge": None}, None, {}, Code.AGE_MISSING),
        ({}, 60.0, {}, Code.AGE_CONTRADICTORY),
        ({}, 130.0, {}, Code.AGE_OUT_OF_RANGE),
        ({}, 47.0, {"roi": Roi(60, 0, 5, 5)}, Code.ROI_OUTSIDE_IMAGE),
        ({}, 47.0, {"frame": 2}, Code.FRAME_NOT_FOUND),
        ({}, 47.0, {"sop_instance_uid": "1.2.3"}, Code.SOP_INSTANCE_NOT_FOUND),
    ],
)
def test_a_fault_is_this_lesion_s_refusal(
    tmp_path: Path, header: dict[str, Any], job_age: float | None, changes: dict[str, Any], code: Code
) -> None:
    with pytest.raises(LesionRefused) as refused:
        _load(write(tmp_path / "a.dcm", picture(), **header), job_age, changes)
    assert refused.value.code == code


@pytest.mark.parametrize("changes", [{"roi": Roi(60, 0, 50, 50)}, {"roi": None}])
def test_age_and_region_are_checked_before_any_pixel_is_decoded(
    tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object) -> None:
        pytest.fail("a pixel was decoded")

    monkeypatch.setattr("worker.imaging.lesion.decode_frame", decoded)
    with pytest.raises(LesionRefused, match=r"roi_outside_image|age_contradictory"):
        _load(write(tmp_path / "a.dcm", picture()), 47.0 if changes["roi"] else 70.0, changes)


@pytest.mark.parametrize("colour", [False, True])
def test_a_region_of_one_value_has_nothing_to_score_though_its_surroundings_have(tmp_path: Path, colour: bool) -> None:
    frame = picture(colour=colour)
    frame[10:20, 10:20] = frame[10, 10]
    path = write(tmp_path / "a.dcm", frame)
    with pytest.raises(LesionRefused, match="pixels_uniform"):
        _load(path, image_changes={"roi": Roi(10, 10, 10, 10)})
    assert _load(path, image_changes={"roi": Roi(10, 10, 30, 30)}).region == Roi(10, 10, 30, 30)


def test_a_file_that_was_replaced_since_it_was_indexed_is_not_taken_for_the_first(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", picture())
    files = _index(tmp_path, "a.dcm")
    write(path, picture(), SOPInstanceUID=SOP_UID + "9")
    with pytest.raises(LesionRefused, match="sop_instance_not_found"):
        _decode(files, marked_image(), 47.0)


def test_a_lesion_s_refusal_is_its_own_and_its_neighbour_is_loaded(tmp_path: Path) -> None:
    write(tmp_path / "a.dcm", picture())
    (tmp_path / "b.dcm").write_bytes(b"not DICOM")
    files = _index(tmp_path, "b.dcm", "a.dcm")
    with pytest.raises(LesionRefused, match="file_not_dicom"):
        _decode(files, marked_image(sop_instance_uid="1.2.3"), 47.0)
    assert _decode(files, marked_image(), 47.0).age.years == 47.0


def test_the_lesions_of_a_frame_are_loaded_together_and_each_has_its_own_region_or_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = picture()
    frame[30:40, 30:40] = 7
    path = write(tmp_path / "a.dcm", frame)
    inside, outside, uniform = Roi(3, 4, 20, 10), Roi(60, 0, 50, 50), Roi(30, 30, 10, 10)
    decoding = Mock(wraps=decode_frame)
    monkeypatch.setattr("worker.imaging.lesion.decode_frame", decoding)
    decoded = decode_lesions(Marked(str(path), SOP_UID, 1, (outside, inside, uniform, None), 47.0), LIMITS)
    said = [one.code if isinstance(one, RegionRefused) else (one.roi, one.source) for one in decoded.regions]
    assert said == [
        Code.ROI_OUTSIDE_IMAGE,
        (inside, RegionSource.JOB),
        Code.PIXELS_UNIFORM,
        (Roi(0, 0, 64, 48), RegionSource.WHOLE_IMAGE),
    ]
    assert decoding.call_count == 1
