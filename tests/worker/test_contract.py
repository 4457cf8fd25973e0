"""The message, version 1."""

import hashlib
import json
from copy import deepcopy
from typing import Any
from unicodedata import normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clinical.categories import Birads
from worker.contract import job_schema, parse_job
from worker.errors import Code, JobRefused
from worker.study import Lesion, MarkedImage, Roi

SCHEMA_SHA256 = "5adcae5c2cc0e5f8ba1eb505237616135ff943e29f9ca7a64d83e6121dfb736f"

JOB: dict[str, Any] = {
    "schema_version": 1,
    "study_instance_uid": "1.2.826.0.1.3680043.8.498.1",
    "accession_number": "A0012",
    "priority": "routine",
    "age_years": 47.0,
    "images": {"kind": "files", "paths": ["2026/11/23/a.dcm"]},
    "lesions": [
        {
            "lesion_id": "L1",
            "sop_instance_uid": "1.2.826.0.1.3680043.8.498.2",
            "frame": 1,
            "roi": {"x": 210, "y": 96, "width": 180, "height": 120},
            "birads": "4A",
            "descriptors": {"shape": "irregular"},
        }
    ],
}


def changed(path: str, value: object) -> dict[str, Any]:
    job = deepcopy(JOB)
    *parents, last = path.split(".")
    target: Any = job
    for part in parents:
        target = target[int(part)] if part.isdigit() else target[part]
    if value is ...:
        del target[last]
    else:
        target[last] = value
    return job


@pytest.mark.parametrize("field", ["accession_number", "lesions.0.lesion_id"])
@pytest.mark.parametrize(
    ("text", "read"),
    [
        (normalize("NFD", "검" * 30), "검" * 30),
        (normalize("NFD", "ǖ" * 64), "ǖ" * 64),
        ("검" * 65, None),
        (normalize("NFD", "검" * 65), None),
        ("\u0958" * 64, None),  # which is two characters in NFC
        ("a\ud800", None),
        ("a\0", None),
        ("ａ１\u200d🙂", "ａ１\u200d🙂"),
    ],
    ids=range(8),
)
def test_a_text_is_as_long_as_its_composed_form(field: str, text: str, read: str | None) -> None:
    if read is None:
        with pytest.raises(JobRefused) as refused:
            parse_job(changed(field, text))
        assert refused.value.reason.startswith(("accession_number: ", "lesions[0].lesion_id: "))
    else:
        job = parse_job(changed(field, text))
        assert read in (job.accession_number, job.lesions[0].lesion_id)
        assert parse_job(job.model_dump(mode="json")) == job


def test_the_design_s_example_is_a_job() -> None:
    job = parse_job(JOB)
    assert job.lesions[0].birads == "4A"
    assert job.model_dump(mode="json") == JOB


@pytest.mark.parametrize(
    "path",
    ["accession_number", "priority", "age_years", "lesions.0.roi", "lesions.0.descriptors", "lesions.0.frame"],
)
def test_what_is_optional_may_be_left_out(path: str) -> None:
    assert parse_job(changed(path, ...))


REFUSED = [
    ("schema_version", 3, "job_version_unsupported"),
    ("schema_version", 0, "job_version_unsupported"),
    ("schema_version", "1", "job_invalid"),
    ("schema_version", ..., "job_invalid"),
    ("study_instance_uid", "", "job_invalid"),
    ("study_instance_uid", "1.2/../3", "job_invalid"),
    ("study_instance_uid", "1." * 40 + "1", "job_invalid"),
    ("study_instance_uid", ..., "job_invalid"),
    ("accession_number", "", "job_invalid"),
    ("accession_number", "A\n1", "job_invalid"),
    ("priority", "asap", "job_invalid"),
    ("age_years", "47", "job_invalid"),
    ("age_years", True, "job_invalid"),
    ("age_years", float("nan"), "job_invalid"),
    ("age_years", float("inf"), "job_invalid"),
    ("images", {"kind": "ftp"}, "job_invalid"),
    ("images.paths", [], "job_invalid"),
    ("images.paths", ["/etc/passwd"], "path_outside_storage"),
    ("images.paths", ["a/../../b"], "path_outside_storage"),
    ("images.paths", ["..\\b"], "path_outside_storage"),
    ("images.paths", ["C:/b"], "path_outside_storage"),
    ("images.paths", ["a\x00b"], "path_outside_storage"),
    ("lesions", [], "job_invalid"),
    ("lesions", [JOB["lesions"][0]] * 2, "job_invalid"),
    ("lesions.0.lesion_id", "", "job_invalid"),
    ("lesions.0.sop_instance_uid", "x", "job_invalid"),
    ("lesions.0.frame", 0, "job_invalid"),
    ("lesions.0.frame", 1.5, "job_invalid"),
    ("lesions.0.roi.width", 0, "job_invalid"),
    ("lesions.0.roi", [1, 2, 3, 4], "job_invalid"),
    ("lesions.0.birads", "4", "job_invalid"),
    ("lesions.0.birads", 3, "job_invalid"),
    ("lesions.0.descriptors", {"form": "oval"}, "job_invalid"),
    ("lesions.0.descriptors", {"shape": "square"}, "job_invalid"),
    ("patient_name", "Doe^Jane", "job_invalid"),
]


@pytest.mark.parametrize(("path", "value", "code"), REFUSED)
def test_a_bad_job_is_refused_with_a_stable_code(path: str, value: object, code: str) -> None:
    with pytest.raises(JobRefused) as refusal:
        parse_job(changed(path, value))
    assert refusal.value.code == code
    assert str(refusal.value) == code


@pytest.mark.parametrize("birads", ["0", "1", "2", "3", "4A", "4B", "4C", "5", "6"])
def test_every_birads_category_is_taken(birads: str) -> None:
    assert parse_job(changed("lesions.0.birads", birads)).lesions[0].birads == birads


def test_a_reason_names_the_field_and_never_its_value() -> None:
    job = changed("lesions.0.birads", "SECRET-VALUE") | {"SECRET-FIELD": 1}
    with pytest.raises(JobRefused) as refusal:
        parse_job(job)
    assert "lesions[0].birads" in refusal.value.reason
    assert "SECRET" not in refusal.value.reason


@pytest.mark.parametrize(
    ("path", "value", "place"),
    [
        ("images.paths", ["../a"], "images.paths[0]: "),
        ("images.paths", [], "images.paths: "),
        ("images", {"kind": "dicomweb", "server": ""}, "images.server: "),
        ("images", {"kind": "dicomweb"}, "images.server: "),
        ("images.files", 1, "images.(unknown field): "),
        ("files", [], "(unknown field): "),
    ],
)
def test_a_reason_names_the_place_as_the_job_has_it(path: str, value: object, place: str) -> None:
    with pytest.raises(JobRefused) as refusal:
        parse_job(changed(path, value))
    assert refusal.value.reason.startswith(place)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(sorted(JOB)), inner),
    max_leaves=20,
)


@given(json_values)
def test_whatever_comes_is_a_job_or_refused(value: object) -> None:
    codes = []
    try:
        parse_job(value)
    except JobRefused as refused:
        codes.append(refused.code)
    assert set(codes) <= {Code.JOB_INVALID, Code.JOB_VERSION_UNSUPPORTED, Code.PATH_OUTSIDE_STORAGE}


def test_nesting_without_end_is_refused() -> None:
    nested: Any = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(JobRefused):
        parse_job(JOB | {"lesions": nested})


def test_a_category_of_version_2_is_refused_with_the_version_that_takes_it() -> None:
    with pytest.raises(JobRefused) as refusal:
        parse_job(changed("lesions.0.birads", "4"))
    assert "lesions[0].birads: " in refusal.value.reason
    assert "schema_version 2 takes '4'" in refusal.value.reason


def test_a_lesion_has_the_one_image_that_it_is_marked_on() -> None:
    image = MarkedImage("1.2.826.0.1.3680043.8.498.2", 1, Roi(210, 96, 180, 120))
    assert parse_job(JOB).marked == (Lesion("L1", (image,), Birads.LOW_SUSPICION, {"shape": "irregular"}),)


def test_the_schema_is_what_it_was_before_there_was_a_version_2_but_for_a_pacs() -> None:
    schema = job_schema()
    del schema["$defs"]["PacsSource"]
    images = schema["properties"]["images"]
    images["oneOf"].remove({"$ref": images["discriminator"]["mapping"].pop("pacs")})
    text = json.dumps(schema, sort_keys=True)
    assert hashlib.sha256(text.encode()).hexdigest() == SCHEMA_SHA256


def test_the_schema_is_json_and_names_every_field() -> None:
    text = json.dumps(job_schema())
    for field in (*JOB, *JOB["lesions"][0], *JOB["lesions"][0]["roi"], "kind", "paths"):
        assert f'"{field}"' in text
