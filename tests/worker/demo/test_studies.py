"""The demo's studies: what they cover, and that their files are good DICOM, but for the one that is not."""

from pathlib import Path

import pydicom
import pytest

from worker.clinical.categories import Birads
from worker.contract import parse_job
from worker.demo.studies import STUDIES, MadeStudy, make_studies


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[MadeStudy, Path]]:
    root = tmp_path_factory.mktemp("storage")
    return {one.study.name: (one, root / one.job["images"]["paths"][0]) for one in make_studies(root, seed=1)}


GOOD = [study.name for study in STUDIES if not study.truncated]


def test_twelve_good_studies_and_one_damaged_file() -> None:
    assert [study.ends for study in STUDIES].count("done") == len(GOOD) == 12
    assert [study.ends for study in STUDIES].count("failed") == 1


def test_every_birads_category_is_there_but_4_without_a_letter() -> None:
    assert {lesion.birads for study in STUDIES for lesion in study.lesions} == {item.value for item in Birads} - {"4"}


def test_there_are_several_transfer_syntaxes_frames_and_lesions() -> None:
    assert len({study.transfer_syntax for study in STUDIES}) >= 6
    assert {study.frames > 1 for study in STUDIES} == {True, False}
    assert max(len(study.lesions) for study in STUDIES) == 3


@pytest.mark.parametrize("name", GOOD)
def test_a_good_study_is_an_ultrasound_file_that_pydicom_decodes(
    made: dict[str, tuple[MadeStudy, Path]], name: str
) -> None:
    one, path = made[name]
    dataset = pydicom.dcmread(path)
    multi = one.study.frames > 1
    assert dataset.Modality == "US"
    assert dataset.SOPClassUID.name == f"Ultrasound {'Multi-frame ' if multi else ''}Image Storage"
    assert dataset.file_meta.TransferSyntaxUID == one.study.transfer_syntax
    assert int(dataset.get("NumberOfFrames", 1)) == one.study.frames
    assert dataset.StudyInstanceUID == one.job["study_instance_uid"]
    assert dataset.pixel_array.shape[1 if multi else 0] == dataset.Rows
    assert dataset.pixel_array.std() > 5


@pytest.mark.parametrize("name", [study.name for study in STUDIES])
def test_every_job_follows_the_contract_and_its_rois_lie_in_the_image(
    made: dict[str, tuple[MadeStudy, Path]], name: str
) -> None:
    one, _ = made[name]
    for lesion in parse_job(one.job).lesions:
        if lesion.roi is not None:
            assert lesion.roi.x >= 0
            assert lesion.roi.y >= 0
            assert lesion.roi.x + lesion.roi.width <= 512
            assert lesion.roi.y + lesion.roi.height <= 384


def test_the_damaged_file_ends_in_the_middle(made: dict[str, tuple[MadeStudy, Path]]) -> None:
    _, path = made["damaged file"]
    with pytest.raises(ValueError, match="less than expected"):
        _ = pydicom.dcmread(path).pixel_array
