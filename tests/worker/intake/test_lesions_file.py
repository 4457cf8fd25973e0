"""The file of --lesions."""

import json
from pathlib import Path

import pytest

from worker.errors import SetupRefused
from worker.intake.lesions_file import name_lesions, read_lesions

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
