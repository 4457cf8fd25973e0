"""Codes of places in the breast: those of the context groups of PS3.16, as pydicom has them."""

import re

import pytest
from pydicom.sr.codedict import Collection

from db.schema.vocabulary import Laterality, Plane
from worker.clinical.location_codes import CLOCK_POSITIONS, LATERALITIES, PLANES


def group(number: int) -> dict[tuple[str, str], str]:
    """The codes of a context group and their meanings, in its current form and in the older one."""
    codes = [getattr(Collection(f"CID{number}"), name) for name in Collection(f"CID{number}").dir()]
    return {(code.scheme_designator, code.value): code.meaning for code in codes}


def test_each_hour_of_cid_6018_is_known() -> None:
    hours = {code: re.match(r"\d+", meaning) for code, meaning in group(6018).items()}
    said = {code: int(found[0]) for code, found in hours.items() if found is not None}
    assert sorted(said.values()) == list(range(1, 13))
    assert {code: hour for code, hour in CLOCK_POSITIONS.items() if code[0] == "SCT"} == said


@pytest.mark.parametrize("number", [244, 6022])
def test_a_side_of_either_context_group_is_known_and_both_sides_are_none(number: int) -> None:
    for code, meaning in group(number).items():
        said = next((word for word in ("left", "right") if word in meaning.lower()), None)
        assert LATERALITIES.get(code) == said


def test_the_planes_of_cid_6_that_a_job_has_are_known() -> None:
    meanings = {code: meaning.lower() for code, meaning in group(6).items() if meaning.lower() in set(Plane)}
    assert {code: plane for code, plane in PLANES.items() if code[0] == "SCT"} == meanings


@pytest.mark.parametrize(
    ("codes", "words"), [(LATERALITIES, Laterality), (PLANES, Plane)], ids=["lateralities", "planes"]
)
def test_what_a_code_means_is_a_word_of_the_database(codes: dict[tuple[str, str], str], words: type) -> None:
    assert set(codes.values()) <= {word.value for word in words}  # type: ignore[attr-defined]


def test_the_older_scheme_says_the_same() -> None:
    from pydicom.sr._snomed_dict import mapping

    for codes in (LATERALITIES, CLOCK_POSITIONS, PLANES):
        for (scheme, value), said in codes.items():
            if scheme == "SRT":
                assert codes["SCT", mapping["SRT"][value]] == said
