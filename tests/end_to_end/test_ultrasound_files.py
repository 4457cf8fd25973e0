"""Every ultrasound file of pydicom's packages, through `dlr submit` to a row of the view lesion_result."""

import json
from pathlib import Path

import pytest

from tests.end_to_end.conftest import Service
from tests.end_to_end.ultrasound_files import JOB_AGE_YEARS, ULTRASOUND_FILES, UltrasoundFile, locate

RESULT = """
SELECT state, error_code, age_years, age_source, region_source, high_risk_probability, malignant_probability, outcome
FROM lesion_result WHERE study_id = %s
"""


@pytest.mark.parametrize("file", ULTRASOUND_FILES, ids=lambda file: file.name)
def test_a_file_is_scored_or_ends_with_the_code_that_is_right_for_it(
    service: Service, tmp_path: Path, file: UltrasoundFile
) -> None:
    lesions = tmp_path / "lesions.json"
    lesions.write_text(json.dumps([{"birads": "4A", "frame": 1}]))
    done = service.dlr(
        "submit", locate(file.name), "--lesions", lesions, "--age", str(JOB_AGE_YEARS), "--wait", "--format", "json"
    )
    (row,) = json.loads(done.stdout)
    scored = file.expected == "scored"
    assert (done.returncode, row["state"], row["code"]) == (
        (0, "done", None) if scored else (3, "failed", str(file.expected))
    ), row["reason"]
    if scored:
        (lesion,) = service.sql(RESULT, row["study_id"])
        assert (lesion["state"], lesion["age_years"], lesion["age_source"]) == ("scored", JOB_AGE_YEARS, "job")
        assert lesion["region_source"] == file.region
        assert 0 <= lesion["high_risk_probability"] <= 1
        assert 0 <= lesion["malignant_probability"] <= 1
        assert lesion["outcome"] in ("upgraded", "maintained", "downgraded")
