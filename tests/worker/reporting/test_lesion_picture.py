"""Pictures of a lesion in several images, read back by pydicom, and looked at."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from tests.worker.reporting.conftest import Dciodvfy
from tests.worker.reporting.samples import (
    COLUMNS,
    LIMITS,
    ROWS,
    image_of,
    in_several_images,
    scored,
    source_of,
    study,
    write_image,
)
from worker.imaging.decoder_pool import DecoderPool
from worker.imaging.heat_map import HeatMap
from worker.reporting.documents import Camera, Kind, documents_of
from worker.reporting.frames import frame_reader
from worker.reporting.lesion_picture import IN_A_ROW, LARGEST, PANEL, Shown, drawn_side_by_side, lines_of
from worker.reporting.result import LesionResult, ModelScore
from worker.reporting.secondary_capture import secondary_capture_of_images
from worker.study import Roi

YELLOW = [255, 220, 0]


@pytest.fixture(scope="module")
def camera() -> Iterator[Camera]:
    pool = DecoderPool(LIMITS, 1, 60.0)
    yield Camera(frame_reader(pool))
    pool.close()


def test_all_images_are_side_by_side_with_the_text_above_and_their_scores_below(
    camera: Camera, dciodvfy: Dciodvfy, tmp_path: Path
) -> None:
    result = in_several_images(tmp_path)
    source = source_of(result, tmp_path)
    first, second = documents_of(Kind.SC, result, source, camera)
    made = dcmread(BytesIO(first.content))
    pixels = made.pixel_array
    assert pixels.shape[1] == 3 * PANEL
    frames = (dcmread(tmp_path / "a.dcm").pixel_array, dcmread(tmp_path / "b.dcm").pixel_array[2])
    insides = ((slice(20, 60), slice(10, 40)), (slice(6, 86), slice(5, 75)))
    [top] = {
        place
        for place in range(len(pixels) - ROWS)
        if all(
            (pixels[place : place + ROWS, left : left + COLUMNS, 0][inside] == frame[inside]).all()
            for left, frame, inside in zip((0, PANEL), frames, insides, strict=True)
        )
    }
    assert pixels[top + 19, 9].tolist() == pixels[top + 5, PANEL + 4].tolist() == YELLOW
    assert (pixels[:top, :PANEL] > 100).any()
    assert (pixels[top + ROWS :, PANEL : 2 * PANEL] > 100).any()
    origins = [(one.ReferencedSOPInstanceUID, one.get("ReferencedFrameNumber")) for one in made.SourceImageSequence]
    scored_images = result.lesions[0].images[:2]
    assert [sop for sop, _ in origins] == [image.sop_instance_uid for image in scored_images]
    assert origins[1][1] == 3
    (tmp_path / "sc.dcm").write_bytes(first.content)
    assert dciodvfy(tmp_path / "sc.dcm", "SCImage") == []
    assert dcmread(BytesIO(second.content)).Columns == COLUMNS + PANEL


def test_the_text_above_says_how_many_images_count_and_that_they_disagree(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    written = [line for line, _ in lines_of(result, result.lesions[0])]
    assert "Scored together: 2 of its 3 images" in written
    assert {"  DLR_LH: up to 0.125 apart", "  DLR_BM: up to 0.625 apart"} <= set(written)
    assert "The images lie on both sides of a threshold." in written
    assert not any("image" in line.lower() for line, _ in lines_of(result, result.lesions[1]))


def test_many_images_stand_in_rows_and_are_drawn_smaller(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    frame = np.full((LARGEST // 2, LARGEST), 60, np.uint8)

    def size(images: int) -> tuple[int, int]:
        lesion = scored(sop, images=tuple(image_of(sop, place) for place in range(1, images + 1)))
        shown = [Shown(image, frame) for image in lesion.images]
        height, width, _ = drawn_side_by_side(study(lesion), lesion, shown).shape
        return height, width

    assert size(IN_A_ROW)[1] == IN_A_ROW * LARGEST
    assert size(IN_A_ROW + 1)[1] == IN_A_ROW * LARGEST // 2
    assert size(2 * IN_A_ROW) == size(IN_A_ROW + 1)
    assert size(2 * IN_A_ROW + 1)[0] > size(2 * IN_A_ROW)[0]


def test_where_models_looked_is_drawn_on_each_image_with_that_images_own_score(camera: Camera, tmp_path: Path) -> None:
    asked: list[tuple[str, float]] = []

    def look(lesion: LesionResult, score: ModelScore, frame: np.ndarray) -> HeatMap:
        asked.append((score.model, score.positive_probability))
        assert lesion.region is not None
        return HeatMap(np.zeros(frame.shape, np.float32), Roi(*lesion.region), grey=True, cells=7)

    result = in_several_images(tmp_path)
    source = source_of(result, tmp_path)
    documents = [documents_of(Kind.SC, result, source, one)[0] for one in (Camera(camera.frames, look), camera)]
    made, plain = (dcmread(BytesIO(document.content)) for document in documents)
    assert asked[:4] == [("DLR_LH", 0.75), ("DLR_BM", 0.25), ("DLR_LH", 0.625), ("DLR_BM", 0.875)]
    assert "Grad-CAM" in made.DerivationDescription
    assert made.SOPInstanceUID != plain.SOPInstanceUID


def test_only_frames_that_are_all_free_of_annotation_make_a_picture_that_is(tmp_path: Path) -> None:
    for said, wanted in ((("NO", "NO"), "NO"), (("NO", "YES"), "YES"), (("NO", ""), "YES")):
        sops = []
        for name, annotation in zip(("a.dcm", "b.dcm"), said, strict=True):
            sops.append(write_image(tmp_path / name))
            image = dcmread(tmp_path / name)
            image.BurnedInAnnotation = annotation
            image.save_as(tmp_path / name)
        images = tuple(image_of(sop, place) for place, sop in enumerate(sops, start=1))
        lesion = scored(sops[0], images=images)
        result = study(lesion, paths=("a.dcm", "b.dcm"))
        shown = [Shown(image, np.zeros((ROWS, COLUMNS), np.uint8)) for image in images]
        made = secondary_capture_of_images(result, lesion, source_of(result, tmp_path), shown)
        assert made.BurnedInAnnotation == wanted
