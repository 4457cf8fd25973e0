"""The job that a study's files become: as it always was where it can be, and the former one where it is another."""

from pathlib import Path
from typing import Any

import pytest
from highdicom.sr import CodedConcept, FindingSite
from pydicom.sr.codedict import codes

from tests.worker.imaging.dicom_files import LIMITS, SOP_UID, STUDY_UID, picture, write
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.contract import parse_job
from worker.imaging.identity import read_identity
from worker.intake.content_digest import content_digest
from worker.intake.job_builder import BuiltJob, build_job
from worker.intake.lesion_sources import Instance

OTHER_UID = SOP_UID + ".2"
LEFT = FindingSite(CodedConcept("76752008", "SCT", "Breast"), laterality=codes.SCT.Left)


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return [
        write(tmp_path / "a.dcm", picture()),
        write(tmp_path / "b.dcm", picture(seed=1), SOPInstanceUID=OTHER_UID),
    ]


def built(*paths: Path) -> BuiltJob:
    return build_job([Instance(path, read_identity(path, LIMITS)) for path in paths], lambda path: path.name, LIMITS)


def marked(folder: Path, images: list[Path], **of_the_first: Any) -> Path:
    first, second = images
    findings = [
        Finding(first, rectangle(3, 4, 20, 10), ["4A"], "left, 2 o'clock", **of_the_first),
        Finding(second, rectangle(30, 4, 9, 9), ["3"], "left, 2 o'clock"),
        Finding(second, rectangle(1, 2, 5, 6), ["5"], ""),
    ]
    return write_report(folder / "sr.dcm", findings)


def roi(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "width": width, "height": height}


JOB: dict[str, Any] = {
    "schema_version": 1,
    "study_instance_uid": STUDY_UID,
    "accession_number": None,
    "images": {"kind": "files", "paths": ["a.dcm", "b.dcm"]},
    "lesions": [
        {
            "lesion_id": "left, 2 o'clock",
            "birads": "4A",
            "sop_instance_uid": SOP_UID,
            "frame": None,
            "roi": roi(3, 4, 20, 10),
        },
        {
            "lesion_id": "left, 2 o'clock (2)",
            "birads": "3",
            "sop_instance_uid": OTHER_UID,
            "frame": None,
            "roi": roi(30, 4, 9, 9),
        },
        {"lesion_id": "L3", "birads": "5", "sop_instance_uid": OTHER_UID, "frame": None, "roi": roi(1, 2, 5, 6)},
    ],
}
DIGEST = "349de93e1a1026015e2486ec4177339307fe54bb0e81e4b4ce74227a11f415fc"
"""Of JOB, its files not being there; as version 1.0 took it of the same report."""


def test_a_report_with_an_image_a_lesion_is_the_job_that_it_was_in_version_1_0(
    tmp_path: Path, images: list[Path]
) -> None:
    found = built(*images, marked(tmp_path, images))
    assert (found.job, found.former, found.is_whole) == (JOB, None, True)
    assert content_digest(parse_job(found.job), tmp_path / "no such folder") == DIGEST


def test_what_the_report_says_of_a_lesion_s_place_is_in_the_job_and_the_former_job_is_given_too(
    tmp_path: Path, images: list[Path]
) -> None:
    found = built(*images, marked(tmp_path, images, sites=[LEFT]))
    assert found.former == JOB
    assert (found.job["schema_version"], found.job["lesions"][0]["laterality"]) == (2, "left")
    assert [lesion.lesion_id for lesion in parse_job(found.job).marked] == [one["lesion_id"] for one in JOB["lesions"]]


def test_a_lesion_in_two_planes_waits_for_both_images_and_lists_both(tmp_path: Path, images: list[Path]) -> None:
    findings = [
        Finding(images[0], rectangle(3, 4, 20, 10), tracked="L"),
        Finding(images[1], rectangle(30, 4, 9, 9), [], tracked="L"),
    ]
    report = write_report(tmp_path / "sr.dcm", findings)
    found = built(*images, report)
    assert (found.is_whole, found.job["images"]["paths"]) == (True, ["a.dcm", "b.dcm"])
    # Before, the second one was not looked at, since it was never assessed.
    assert found.former is not None
    assert (found.former["images"]["paths"], len(found.former["lesions"])) == (["a.dcm"], 1)
    early = built(images[0], report)
    assert (early.is_whole, early.job["images"]["paths"]) == (False, ["a.dcm"])
    (lesion,) = parse_job(early.job).marked
    assert [image.sop_instance_uid for image in lesion.images] == [SOP_UID, OTHER_UID]
