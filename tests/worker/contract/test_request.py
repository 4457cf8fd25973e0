"""A job that leaves to a server what it does not say: which study it is, and where its lesions are."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from worker.contract import (
    StudyJob,
    StudyRequest,
    images_of,
    job_schema,
    parse_job,
    parse_pushed,
    request_schema,
    whole_job,
)
from worker.errors import JobRefused
from worker.study import OnPacs

LESION = {"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "birads": "4A"}
REQUEST: dict[str, Any] = {
    "schema_version": 1,
    "accession_number": "A1",
    "images": {"kind": "pacs", "server": "pacs"},
}


def test_an_accession_number_and_a_server_are_enough() -> None:
    request = parse_pushed(REQUEST)
    assert isinstance(request, StudyRequest)
    assert (request.accession_number, request.study_instance_uid, request.lesions) == ("A1", None, None)


@pytest.mark.parametrize("kind", ["pacs", "dicomweb"])
def test_a_job_that_says_its_study_and_its_lesions_is_whole(kind: str) -> None:
    job = parse_pushed(
        REQUEST | {"images": {"kind": kind, "server": "pacs"}, "study_instance_uid": "1.2.3", "lesions": [LESION]}
    )
    assert isinstance(job, StudyJob)


def test_images_on_a_pacs_are_named_by_their_server() -> None:
    assert images_of(parse_job(REQUEST | {"study_instance_uid": "1.2.3", "lesions": [LESION]})) == OnPacs("pacs")


def test_a_request_with_lesions_becomes_the_job_of_the_study_that_was_found() -> None:
    request = parse_pushed(REQUEST | {"lesions": [LESION], "priority": "stat", "age_years": 40.0})
    assert isinstance(request, StudyRequest)
    job = whole_job(request, "1.2.3")
    assert (job.study_instance_uid, job.accession_number, job.priority, job.age_years) == ("1.2.3", "A1", "stat", 40.0)
    assert [lesion.lesion_id for lesion in job.marked] == ["L1"]


@pytest.mark.parametrize(
    ("job", "place"),
    [
        ({"accession_number": ...}, "job: "),
        ({"accession_number": "A\n1"}, "accession_number: "),
        ({"images": {"kind": "pacs"}}, "images.server: "),
        ({"images": {"kind": "files", "paths": ["a.dcm"]}}, "study_instance_uid: "),
        ({"lesions": []}, "lesions: "),
        ({"lesions": [LESION | {"birads": "7"}]}, "lesions[0].birads: "),
        ({"schema_version": 2, "lesions": [LESION]}, "lesions[0].images: "),
        ({"host": "10.0.0.1"}, "(unknown field): "),
    ],
    ids=range(8),
)
def test_what_does_not_follow_the_contract_is_refused_before_any_server_is_asked(
    job: dict[str, Any], place: str
) -> None:
    said = {name: value for name, value in {**REQUEST, **job}.items() if value is not ...}
    with pytest.raises(JobRefused, match="job_invalid") as refused:
        parse_pushed(said)
    assert place in refused.value.reason


def test_a_version_that_is_not_read_is_told_as_such() -> None:
    with pytest.raises(JobRefused, match="job_version_unsupported"):
        parse_pushed(REQUEST | {"schema_version": 3})


def test_the_schema_takes_what_is_taken() -> None:
    Draft202012Validator.check_schema(request_schema())
    validator = Draft202012Validator(request_schema())
    assert validator.is_valid(REQUEST)
    assert not validator.is_valid(REQUEST | {"images": {"kind": "files", "paths": ["a.dcm"]}})
    on_pacs = REQUEST | {"study_instance_uid": "1.2.3", "lesions": [LESION]}
    assert Draft202012Validator(job_schema(1)).is_valid(on_pacs)
