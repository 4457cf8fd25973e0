"""Studies to practise with: each way in reads the same lesions of them."""

from pathlib import Path

import pytest

from tests.worker.imaging.dicom_files import LIMITS
from worker.demo.practice import write_practice
from worker.intake.lesions_file import read_lesions
from worker.intake.report import read_report
from worker.intake.submit import Overrides, plan


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("practice")
    return {study.name: study for study in write_practice(folder / "studies", seed=1)}


def test_there_is_a_folder_a_study_and_nothing_beside(studies: dict[str, Path]) -> None:
    assert len(studies) == 13
    (folder,) = {study.parent for study in studies.values()}
    assert sorted(path.name for path in folder.iterdir()) == sorted(studies)


@pytest.mark.parametrize("name", ["06-4a-malignant", "08-4a-cine-loop", "12-three-lesions"])
def test_the_report_marks_the_lesions_of_the_json(studies: dict[str, Path], name: str) -> None:
    marked = read_lesions(studies[name] / "lesions.json").lesions
    reported = read_report(studies[name] / "report.dcm", LIMITS).lesions
    for one, other in zip(marked, reported, strict=True):
        assert {**one, "frame": other["frame"]} == other
        assert other["frame"] in (one["frame"], None)


def test_a_folder_is_a_study_of_dlr_submit(studies: dict[str, Path], tmp_path: Path) -> None:
    (submission,) = plan([studies["12-three-lesions"]], None, Overrides(), tmp_path, LIMITS)
    assert submission.refused is None
    assert len(submission.job["lesions"]) == 3


def test_what_is_written_again_takes_the_place_of_what_was_there(studies: dict[str, Path], tmp_path: Path) -> None:
    for _ in range(2):
        assert len(list(write_practice(tmp_path, seed=1))) == 13
    assert len(list(tmp_path.iterdir())) == 13
