"""A hospital's PACS export and its table of lesions, made here: what becomes a manifest, and what is said."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl import Workbook
from PIL import Image
from pydicom import dcmread

from tests.worker.imaging.dicom_files import picture, region, write
from worker.clinical.categories import Birads
from worker.dataset.check import check
from worker.dataset.importers.dicom import DicomImporter
from worker.dataset.importers.imported_dataset import Imported
from worker.dataset.importers.lesion_table import read_lesion_table
from worker.dataset.importers.pacs_export import ExportedFile, read_export
from worker.dataset.manifest import ManifestRow, Pathology
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.dataset.opaque_names import opaque_name
from worker.errors import Code, SetupRefused
from worker.study import Lesion, MarkedImage, Roi

KEY = b"k" * 32
UID = "1.2.826.0.1.3680043.8.498.7"
ROI = {"roi_x": "10", "roi_y": "8", "roi_width": "24", "roi_height": "16"}
IDENTIFIERS = ("Hopper", "MRN", "ACC", UID, "19790101")


def image_uid(study: int, image: int) -> str:
    return f"{UID}.{study}.{image}"


def add(folder: Path, study: int, image: int = 1, patient: int | None = None, frames: int = 0, **elements: Any) -> Path:
    """An image of a study, each with its own accession number; of the patient of the same number, unless said."""
    pixels = picture(seed=100 * study + image)
    said: dict[str, Any] = {
        "SOPInstanceUID": image_uid(study, image), "StudyInstanceUID": f"{UID}.{study}",
        "AccessionNumber": f"ACC{study}", "PatientID": f"MRN{study if patient is None else patient}",
        "PatientName": "Hopper^Grace", "PatientBirthDate": "19790101", "PatientAge": None, "StudyDate": "20260101",
        "InstitutionName": "North", "Manufacturer": "Acme", "ManufacturerModelName": "U1",
    }  # fmt: skip
    if frames:
        pixels, said = np.stack([pixels + at for at in range(frames)]), said | {"NumberOfFrames": frames}
    return write(folder / f"Hopper^Grace-{study}" / f"IM{image}", pixels, **(said | elements))


def export(folder: Path) -> Path:
    """Three patients: the first with two images in one study, the second with two studies."""
    add(folder, 1, 1)
    add(folder, 1, 2)
    add(folder, 2)
    add(folder, 3, patient=2)
    add(folder, 4)
    return folder


def line(**cells: str) -> dict[str, str]:
    return {"pathology": "benign", "BI-RADS": "4A"} | cells


def save(path: Path, lines: Sequence[Mapping[str, str]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for one in lines for name in one)))
        writer.writeheader()
        writer.writerows(lines)
    return path


def no_marks(_files: Sequence[ExportedFile]) -> Sequence[Lesion]:
    return ()


def imported(folder: Path, lines: Sequence[Mapping[str, str]], marks: Any = no_marks) -> Imported:
    table = read_lesion_table(save(folder / "lesions.csv", lines))
    importer = DicomImporter(read_export(folder / "export", lambda *_: None), marks, folder / "m-images", folder, KEY)
    return importer.run(table, lambda *_: None)


def faults(made: Imported) -> list[tuple[int, str]]:
    return [(fault.line, str(fault.code)) for fault in made.faults]


def test_a_row_finds_its_image_by_its_uid_or_its_study_by_the_accession_number(tmp_path: Path) -> None:
    export(tmp_path / "export")
    made = imported(
        tmp_path,
        [
            line(**{"SOP Instance UID": image_uid(1, 1), "lesion_id": "left 3h"}, **ROI),
            line(**{"SOP Instance UID": image_uid(1, 2), "lesion_id": "left 3h"}, **ROI),
            line(**{"Accession Number": "ACC2", "BI-RADS": "5", "pathology": "Malignant"}, **ROI),
            line(**{"Accession Number": "ACC3"}, **ROI),
        ],
    )
    assert made.faults == ()
    rows = made.rows
    assert [row.patient_key for row in rows] == [
        opaque_name(KEY, "patient", f"MRN{patient}") for patient in (1, 1, 2, 2)
    ]
    assert [row.birads for row in rows] == ["4A", "4A", "5", "4A"]
    assert [row.pathology for row in rows] == [*[Pathology.BENIGN] * 2, Pathology.MALIGNANT, Pathology.BENIGN]
    assert [row.lesion_id == rows[0].lesion_id for row in rows] == [True, True, False, False]
    assert {(row.age_years, row.site, row.scanner_model) for row in rows} == {(47.0, "North", "Acme U1")}
    pixels = np.asarray(Image.open(tmp_path / rows[1].image))
    assert (pixels == picture(seed=102)).all()
    write_manifest(tmp_path / "m.csv", rows)
    assert check(read_manifest(tmp_path / "m.csv")).faults == ()


def test_no_identifier_is_in_the_manifest_or_beside_it(tmp_path: Path) -> None:
    export(tmp_path / "export")
    lines = [
        line(accession_number="ACC2", patient_id="MRN2", lesion_id="Hopper, left", Name="Grace Hopper", **ROI),
        line(accession_number="ACC9", lesion_id="Hopper, left", Name="Grace Hopper"),
        line(accession_number="ACC4", pathology="", patient_id="MRN4"),
    ]
    made = imported(tmp_path, lines)
    write_manifest(tmp_path / "m.csv", made.rows)
    written = (tmp_path / "m.csv").read_bytes() + "".join(fault.reason for fault in made.faults).encode()
    for path in (tmp_path / "m-images").iterdir():
        written += path.name.encode() + path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
    assert [word for word in IDENTIFIERS if word.encode() in written] == []
    assert any("1 columns" in note for note in made.notes)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"accession_number": "ACC9"}], ["study_not_found"]),
        ([{"sop_instance_uid": f"{UID}.9.9"}], ["sop_instance_not_found"]),
        ([{"sop_instance_uid": ""}], ["row_invalid"]),
        ([{"sop_instance_uid": image_uid(2, 1), "accession_number": "ACC3"}], ["sop_instance_not_found"]),
        ([{"accession_number": "ACC2", "patient_id": "MRN4"}], ["patient_mismatch"]),
        ([{"accession_number": "ACC1"}], ["sop_instance_ambiguous"]),
        ([{"accession_number": "ACC2", "birads": "4D"}], ["row_invalid"]),
        ([{"accession_number": "ACC2", "roi_x": "60"}], ["roi_outside_image"]),
        ([{"accession_number": "ACC2", "age_years": "61"}], ["age_contradictory"]),
        ([{"accession_number": "ACC2", "frame": "3"}], ["frame_not_found"]),
        (
            [{"sop_instance_uid": image_uid(1, 1)}, {"sop_instance_uid": image_uid(1, 2)}],
            ["row_invalid", "row_invalid"],
        ),
        (
            [
                {"sop_instance_uid": image_uid(1, 1), "lesion_id": "a", "birads": "4A"},
                {"sop_instance_uid": image_uid(1, 2), "lesion_id": "a", "birads": "5"},
            ],
            ["label_contradictory", "label_contradictory"],
        ),
        (
            [
                {"sop_instance_uid": image_uid(1, 1), "lesion_id": "a", "pathology": "benign"},
                {"sop_instance_uid": image_uid(1, 2), "lesion_id": "a", "pathology": "malignant"},
            ],
            ["label_contradictory", "label_contradictory"],
        ),
        (
            [{"sop_instance_uid": image_uid(1, 1), "lesion_id": name} for name in ("a", "b")],
            ["row_invalid", "row_invalid"],
        ),
        ([{"sop_instance_uid": image_uid(1, 1), "lesion_id": "a"}] * 2, ["row_repeated"]),
    ],
    ids=str,
)
def test_a_row_that_is_wrong_is_said_with_what_to_do_and_left_out_and_the_others_go_on(
    lines: list[dict[str, str]], said: list[str], tmp_path: Path
) -> None:
    export(tmp_path / "export")
    last = {"accession_number": "ACC4"}
    made = imported(tmp_path, [{"pathology": "benign", **ROI, **one} for one in [*lines, last]])
    assert [code for _, code in faults(made)] == said
    assert {row.excluded for row in made.rows} == {*said, None}
    assert made.rows[-1].excluded is None
    assert len(made.rows) == len(lines) + 1
    for fault in made.faults:
        assert ":" in fault.reason or "." in fault.reason
        assert not any(word in fault.reason for word in IDENTIFIERS)


def test_a_4_without_its_letter_contradicts_no_4a_of_the_lesion_on_another_image(tmp_path: Path) -> None:
    export(tmp_path / "export")
    lines = [
        line(sop_instance_uid=image_uid(1, at), lesion_id="a", **{"BI-RADS": birads})
        for at, birads in ((1, "4"), (2, "4a"))
    ]
    assert imported(tmp_path, lines).faults == ()


def test_files_of_two_patients_under_one_accession_number_are_refused_and_one_image_by_its_uid_is_not(
    tmp_path: Path,
) -> None:
    export(tmp_path / "export")
    add(tmp_path / "export", 2, 7, patient=5)
    made = imported(tmp_path, [line(accession_number="ACC2"), line(accession_number="ACC4")])
    assert faults(made) == [(2, "patient_mismatch")]
    made = imported(tmp_path, [line(sop_instance_uid=image_uid(2, 7))])
    assert [row.patient_key for row in made.rows] == [opaque_name(KEY, "patient", "MRN5")]


def test_lesions_without_a_result_or_a_patient_are_counted_and_are_no_fault(tmp_path: Path) -> None:
    export(tmp_path / "export")
    add(tmp_path / "export", 5, PatientID="")
    lines = [
        line(accession_number="ACC2", pathology=""),
        line(accession_number="ACC5"),
        line(accession_number="ACC9", excluded="prior_biopsy"),
        line(accession_number="ACC3", excluded="prior_biopsy"),
        line(accession_number="ACC4"),
    ]
    made = imported(tmp_path, lines)
    assert made.faults == ()
    reasons = ["no_pathology", "patient_unknown", "prior_biopsy", "prior_biopsy", None]
    assert [row.excluded for row in made.rows] == reasons
    assert made.rows[3].patient_key == opaque_name(KEY, "patient", "MRN2")


def test_a_table_that_leaves_each_of_its_rows_out_is_refused_with_the_reasons(tmp_path: Path) -> None:
    export(tmp_path / "export")
    lines = [line(accession_number="ACC2", pathology=""), line(accession_number="ACC3", excluded="prior_biopsy")]
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path, lines)
    assert refused.value.code is Code.DATASET_INVALID
    assert "no_pathology 1, prior_biopsy 1" in refused.value.reason


def test_a_frame_of_several_is_taken_and_one_has_to_be_named(tmp_path: Path) -> None:
    add(tmp_path / "export", 1, frames=3)
    lines = [line(accession_number="ACC1", lesion_id=name, frame=frame) for name, frame in (("a", "2"), ("b", ""))]
    made = imported(tmp_path, lines)
    assert faults(made) == [(3, "frame_not_given")]
    assert (np.asarray(Image.open(tmp_path / made.rows[0].image)) == picture(seed=101) + 1).all()
    assert made.rows[0].frame is None


def test_what_marks_a_lesion_gives_its_images_its_place_and_its_category(tmp_path: Path) -> None:
    export(tmp_path / "export")
    both = [MarkedImage(image_uid(1, at), None, Roi(at, 2, 20, 18)) for at in (1, 2)]

    def marks(files: Sequence[ExportedFile]) -> Sequence[Lesion]:
        of_first = files[0].identity.accession_number == "ACC1"
        return (
            [Lesion("a", tuple(both), Birads.LOW_SUSPICION), Lesion("b", (both[1],), Birads.BENIGN)] if of_first else ()
        )

    said = {"accession_number": "ACC1", "pathology": "benign"}
    made = imported(tmp_path, [said | {"lesion_id": "a"}, line(accession_number="ACC2")], marks)
    assert [(row.roi.x, row.birads) for row in made.rows[:2] if row.roi] == [(1, "4A"), (2, "4A")]
    assert len(made.rows) == 3
    assert any("1 lesions have no region" in note for note in made.notes)

    assert faults(imported(tmp_path, [said, line(accession_number="ACC2")], marks)) == [(2, "sop_instance_ambiguous")]
    by_image = {"sop_instance_uid": image_uid(1, 1), "pathology": "benign"}
    assert [row.birads for row in imported(tmp_path, [by_image], marks).rows] == ["4A"]


def test_the_size_of_a_pixel_is_the_headers_where_pixels_are_square(tmp_path: Path) -> None:
    for study, down in ((1, 0.01), (2, 0.02)):
        item = region(Roi(0, 0, 64, 48))
        item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
        item.PhysicalDeltaX, item.PhysicalDeltaY = 0.01, down
        add(tmp_path / "export", study, SequenceOfUltrasoundRegions=[item])
    made = imported(tmp_path, [line(accession_number=f"ACC{study}", **ROI) for study in (1, 2)])
    assert [row.pixel_spacing_mm for row in made.rows] == [0.1, None]


def test_a_workbook_says_the_same_as_a_csv(tmp_path: Path) -> None:
    export(tmp_path / "export")
    lines = [line(accession_number="ACC2", **ROI), line(accession_number="ACC9", **ROI)]
    book = Workbook()
    book.active.append([*lines[0]])  # type: ignore[union-attr]
    for one in lines:
        values = [int(cell) if cell.isdigit() else cell for cell in one.values()]
        book.active.append(values)  # type: ignore[union-attr]
    book.save(tmp_path / "lesions.xlsx")
    table, other = read_lesion_table(tmp_path / "lesions.xlsx"), read_lesion_table(save(tmp_path / "l.csv", lines))
    assert (table.rows, table.faults) == (other.rows, other.faults)


def test_thousands_of_other_files_and_copies_of_an_image_are_passed_over(tmp_path: Path) -> None:
    export(tmp_path / "export")
    copy = (tmp_path / "export" / "Hopper^Grace-2" / "IM1").read_bytes()
    other = tmp_path / "export" / "other"
    other.mkdir()
    for number in range(2000):
        (other / f"{number}.txt").write_text("x" * (number % 300))
    (other / "copy").write_bytes(copy)
    (other / "cut").write_bytes(copy[:-900])
    made = imported(tmp_path, [line(accession_number="ACC2", **ROI), line(accession_number="ACC9")])
    assert [row.excluded for row in made.rows] == [None, "study_not_found"]
    assert any(note.startswith("2000 files") for note in made.notes)
    assert "1 files cannot be read" in made.faults[0].reason
    (other / "copy").write_bytes(copy[:-2] + b"\7\7")
    made = imported(tmp_path, [line(sop_instance_uid=image_uid(2, 1), **ROI), line(accession_number="ACC4")])
    assert faults(made) == [(2, "sop_instance_ambiguous")]


def test_pictures_of_an_earlier_export_are_not_taken_for_those_of_another(tmp_path: Path) -> None:
    add(tmp_path / "export", 1)
    lines = [line(accession_number="ACC1", **ROI)]
    (first,) = imported(tmp_path, lines).rows
    (again,) = imported(tmp_path, lines).rows
    assert again == first
    kept = (tmp_path / first.image).read_bytes()
    (exported,) = (tmp_path / "export").rglob("IM1")
    file = dcmread(exported)
    pixels = file.pixel_array.copy()
    pixels[:10] = 0
    file.PixelData = pixels.tobytes()
    file.save_as(exported)
    with pytest.raises(SetupRefused) as raised:
        imported(tmp_path, lines)
    assert raised.value.code is Code.DATASET_INVALID
    assert "m-images" in raised.value.reason
    assert (tmp_path / first.image).read_bytes() == kept


def test_a_folder_or_table_without_any_lesion_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "a.jpg").write_text("no image")
    with pytest.raises(SetupRefused) as raised:
        imported(tmp_path, [line(accession_number="ACC1")])
    assert "DICOM files (PS3.10)" in raised.value.reason
    add(tmp_path / "export", 1)
    with pytest.raises(SetupRefused) as raised:
        imported(tmp_path, [line(accession_number="ACC9"), line(accession_number="ACC1", pathology="")])
    assert "DICOM files (PS3.10)" in raised.value.reason
    assert not (tmp_path / "m-images").exists()
    for lines, said in (
        ([{"pathology": "benign"}], "sop_instance_uid"),
        ([{"accession_number": "ACC1"}], "pathology"),
        ([{"accession_number": "ACC1", "Accession Number": "ACC1", "pathology": "benign"}], "same name"),
    ):
        with pytest.raises(SetupRefused) as raised:
            imported(tmp_path, lines)
        assert said in raised.value.reason
        assert raised.value.code is Code.DATASET_INVALID


def test_a_row_with_a_cell_too_many_is_bad_since_its_values_may_be_those_of_other_columns(tmp_path: Path) -> None:
    table = tmp_path / "lesions.csv"
    table.write_text("accession_number,pathology,age_years,birads\nACC1,benign,47,5,3\nACC2,benign,47,3\n")
    read = read_lesion_table(table)
    assert [(fault.line, fault.reason) for fault in read.faults] == [(2, "more cells than columns")]
    assert list(read.rows) == [3]


def test_rows_of_a_study_that_is_of_two_patients_are_bad(tmp_path: Path) -> None:
    add(tmp_path / "export", 1, 1)
    add(tmp_path / "export", 1, 2, patient=9)
    add(tmp_path / "export", 2)
    lines = [
        line(sop_instance_uid=image_uid(study, image), lesion_id="a", **ROI)
        for study, image in ((1, 1), (1, 2), (2, 1))
    ]
    assert faults(imported(tmp_path, lines)) == [(2, "patient_mismatch"), (3, "patient_mismatch")]
    kept = [lines[0], lines[1] | {"excluded": "other_patient"}, lines[2] | {"excluded": ""}]
    assert faults(imported(tmp_path, kept)) == []


def test_bad_rows_of_two_tables_are_of_no_one_patient(tmp_path: Path) -> None:
    keys = set()
    for name in ("a", "b"):
        add(tmp_path / name / "export", 1)
        bad = imported(tmp_path / name, [line(accession_number="ACC1", **ROI), line(accession_number="ACC9")])
        keys.add(bad.rows[1].patient_key)
    assert len(keys) == 2


def test_a_file_where_the_pictures_folder_would_be_is_told(tmp_path: Path) -> None:
    add(tmp_path / "export", 1)
    (tmp_path / "m-images").write_text("")
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        imported(tmp_path, [line(accession_number="ACC1", **ROI)])


LINES = st.fixed_dictionaries(
    {
        "sop_instance_uid": st.sampled_from(["", *(image_uid(study, 1) for study in (1, 2, 3, 9)), image_uid(1, 2)]),
        "accession_number": st.sampled_from(["", "ACC1", "ACC2", "ACC3", "ACC9"]),
        "lesion_id": st.sampled_from(["", "a", "b"]),
        "birads": st.sampled_from(["", "3", "4", "4A", "7"]),
        "pathology": st.sampled_from(["benign", "malignant", "", "maybe"]),
        "roi_x": st.sampled_from(["2", "9"]),
    }
)


@pytest.fixture(scope="module")
def shared_export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("hospital") / "export").parent


@settings(max_examples=60)
@given(lines=st.lists(LINES, min_size=1, max_size=6))
def test_whatever_a_table_says_each_of_its_lines_is_in_the_manifest_and_what_is_taken_is_sound(
    lines: list[dict[str, str]], shared_export: Path
) -> None:
    last = {"accession_number": "ACC4", "pathology": "benign"}
    given_lines = [ROI | one for one in [*lines, last]]
    made = imported(shared_export, given_lines)
    assert len(made.rows) == len(given_lines)
    at_fault = {fault.line for fault in made.faults}
    for number, (row, said) in enumerate(zip(made.rows, given_lines, strict=True), start=2):
        if number in at_fault:
            assert row.excluded in {str(fault.code) for fault in made.faults if fault.line == number}
        else:
            assert row.excluded == (None if said["pathology"] else "no_pathology")
    taken = [row for row in made.rows if row.excluded is None]
    _of_one_patient_each(taken)
    (shared_export / "m.csv").unlink(missing_ok=True)
    write_manifest(shared_export / "m.csv", taken)
    assert {fault.code for fault in check(read_manifest(shared_export / "m.csv")).faults} == set()


def _of_one_patient_each(rows: Sequence[ManifestRow]) -> None:
    known = {opaque_name(KEY, "patient", f"MRN{patient}") for patient in range(1, 5)}
    assert {row.patient_key for row in rows} <= known
    of_lesion: dict[str, str] = {}
    assert all(of_lesion.setdefault(row.lesion_id, row.patient_key) == row.patient_key for row in rows)
