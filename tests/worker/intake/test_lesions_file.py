"""The file of --lesions."""

import json
from pathlib import Path
from typing import Any

import pytest

from worker.errors import SetupRefused
from worker.intake.lesions_file import in_version, instances_of, name_lesions, on_instance, read_lesions

LESION = {"birads": "4A"}


def test_a_list_is_the_lesions(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text(json.dumps([LESION]))
    assert read_lesions(tmp_path / "l.json").lesions == (LESION,)


def test_an_object_may_give_other_fields_of_the_job(tmp_path: Path) -> None:
    (tmp_path / "l.json").write_text(json.dumps({"lesions": [LESION], "age_years": 47}))
    marked = read_lesions(tmp_path / "l.json")
    assert (marked.lesions, marked.fields) == ((LESION,), {"age_years": 47})


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"lesion": []}', '"x"', "[" * 100_000])
def test_anything_else_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "l.json").write_text(content)
    with pytest.raises(SetupRefused):
        read_lesions(tmp_path / "l.json")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused):
        read_lesions(tmp_path / "none.json")


def test_lesions_without_a_name_are_named_by_their_place() -> None:
    assert [lesion["lesion_id"] for lesion in name_lesions([{}, {"lesion_id": "left"}, {}])] == ["L1", "left", "L3"]


@pytest.mark.parametrize("lesion", [{"birads": "4A", "roi": {}, "frame": 1}, {"birads": "4B", "descriptors": {}}, {}])
def test_what_version_1_can_say_is_said_in_it(lesion: dict[str, Any]) -> None:
    assert in_version([lesion]) == (1, [lesion])


@pytest.mark.parametrize(
    "more", [{"birads": "4"}, {"laterality": "left"}, {"clock_position": 3}, {"depth_mm": 4}, {"plane": "radial"}]
)
def test_a_lesion_that_version_1_has_no_word_for_makes_a_job_of_version_2(more: dict[str, Any]) -> None:
    version, (changed, other) = in_version([{"birads": "4A", "sop_instance_uid": "1.2", **more}, {"frame": 7}])
    assert version == 2
    assert other == {"images": [{"frame": 7}]}
    assert changed["images"][0]["sop_instance_uid"] == "1.2"
    assert {**changed, **changed["images"][0]}.items() >= more.items()


def test_frames_of_the_only_file_are_images_of_the_lesion() -> None:
    assert in_version([{"birads": "3", "frames": [1, 2], "roi": None}]) == (
        2,
        [{"birads": "3", "images": [{"frames": [1, 2], "roi": None}]}],
    )


def test_an_image_without_an_instance_is_on_the_only_one() -> None:
    two = {"images": [{"sop_instance_uid": "1.2"}, {"frame": 3}, "no image"]}
    assert on_instance(two, "9")["images"] == [
        {"sop_instance_uid": "1.2"},
        {"sop_instance_uid": "9", "frame": 3},
        "no image",
    ]
    assert on_instance({"frame": 3}, "9") == {"sop_instance_uid": "9", "frame": 3}
    assert on_instance({"sop_instance_uid": "1.2"}, "9") == {"sop_instance_uid": "1.2"}


def test_a_lesion_names_its_instances() -> None:
    assert instances_of({"images": [{"sop_instance_uid": "1"}, {"sop_instance_uid": "2"}, {}, 3]}) == {"1", "2"}
    assert instances_of({"sop_instance_uid": "1"}) == {"1"}
    assert instances_of({}) == set()
