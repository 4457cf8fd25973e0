"""The message, version 2: several images of a lesion, its place in the breast, and 4 without a letter."""

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.schema.vocabulary import Laterality, Plane
from tests.worker.test_contract import JOB as JOB_1
from worker.clinical.categories import Birads
from worker.contract import job_schema, parse_job
from worker.errors import JobRefused
from worker.study import Lesion, MarkedImage, Roi

ROI = {"x": 210, "y": 96, "width": 180, "height": 120}
JOB: dict[str, Any] = JOB_1 | {
    "schema_version": 2,
    "lesions": [
        {
            "lesion_id": "L1",
            "birads": "4A",
            "images": [
                {"sop_instance_uid": "1.2.3.1", "frame": 1, "roi": ROI, "plane": "radial"},
                {"sop_instance_uid": "1.2.3.2", "frame": None, "roi": None, "plane": None},
            ],
            "laterality": "left",
            "clock_position": 10,
            "distance_to_nipple_mm": 40.0,
            "depth_mm": 12.5,
            "descriptors": {"shape": "irregular"},
        }
    ],
}


def job(**changes: object) -> dict[str, Any]:
    """The job, its lesion changed; ``...`` leaves a field out."""
    made = deepcopy(JOB)
    lesion = made["lesions"][0] | changes
    made["lesions"] = [{name: value for name, value in lesion.items() if value is not ...}]
    return made


def images(*images: dict[str, Any]) -> dict[str, Any]:
    return job(images=[{"sop_instance_uid": "1.2.3.1", **image} for image in images])


def reason(job: dict[str, Any]) -> str:
    with pytest.raises(JobRefused) as refused:
        parse_job(job)
    assert refused.value.code == "job_invalid"
    return refused.value.reason


def test_a_lesion_has_its_images_and_its_place() -> None:
    assert parse_job(JOB).marked == (
        Lesion(
            lesion_id="L1",
            images=(
                MarkedImage("1.2.3.1", 1, Roi(210, 96, 180, 120), Plane.RADIAL),
                MarkedImage("1.2.3.2", None, None),
            ),
            birads=Birads.LOW_SUSPICION,
            descriptors={"shape": "irregular"},
            laterality=Laterality.LEFT,
            clock_position=10,
            distance_to_nipple_mm=40.0,
            depth_mm=12.5,
        ),
    )


def test_what_the_ledger_keeps_of_it_is_the_same_job() -> None:
    kept = parse_job(JOB).model_dump(mode="json")
    assert kept == JOB
    assert parse_job(kept) == parse_job(JOB)


@pytest.mark.parametrize("field", ["laterality", "clock_position", "distance_to_nipple_mm", "depth_mm", "descriptors"])
def test_what_is_optional_may_be_left_out(field: str) -> None:
    assert parse_job(job(**{field: ...}))


@pytest.mark.parametrize("category", Birads)
def test_every_category_is_taken_4_without_a_letter_too(category: Birads) -> None:
    assert parse_job(job(birads=category.value)).marked[0].birads is category


def test_frames_of_one_instance_are_an_image_each() -> None:
    read = parse_job(images({"frames": [3, 1, 2], "roi": ROI}))
    roi = Roi(210, 96, 180, 120)
    assert read.marked[0].images == tuple(MarkedImage("1.2.3.1", frame, roi) for frame in (3, 1, 2))
    alone = images(*({"frame": frame, "roi": ROI} for frame in (3, 1, 2)))
    assert read.model_dump(mode="json") == parse_job(alone).model_dump(mode="json")


@given(st.lists(st.integers(1, 30), min_size=1, max_size=64), st.integers(0, 64))
def test_a_lesion_has_1_to_64_images_whatever_their_frames_are_said_by(sizes: list[int], first: int) -> None:
    groups, number = [], first
    for size in sizes:
        groups.append({"frames": list(range(number + 1, number + 1 + size))})
        number += size
    if sum(sizes) <= 64:
        assert len(parse_job(images(*groups)).marked[0].images) == sum(sizes)
    else:
        assert "lesions[0].images: has more than 64 images" in reason(images(*groups))


@pytest.mark.parametrize(
    "twice",
    [
        [{"frame": 2}, {"frame": 2}],
        [{}, {}],
        [{}, {"frame": 1}],
        [{"frame": 2}, {"frames": [1, 2]}],
        [{"frames": [4, 4]}],
        [{"frame": 2, "roi": ROI}, {"frame": 2, "roi": ROI | {"x": 0}}],
    ],
)
def test_the_same_image_twice_is_refused(twice: list[dict[str, Any]]) -> None:
    assert reason(images(*twice)) == "lesions[0].images: has the same image twice"


@pytest.mark.parametrize(
    ("field", "value", "place"),
    [
        ("images", [], "images: "),
        ("images", ..., "images: "),
        ("images", [{"sop_instance_uid": "1.2", "frame": 1, "frames": [2]}], "images[0]: "),
        ("images", [{"sop_instance_uid": "1.2", "frames": []}], "images[0].frames: "),
        ("images", [{"sop_instance_uid": "1.2", "frames": [0]}], "images[0].frames[0]: "),
        ("images", [{"sop_instance_uid": "1.2", "plane": "coronal"}], "images[0].plane: "),
        ("images", [{"frame": 1}], "images[0].sop_instance_uid: "),
        ("sop_instance_uid", "1.2", "sop_instance_uid: "),
        ("laterality", "both", "laterality: "),
        ("laterality", "L", "laterality: "),
        ("clock_position", 0, "clock_position: "),
        ("clock_position", 13, "clock_position: "),
        ("clock_position", 2.5, "clock_position: "),
        ("distance_to_nipple_mm", -0.1, "distance_to_nipple_mm: "),
        ("distance_to_nipple_mm", 301, "distance_to_nipple_mm: "),
        ("depth_mm", float("nan"), "depth_mm: "),
        ("depth_mm", float("inf"), "depth_mm: "),
        ("depth_mm", "12", "depth_mm: "),
        ("birads", "4D", "birads: "),
    ],
)
def test_a_bad_lesion_is_refused_with_its_place(field: str, value: object, place: str) -> None:
    assert reason(job(**{field: value})).startswith(f"lesions[0].{place}")


def test_a_lesion_of_version_1_is_none_of_version_2() -> None:
    assert "lesions[0].images: is missing" in reason(JOB_1 | {"schema_version": 2})
    assert "lesions[0].images" in reason(JOB | {"schema_version": 1})


@pytest.mark.parametrize("version", [0, 3, -1, 10**30])
def test_an_unknown_version_is_answered_with_those_that_are_read(version: int) -> None:
    with pytest.raises(JobRefused) as refused:
        parse_job(JOB | {"schema_version": version})
    assert refused.value.code == "job_version_unsupported"
    assert refused.value.reason == "this worker reads schema_version 1 and 2"


def test_the_schema_is_json_and_names_every_field() -> None:
    schema = job_schema(2)
    text = json.dumps(schema)
    lesion = JOB["lesions"][0]
    for field in (*JOB, *lesion, *lesion["images"][0], "frames", "kind", "paths"):
        assert f'"{field}"' in text
    assert schema["properties"]["schema_version"]["const"] == 2
    assert "4" in schema["$defs"]["Birads"]["enum"]
