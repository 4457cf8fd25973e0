"""Every row is looked at, every bad one is listed, and what is there twice is found."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from db.schema.vocabulary import QualityFinding
from tests.worker.dataset.manifests import ROI, checked, cohort, row, save_picture, with_calipers
from worker.dataset.check import Checked, check, unsplit
from worker.dataset.finding import Finding
from worker.dataset.manifest import Fault
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.errors import Code


def codes(found: Checked) -> list[tuple[int, Code]]:
    return [(fault.line, fault.code) for fault in found.faults]


def test_a_sound_manifest_has_no_fault(tmp_path: Path) -> None:
    found = checked(tmp_path, cohort(tmp_path, 6))
    assert (found.faults, found.warnings, len(found.sound)) == ((), (), 12)


def test_every_bad_row_is_listed_and_the_others_are_sound(tmp_path: Path) -> None:
    good = cohort(tmp_path, 3, views=1)
    Image.fromarray(np.full((48, 64), 9, np.uint8)).save(tmp_path / "flat.png")
    bad = [
        row(image="nowhere.png", patient_key="P10"),
        row(image="flat.png", patient_key="P11"),
        row(image=good[0].image, patient_key="P0", lesion_id="L2", roi=ROI | {"y": 40}),
        row(image="nowhere.png", patient_key="P12", excluded="declined"),
    ]
    found = checked(tmp_path, [*good, *bad])
    assert codes(found) == [(5, Code.FILE_NOT_FOUND), (6, Code.PIXELS_UNIFORM), (7, Code.ROI_OUTSIDE_IMAGE)]
    assert list(found.sound) == [2, 3, 4]


def test_what_is_wrong_with_a_row_is_said_in_the_manifests_words(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    save_picture(tmp_path / "1.png", 1)
    (tmp_path / "folder" / "link.png").symlink_to(tmp_path / "1.png")
    save_picture(tmp_path / "folder" / "2.png", 2)
    rows = [row(image="nowhere.png"), row(image="link.png"), row(image="2.png", roi=None, mask="nowhere.png")]
    found = checked(tmp_path / "folder", rows)
    assert codes(found) == [(2, Code.FILE_NOT_FOUND), (3, Code.PATH_OUTSIDE_STORAGE), (4, Code.MASK_INVALID)]
    assert all("--root" in fault.reason and "DLR_" not in fault.reason for fault in found.faults)


def test_two_lesions_of_one_image_are_sound_and_one_lesion_twice_is_not(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    (tmp_path / "copy.png").write_bytes((tmp_path / "1.png").read_bytes())
    found = checked(tmp_path, [row(), row(lesion_id="L2"), row(image="copy.png")])
    assert codes(found) == [(4, Code.ROW_REPEATED)]
    assert "line 2" in found.faults[0].reason


def test_a_lesion_with_two_results_is_a_fault(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    save_picture(tmp_path / "2.png", 2)
    found = checked(tmp_path, [row(), row(image="2.png", pathology="malignant")])
    assert codes(found) == [(3, Code.LABEL_CONTRADICTORY)]


def test_a_lesion_with_two_categories_is_a_warning(tmp_path: Path) -> None:
    for number in range(1, 6):
        save_picture(tmp_path / f"{number}.png", number)
    categories = (None, "4", "4A", "3", "4B")
    found = checked(tmp_path, [row(image=f"{n}.png", birads=said) for n, said in enumerate(categories, start=1)])
    assert found.faults == ()
    assert [(one.line, one.code, one.reason) for one in found.warnings] == [
        (5, Code.LABEL_CONTRADICTORY, "the same lesion as line 3, and another category")
    ]


def test_one_image_of_two_patients_is_a_fault_however_it_is_stored(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    Image.open(tmp_path / "1.png").save(tmp_path / "1.tif")
    found = checked(tmp_path, [row(), row(image="1.tif", patient_key="P2", pathology="malignant")])
    assert codes(found) == [(3, Code.IMAGE_REPEATED)]
    assert found.faults[0].reason == "the same image as line 2, of another patient_key, and another pathology"


def test_nearly_the_same_image_of_two_patients_is_a_warning(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    Image.open(tmp_path / "1.png").save(tmp_path / "1.jpg", quality=90)
    found = checked(tmp_path, [row(), row(image="1.jpg", patient_key="P2")])
    assert found.faults == ()
    assert [(fault.line, fault.code) for fault in found.warnings] == [(3, Code.IMAGE_REPEATED)]
    assert found.pairs == ((2, 3),)


def test_a_leaking_split_is_a_fault_of_the_manifest(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    save_picture(tmp_path / "2.png", 2)
    rows = [row(split="train"), row(image="2.png", split="test")]
    found = checked(tmp_path, rows)
    assert codes(found) == [(3, Code.SPLIT_LEAKS)]
    assert {one.split for one in unsplit(found.manifest).rows.values()} == {None}


def test_no_fault_tells_a_patients_key_or_a_path(tmp_path: Path) -> None:
    save_picture(tmp_path / "Example.png", 1)
    rows = [
        row(image="Example.png", patient_key="Example", site="Example", split="train"),
        row(image="Example.png", patient_key="Example", split="test", pathology="malignant"),
        row(image="Example.png", patient_key="Example2", site="Example", split="external"),
        row(image="Example/nowhere.png", patient_key="Example3"),
        row(image="Example.png", patient_key="Example4", roi=None, mask="Example.txt"),
    ]
    found = checked(tmp_path, rows)
    assert {fault.code for fault in found.faults} == {
        Code.ROW_REPEATED, Code.LABEL_CONTRADICTORY, Code.IMAGE_REPEATED, Code.SPLIT_LEAKS, Code.FILE_NOT_FOUND,
        Code.MASK_INVALID,
    }  # fmt: skip
    assert not [fault for fault in found.faults if "Example" in fault.reason]
    assert all(isinstance(fault, Fault) for fault in found.faults)


def test_the_digest_is_of_rows_and_files_whatever_their_order_and_place(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there" / "deeper"
    rows = cohort(here, 4)
    cohort(there / "moved", 4)
    moved = [one.model_copy(update={"image": f"moved/{one.image}"}) for one in reversed(rows)]
    digest = checked(here, rows).digest
    assert checked(there, moved).digest == digest
    older = rows[0].model_copy(update={"age_years": 48.0})
    assert checked(here, [older, *rows[1:]]).digest != digest
    assert checked(here, rows[1:]).digest != digest
    save_picture(here / rows[0].image, seed=77)
    assert checked(here, rows).digest != digest


def test_progress_is_told(tmp_path: Path) -> None:
    write_manifest(tmp_path / "m.csv", cohort(tmp_path, 2))
    told: list[tuple[int, int]] = []
    check(read_manifest(tmp_path / "m.csv"), on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("finding", [Finding.OVERLAY_IN_ROI, Finding.CALIPERS])
def test_rows_with_a_finding_are_excluded_where_that_is_asked(tmp_path: Path, finding: Finding) -> None:
    save_picture(tmp_path / "1.png", 1)
    with_calipers(tmp_path / "2.png")
    write_manifest(tmp_path / "m.csv", [row(), row(image="2.png", patient_key="P2", split="train", fold=1)])
    manifest = read_manifest(tmp_path / "m.csv")
    assert QualityFinding.OVERLAY_IN_ROI in check(manifest).seen[3].quality_findings
    found = check(manifest, excluding=(finding,))
    assert (found.faults, list(found.sound)) == ((), [2])
    left_out = found.manifest.rows[3]
    assert (left_out.excluded, left_out.split, left_out.fold) == (finding, None, None)
    assert 3 not in found.prints


def test_a_row_can_be_excluded_by_each_finding_of_the_service() -> None:
    assert {*Finding} == {*QualityFinding, "calipers"}


def test_what_an_image_shows_is_measured_in_the_manifests_pixels(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", 1)
    found = checked(tmp_path, [row(pixel_spacing_mm=0.5, scanner_model="Model A")])
    assert (found.seen[2].lesion_px, found.seen[2].lesion_mm, found.seen[2].frame_px) == (24, 12.0, 64)
    assert found.seen[2].scanner_model == "Model A"
