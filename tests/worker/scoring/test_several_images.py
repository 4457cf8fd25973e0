"""From a job of version 2 to one advice on a lesion: by its two planes, by one where the other is damaged, by none."""

from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID
from weakref import ref

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import text

from db.reads.study_results import study_results
from tests.worker.scoring.test_pipeline import (
    SimulatedDevice,
    decoders,
    detail,
    device,
    pipeline,
    queued,
    sessions,
    state,
)
from worker.demo.dicom import Header, write_ultrasound
from worker.errors import Code, ImagesRefused, LesionRefused
from worker.scoring.pipeline import Pipeline
from worker.study import Scores

__all__ = ["decoders", "device", "pipeline", "sessions"]
"""Fixtures."""

BRIGHT, DIM = 240, 20
"""Greys, which are scores to a simulated device: their mean is above the threshold of 0.5."""


@pytest.fixture
def planes(pipeline: Pipeline) -> dict[str, Any]:
    """A study on disk: a lesion in two planes, a file each, of which one is bright and one is dim."""
    uid = generate_uid()
    images = []
    for name, grey, plane in (("a.dcm", BRIGHT, "radial"), ("b.dcm", DIM, "antiradial")):
        frame = np.full((60, 100), grey, np.uint8)
        frame[::2] += 5
        header = Header(uid, "Doe^Jane", "P1", "A1", "20261123", patient_age="047Y")
        sop = write_ultrasound(pipeline.source.storage_root / name, header, [frame], ExplicitVRLittleEndian)
        roi = {"x": 5, "y": 5, "width": 30, "height": 40}
        images.append({"sop_instance_uid": sop, "plane": plane, "roi": roi})
    return {
        "schema_version": 2,
        "study_instance_uid": uid,
        "images": {"kind": "files", "paths": ["a.dcm", "b.dcm"]},
        "lesions": [{"lesion_id": "L1", "birads": "4A", "images": images, "laterality": "left", "clock_position": 3}],
    }


def damage(pipeline: Pipeline, *names: str) -> None:
    for name in names:
        path = pipeline.source.storage_root / name
        path.write_bytes(path.read_bytes()[:-100])


def row(pipeline: Pipeline, study_id: UUID) -> dict[str, Any]:
    with pipeline.books.sessions() as session:
        found = session.execute(text("SELECT * FROM lesion_result WHERE study_id = :id"), {"id": study_id})
        return dict(found.mappings().one())


def test_a_lesion_in_two_planes_has_one_score_and_one_advice(pipeline: Pipeline, planes: dict[str, Any]) -> None:
    study_id = queued(pipeline, planes)
    assert state(pipeline.run(study_id)) == "done"
    [lesion] = detail(pipeline, study_id).lesions
    greys = (BRIGHT + 2.5) / 255, (DIM + 2.5) / 255
    assert (lesion.outcome, len(lesion.predictions)) == ("upgraded", 2)
    assert lesion.predictions[0].positive_probability == pytest.approx(sum(greys) / 2)
    assert [(image.plane, image.state) for image in lesion.images] == [("radial", "scored"), ("antiradial", "scored")]
    assert [image.predictions[0].positive_probability for image in lesion.images] == pytest.approx(greys)
    said = row(pipeline, study_id)
    assert (said["images"], said["images_refused"], said["views_disagree"]) == (2, 0, True)
    assert (said["laterality"], said["clock_position"]) == ("left", 3)
    assert said["malignant_spread"] == pytest.approx(greys[0] - greys[1])


def test_with_one_plane_damaged_it_is_scored_by_the_other_and_says_so(
    pipeline: Pipeline, planes: dict[str, Any]
) -> None:
    damage(pipeline, "b.dcm")
    study_id = queued(pipeline, planes)
    assert state(pipeline.run(study_id)) == "done"
    stored = detail(pipeline, study_id)
    [lesion] = stored.lesions
    assert (lesion.state, lesion.error_code, lesion.outcome) == ("scored", None, "upgraded")
    assert [(image.state, image.error_code) for image in lesion.images] == [
        ("scored", None),
        ("failed", "file_truncated"),
    ]
    assert lesion.predictions[0].positive_probability == pytest.approx((BRIGHT + 2.5) / 255)
    assert stored.events[-1].detail["images_refused"] == 1
    assert (row(pipeline, study_id)["images_refused"], row(pipeline, study_id)["views_disagree"]) == (1, False)
    with pipeline.books.sessions() as session:
        [result] = study_results(session, study_id)
    assert (result.lesions[0].images_refused, len(result.lesions[0].images)) == (1, 2)


def test_with_the_first_plane_damaged_a_document_shows_the_second(pipeline: Pipeline, planes: dict[str, Any]) -> None:
    damage(pipeline, "a.dcm")
    study_id = queued(pipeline, planes)
    assert state(pipeline.run(study_id)) == "done"
    with pipeline.books.sessions() as session:
        [result] = study_results(session, study_id)
    [lesion] = result.lesions
    assert (lesion.sop_instance_uid, lesion.region) == (lesion.images[1].sop_instance_uid, (5, 5, 30, 40))
    assert lesion.outcome == "downgraded"


def test_an_image_that_was_read_and_not_scored_is_not_what_a_document_shows_first(
    pipeline: Pipeline, planes: dict[str, Any], device: SimulatedDevice
) -> None:
    first_refused = LesionRefused(Code.SCORES_NOT_FINITE)

    class Picky:
        @contextmanager
        def arriving(self, study_instance_uid: str, /) -> Iterator["Picky"]:
            with device.arriving(study_instance_uid):
                yield self

        @staticmethod
        def submit(images: Any, priority: Any) -> Any:
            future: Future[Scores] = Future()
            scores = device.submit(images[1:], priority).result()
            future.set_result(replace(scores, images=(first_refused, *scores.images)))
            return future

    study_id = queued(pipeline, planes)
    assert state(replace(pipeline, engine=Picky()).run(study_id)) == "done"
    with pipeline.books.sessions() as session:
        [result] = study_results(session, study_id)
    [lesion] = result.lesions
    assert [(image.region, image.error_code) for image in lesion.images] == [
        ((5, 5, 30, 40), "scores_not_finite"),
        ((5, 5, 30, 40), None),
    ]
    assert lesion.sop_instance_uid == lesion.images[1].sop_instance_uid


def test_with_both_planes_damaged_it_fails_and_names_both(pipeline: Pipeline, planes: dict[str, Any]) -> None:
    planes["lesions"][0]["images"][1]["roi"]["x"] = 90
    damage(pipeline, "a.dcm")
    study_id = queued(pipeline, planes)
    assert state(pipeline.run(study_id)) == "failed"
    stored = detail(pipeline, study_id)
    [lesion] = stored.lesions
    assert (lesion.state, lesion.error_code, lesion.outcome) == ("failed", "file_truncated", None)
    assert lesion.error_reason is not None
    assert "image 1: file_truncated (" in lesion.error_reason
    assert "image 2: roi_outside_image (" in lesion.error_reason
    assert [image.error_code for image in lesion.images] == ["file_truncated", "roi_outside_image"]


def test_where_too_few_images_have_scores_the_reason_names_those_that_are_to_blame(
    pipeline: Pipeline, planes: dict[str, Any], device: SimulatedDevice
) -> None:
    device.fault = ImagesRefused(Code.IMAGES_TOO_FEW, {1: LesionRefused(Code.SCORES_NOT_FINITE)})
    study_id = queued(pipeline, planes)
    assert state(pipeline.run(study_id)) == "failed"
    [lesion] = detail(pipeline, study_id).lesions
    assert lesion.error_code == "images_too_few"
    assert lesion.error_reason is not None
    assert "image 2: scores_not_finite" in lesion.error_reason
    assert "image 1" not in lesion.error_reason
    assert [image.error_code for image in lesion.images] == ["images_too_few", "scores_not_finite"]


def test_each_frame_is_decoded_once_whichever_lesions_it_shows(pipeline: Pipeline, planes: dict[str, Any]) -> None:
    asked: list[int] = []

    class Counting:
        index = staticmethod(pipeline.decoders.index)

        @staticmethod
        def load(files: Any, images: Any, age_years: float | None) -> Any:
            asked.append(len(images))
            return pipeline.decoders.load(files, images, age_years)

    planes["lesions"].append({**planes["lesions"][0], "lesion_id": "L2", "birads": "4"})
    study_id = queued(pipeline, planes)
    assert state(replace(pipeline, decoders=Counting()).run(study_id)) == "done"
    assert asked == [2, 2]
    first, second = detail(pipeline, study_id).lesions
    assert (first.outcome, second.outcome, second.recommended) == ("upgraded", "not_applicable", "4")


def test_pixels_are_let_go_once_the_models_have_them(
    pipeline: Pipeline, planes: dict[str, Any], device: SimulatedDevice
) -> None:
    """A study may have a thousand lesions on 64 frames each."""
    frames: list[ref[Any]] = []
    held: list[int] = []

    class Forgetful:
        @contextmanager
        def arriving(self, study_instance_uid: str, /) -> Iterator["Forgetful"]:
            with device.arriving(study_instance_uid):
                yield self

        @staticmethod
        def submit(images: Any, priority: Any) -> Any:
            held.append(sum(frame() is not None for frame in frames))
            frames.extend(ref(image.frame) for image in images)
            future = device.submit(images, priority)
            device.seen.clear()
            return future

    [both] = planes["lesions"]
    planes["lesions"] = [{**both, "lesion_id": f"L{n}", "images": [both["images"][n]]} for n in (0, 1)]
    study_id = queued(pipeline, planes)
    assert state(replace(pipeline, engine=Forgetful()).run(study_id)) == "done"
    assert (held, len(frames)) == ([0, 0], 2)
    assert [one.images[0].region for one in detail(pipeline, study_id).lesions] == [(5, 5, 30, 40)] * 2


def test_a_lesion_is_scored_with_one_age(pipeline: Pipeline, planes: dict[str, Any], device: SimulatedDevice) -> None:
    rewrite(pipeline, planes, patient_age="048Y")
    study_id = queued(pipeline, planes)
    assert state(pipeline.run(study_id)) == "done"
    assert [image.age.years for image in device.seen] == [47.0, 47.0]
    assert detail(pipeline, study_id).lesions[0].age_years == 47.0


def test_images_whose_ages_are_more_than_a_year_apart_are_refused(pipeline: Pipeline, planes: dict[str, Any]) -> None:
    rewrite(pipeline, planes, patient_age="049Y")
    study_id = queued(pipeline, planes)
    assert state(pipeline.run(study_id)) == "failed"
    assert detail(pipeline, study_id).lesions[0].error_code == "age_contradictory"


def rewrite(pipeline: Pipeline, planes: dict[str, Any], patient_age: str) -> None:
    """Write the second plane anew, with another Patient's Age."""
    frame = np.full((60, 100), DIM, np.uint8)
    frame[::2] += 5
    header = Header(planes["study_instance_uid"], "Doe^Jane", "P1", "A1", "20261123", patient_age=patient_age)
    path = pipeline.source.storage_root / "b.dcm"
    sop = write_ultrasound(path, header, [frame], ExplicitVRLittleEndian)
    planes["lesions"][0]["images"][1]["sop_instance_uid"] = sop


@pytest.mark.parametrize("roi", [None, {"x": 5, "y": 5, "width": 30, "height": 40}])
def test_a_job_of_version_1_ends_in_the_rows_of_the_same_lesion_in_version_2(
    pipeline: Pipeline, planes: dict[str, Any], roi: dict[str, int] | None
) -> None:
    [lesion] = planes["lesions"]
    image = {"sop_instance_uid": lesion["images"][0]["sop_instance_uid"], "frame": 1, "roi": roi}
    rows = []
    for version, marked in ((1, image), (2, {"images": [image]})):
        job = planes | {"schema_version": version, "lesions": [{"lesion_id": "L1", "birads": "4A", **marked}]}
        study_id = queued(pipeline, job)
        assert state(pipeline.run(study_id)) == "done"
        rows.append(row(pipeline, study_id))
    different = {name for name in rows[0] if rows[0][name] != rows[1][name]}
    assert different <= {"study_id", "received_at", "scored_at"}
