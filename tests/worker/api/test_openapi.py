"""The description that is checked in: it is the code's, and examples of clients do what they say."""

import json

import pytest
from jsonschema import Draft202012Validator

from tests.places import ROOT
from tests.worker.contract.test_version_2 import job as job_of_version_2
from tests.worker.test_contract import JOB
from worker.api.application import openapi

CHECKED_IN = ROOT / "docs" / "openapi.json"


def test_the_description_that_is_checked_in_is_the_code_s() -> None:
    """To renew it: python -m tests.worker.api.test_openapi."""
    assert json.loads(CHECKED_IN.read_text("utf-8")) == openapi()


@pytest.mark.parametrize("job", [JOB, job_of_version_2()], ids=[1, 2])
def test_a_job_follows_what_is_said_of_it(job: object) -> None:
    described = openapi()
    schema = described["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    validator = Draft202012Validator({**schema, "components": described["components"]})
    assert validator.is_valid(job)
    assert not validator.is_valid({**JOB, "schema_version": 3})


if __name__ == "__main__":
    CHECKED_IN.write_text(json.dumps(openapi(), indent=1, ensure_ascii=False) + "\n", "utf-8")
