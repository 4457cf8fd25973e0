"""Pictures of lesions, read back by pydicom, and looked at."""

from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

from tests.worker.reporting.conftest import Dciodvfy
from tests.worker.reporting.samples import (
    COLUMNS,
    LIMITS,
    ROWS,
    failed,
    mixed,
    scored,
    source_of,
    study,
    uncertain,
    write_image,
)
from worker.clinical.restratify import UNCERTAIN
from worker.errors import Code, ModelRefused, StudyRefused
from worker.imaging.decoder_pool import DecoderPool
from worker.imaging.heat_map import HeatMap
from worker.reporting.documents import Camera, Kind, documents_of
from worker.reporting.frames import frame_reader
from worker.reporting.lesion_picture import PANEL, lines_of
from worker.reporting.result import LesionResult, ModelScore, StudyResult
from worker.reporting.secondary_capture import secondary_capture
from worker.study import Roi


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    pool = DecoderPool(LIMITS, 1, 60.0)
    yield Camera(frame_reader(pool))
    pool.close()


YELLOW = [255, 220, 0]


def picture(result: StudyResult, root: Path, **heats: HeatMap) -> Dataset:
    frame = np.full((ROWS, COLUMNS), 60, np.uint8)
    return secondary_capture(result, result.lesions[0], source_of(result, root), frame, heats)


def heat_at(row: int, column: int) -> HeatMap:
    values = np.zeros((ROWS, COLUMNS), np.float32)
    values[row, column] = 1
    return HeatMap(values, Roi(0, 0, COLUMNS, ROWS), grey=True, cells=7)


def test_the_frame_is_there_with_the_region_outlined_and_text_beside_it(tmp_path: Path) -> None:
    result = study(scored(write_image(tmp_path / "a.dcm")))
    made = picture(result, tmp_path)
    pixels = made.pixel_array
    assert pixels.shape[1] == COLUMNS + PANEL
    assert pixels[19, 9].tolist() == pixels[60, 40].tolist() == pixels[30, 9].tolist() == YELLOW
    assert (pixels[20:60, 10:40] == 60).all()
    assert (pixels[:, COLUMNS:] > 100).any()
    assert (pixels[ROWS:, :COLUMNS] == 0).all()


def test_a_region_that_is_the_whole_frame_is_outlined_inside_of_it(tmp_path: Path) -> None:
    result = study(scored(write_image(tmp_path / "a.dcm"), region=(0, 0, COLUMNS, ROWS)))
    pixels = picture(result, tmp_path).pixel_array
    assert pixels[0, 0].tolist() == pixels[ROWS - 1, COLUMNS - 1].tolist() == YELLOW
    assert pixels[ROWS // 2, COLUMNS // 2].tolist() == [60, 60, 60]


def test_the_heat_of_each_model_is_on_a_copy_of_the_frame_of_its_own(tmp_path: Path) -> None:
    result = study(scored(write_image(tmp_path / "a.dcm")))
    made = picture(result, tmp_path, DLR_LH=heat_at(5, 7), DLR_BM=heat_at(6, 9))
    pixels = made.pixel_array
    assert pixels.shape[1] == 3 * COLUMNS + PANEL
    grey, hot = [60, 60, 60], [167, 167, 27]
    at = {(row, column): pixels[row, column::COLUMNS][:3].tolist() for row, column in ((5, 7), (6, 9), (8, 8))}
    assert at == {(5, 7): [grey, hot, grey], (6, 9): [grey, grey, hot], (8, 8): [grey, grey, grey]}
    assert made.DerivationDescription.count("Grad-CAM of DLR_") == 2


def test_a_picture_of_other_heats_is_another_instance_of_the_same_series(tmp_path: Path) -> None:
    result = study(scored(write_image(tmp_path / "a.dcm")))
    lh, bm = {"DLR_LH": heat_at(5, 7)}, {"DLR_BM": heat_at(5, 7)}
    made = [picture(result, tmp_path, **heats) for heats in ({}, lh, bm, lh | bm)]
    assert len({one.SOPInstanceUID for one in made}) == 4
    assert len({one.SeriesInstanceUID for one in made}) == 1
    assert picture(result, tmp_path, **lh, **bm).SOPInstanceUID == made[3].SOPInstanceUID


def test_each_copy_is_explained_by_its_place_and_what_weighed_for_what(tmp_path: Path) -> None:
    lesion = scored(write_image(tmp_path / "a.dcm"))
    written = " ".join(line for line, _ in lines_of(study(lesion), lesion, ("DLR_LH", "DLR_BM")))
    assert "Picture 2, in red to yellow: what weighed   for high risk in DLR_LH" in written
    assert "Picture 3, in red to yellow: what weighed   for malignant in DLR_BM" in written
    assert "Picture" not in " ".join(line for line, _ in lines_of(study(lesion), lesion))


def test_it_says_what_it_was_made_from_and_whose_it_is(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    source = source_of(result, tmp_path)
    made = secondary_capture(result, result.lesions[1], source, np.zeros((ROWS, COLUMNS, 3), np.uint8))
    (origin,) = made.SourceImageSequence
    assert (origin.ReferencedSOPInstanceUID, origin.ReferencedFrameNumber) == (result.lesions[1].sop_instance_uid, 3)
    assert (made.PatientID, made.StudyInstanceUID, made.Modality) == ("P-1", result.study_instance_uid, "OT")
    assert made.ImageType == ["DERIVED", "SECONDARY"]


@pytest.mark.parametrize(("said", "wanted"), [("NO", "NO"), ("YES", "YES"), ("", "YES")])
def test_only_a_frame_that_is_free_of_annotation_makes_a_picture_that_is(
    tmp_path: Path, said: str, wanted: str
) -> None:
    sop = write_image(tmp_path / "a.dcm")
    image = dcmread(tmp_path / "a.dcm")
    image.BurnedInAnnotation = said
    image.save_as(tmp_path / "a.dcm")
    assert picture(study(scored(sop)), tmp_path).BurnedInAnnotation == wanted


def test_what_was_compressed_with_loss_stays_so(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm", transfer_syntax=JPEGBaseline8Bit)
    assert picture(study(scored(sop)), tmp_path).LossyImageCompression == "01"
    sop = write_image(tmp_path / "a.dcm", transfer_syntax=ExplicitVRLittleEndian)
    assert "LossyImageCompression" not in picture(study(scored(sop)), tmp_path)


def test_nothing_that_names_anybody_is_drawn(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    one, other = (study(scored(sop, lesion_id=name), accession_number=name) for name in ("L1", "Mrs Miller"))
    assert (picture(one, tmp_path).pixel_array == picture(other, tmp_path).pixel_array).all()


@pytest.mark.parametrize(
    ("birads", "outcome", "recommended", "said"),
    [
        ("4A", "downgraded", "3", "Recommended by DLR: 3 (downgraded)"),
        ("4A", "upgraded", ">4A", "Recommended by DLR: >4A (upgraded)"),
        ("2", "not_applicable", "2", "Recommended by DLR: nothing, since it is not 4A"),
    ],
)
def test_a_category_is_recommended_for_a_4a_lesion_alone(
    birads: str, outcome: str, recommended: str, said: str, tmp_path: Path
) -> None:
    lesion = scored(write_image(tmp_path / "a.dcm"), birads=birads, outcome=outcome, recommended=recommended)
    assert said in [line for line, _ in lines_of(study(lesion), lesion)]


def test_where_the_models_are_not_certain_the_picture_says_so(tmp_path: Path) -> None:
    lesion = uncertain(write_image(tmp_path / "a.dcm"))
    written = [line for line, _ in lines_of(study(lesion), lesion)]
    assert UNCERTAIN in " ".join(written)
    assert "Recommended by DLR: 4A (maintained)" in written
    assert ("DLR_BM 1.0: benign, not certain" in written, "DLR_LH 1.0: low risk" in written) == (True, True)
    sure = scored(lesion.sop_instance_uid)
    assert not any("certain" in line for line, _ in lines_of(study(sure), sure))


def test_a_score_just_under_its_threshold_is_not_written_as_if_it_reached_it(tmp_path: Path) -> None:
    lesion = scored(write_image(tmp_path / "a.dcm"), lh=0.49998, bm=0.99999)
    written = [line.strip() for line, _ in lines_of(study(lesion), lesion)]
    assert "high risk 0.49998, from 0.5 on" in written
    assert "malignant > 0.999, from 0.5 on" in written


def test_there_is_a_picture_of_each_lesion_that_was_scored(camera: Camera, tmp_path: Path) -> None:
    result = mixed(tmp_path)
    documents = documents_of(Kind.SC, result, source_of(result, tmp_path), camera)
    assert [one.name for one in documents] == [f"{result.study_id}.{place}.sc.dcm" for place in (1, 2)]
    frame = dcmread(tmp_path / "b.dcm").pixel_array[2]
    pixels = dcmread(BytesIO(documents[1].content)).pixel_array
    assert (pixels[1 : ROWS - 1, 1 : COLUMNS - 1, 0] == frame[1:-1, 1:-1]).all()
    nothing = replace(result, lesions=(failed(result.lesions[0].sop_instance_uid),))
    with pytest.raises(StudyRefused) as refusal:
        documents_of(Kind.SC, nothing, source_of(nothing, tmp_path), camera)
    assert refusal.value.code is Code.RESULT_MISSING


def test_a_model_that_can_not_say_where_it_looked_is_left_out(camera: Camera, tmp_path: Path) -> None:
    def look(_lesion: LesionResult, score: ModelScore, frame: np.ndarray) -> HeatMap:
        if score.model == "DLR_BM":
            raise ModelRefused(Code.MODEL_NOT_FOUND)
        assert frame.shape == (ROWS, COLUMNS)
        return heat_at(5, 7)

    result = mixed(tmp_path)
    documents = documents_of(Kind.SC, result, source_of(result, tmp_path), Camera(camera.frames, look))
    made = [dcmread(BytesIO(document.content)) for document in documents]
    assert [one.Columns for one in made] == [2 * COLUMNS + PANEL] * 2
    assert all(one.DerivationDescription.endswith("Grad-CAM of DLR_LH; the scores beside it") for one in made)


def test_dciodvfy_finds_no_error(dciodvfy: Dciodvfy, camera: Camera, tmp_path: Path) -> None:
    result = mixed(tmp_path)
    documents = documents_of(Kind.SC, result, source_of(result, tmp_path), camera)
    (tmp_path / "sc.dcm").write_bytes(documents[1].content)
    assert dciodvfy(tmp_path / "sc.dcm", "SCImage") == []
