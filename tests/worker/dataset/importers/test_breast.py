"""BrEaST's layout: a workbook with ages, categories, classes and the lexicon's descriptors."""

import re
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.shared import real_set
from tests.worker.dataset.manifests import save_mask, save_picture
from worker.dataset.importers.breast import IMAGES, LAYOUT, NOTES, descriptors_of, import_breast
from worker.dataset.manifest import ManifestRow
from worker.errors import Code, SetupRefused

LINE: dict[str, Any] = {
    "CaseID": 1, "Image_filename": "case001.png", "Mask_tumor_filename": "case001_tumor.png",
    "Mask_other_filename": None, "Pixel_size": 0.0071, "Age": 57,
    "Tissue_composition": "heterogeneous: predominantly fat",
    "Signs": "palpable", "Symptoms": "no", "Shape": "irregular",
    "Margin": "not circumscribed - angular & indistinct", "Echogenicity": "heterogeneous",
    "Posterior_features": "shadowing", "Halo": "no", "Calcifications": "no", "Skin_thickening": "yes",
    "Interpretation": "Breast cancer", "BIRADS": "4c", "Verification": "confirmed by biopsy",
    "Diagnosis": "Invasive ductal carcinoma", "Classification": "malignant",
}  # fmt: skip


def line(case: int, **changes: Any) -> dict[str, Any]:
    names = {"CaseID": case, "Image_filename": f"case{case:03}.png", "Mask_tumor_filename": f"case{case:03}_tumor.png"}
    return LINE | names | changes


def save(folder: Path, lines: list[dict[str, Any]], name: str = "BrEaST-Lesions-USG-clinical-data.xlsx") -> None:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    sheet.append(list(LINE))
    for one in lines:
        sheet.append(list(one.values()))
        save_picture(folder / IMAGES / one["Image_filename"], one["CaseID"])
        for mask in filter(None, (one["Mask_tumor_filename"] or "").split("&")):
            save_mask(folder / IMAGES / mask, 5, 7, 20, 10)
    book.save(folder / name)


def imported(folder: Path) -> tuple[ManifestRow, ...]:
    return import_breast(folder, folder, lambda _done, _total: None).rows


def test_the_published_layout_becomes_rows(tmp_path: Path) -> None:
    save(tmp_path, [line(1), line(2, Age="not available", BIRADS=3, Classification="benign", Shape="oval")])
    one, other = imported(tmp_path)
    assert (one.image, one.mask) == (f"{IMAGES}/case001.png", f"{IMAGES}/case001_tumor.png")
    assert (one.age_years, one.birads, one.pathology, one.patient_key) == (57, "4C", "malignant", "breast-1")
    assert one.descriptors == {
        "tissue_composition": "heterogeneous", "shape": "irregular", "posterior_features": "shadowing",
        "echo_pattern": "heterogeneous", "margin_circumscribed": "no", "margin_angular": "yes",
        "margin_indistinct": "yes", "margin_microlobulated": "no", "margin_spiculated": "no",
    }  # fmt: skip
    assert (other.age_years, other.birads, other.pathology) == (None, "3", "benign")
    assert (one.excluded, other.excluded) == (None, None)


@pytest.mark.parametrize(
    ("column", "value", "name", "expected"),
    [
        ("Tissue_composition", "homogeneous: fibroglandular", "tissue_composition", "fibroglandular"),
        ("Tissue_composition", "homogeneous: fat", "tissue_composition", "fat"),
        ("Tissue_composition", "lactating", "tissue_composition", None),
        ("Posterior_features", "no", "posterior_features", "none"),
        ("Echogenicity", "complex cystic/solid", "echo_pattern", "complex_cystic_and_solid"),
        ("Echogenicity", "hyperechoic", "echo_pattern", None),
        ("Shape", "not applicable", "shape", None),
        ("Margin", "circumscribed", "margin_circumscribed", "yes"),
        ("Margin", "circumscribed", "margin_spiculated", "no"),
        ("Margin", "not circumscribed - spiculated", "margin_spiculated", "yes"),
        ("Margin", "not applicable", "margin_circumscribed", None),
        ("Margin", "not circumscribed - jagged", "margin_circumscribed", None),
    ],
)
def test_only_what_table_s1_has_too_is_taken(column: str, value: str, name: str, expected: str | None) -> None:
    assert descriptors_of({column: value}).get(name) == expected


def test_what_can_not_be_used_is_left_out_with_its_reason(tmp_path: Path) -> None:
    save(tmp_path, [
        line(1, Classification="normal", Mask_tumor_filename=None, BIRADS=1),
        line(2, Mask_tumor_filename="a.png&b.png"),
        line(3, Mask_tumor_filename=None),
        line(4, Classification="unclear"),
        line(5),
        line(6),
        line(7),
    ])  # fmt: skip
    (tmp_path / IMAGES / "case005.png").unlink()
    (tmp_path / IMAGES / "case006_tumor.png").unlink()
    assert [row.excluded for row in imported(tmp_path)] == [
        "no_lesion", "label_not_of_one_lesion", "mask_missing", "pathology_unknown", "image_unreadable", "mask_missing",
        None,
    ]  # fmt: skip


def test_what_is_no_such_workbook_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        imported(tmp_path)
    (tmp_path / "a.xlsx").write_text("no workbook")
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        imported(tmp_path)
    book = openpyxl.Workbook()
    book.worksheets[0].append(["CaseID", "Age"])
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path)
    assert refused.value.code == Code.DATASET_INVALID
    assert "Image_filename" in refused.value.reason


def test_no_file_outside_of_its_folder_is_looked_at(tmp_path: Path) -> None:
    save(tmp_path, [line(1)])
    (tmp_path / "BrEaST-Lesions-USG-clinical-data.xlsx").unlink()
    save_picture(tmp_path / "inside.png", 1)
    book = openpyxl.Workbook()
    book.worksheets[0].append(list(LINE))
    book.worksheets[0].append(list(line(1, Image_filename="../inside.png").values()))
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        imported(tmp_path)


def test_the_pixels_size_and_what_confirmed_a_lesion_are_kept(tmp_path: Path) -> None:
    save(tmp_path, [
        line(1, Pixel_size=0.0071),
        line(2, Pixel_size=None, Verification="confirmed by follow-up care", Classification="benign"),
        line(3, Verification="not applicable"),
    ])  # fmt: skip
    assert [(row.pixel_spacing_mm, row.verification) for row in imported(tmp_path)] == [
        (0.071, "biopsy"), (None, "follow_up"), (0.071, None),
    ]  # fmt: skip


def test_what_follow_up_alone_confirmed_is_left_out_where_that_is_asked(tmp_path: Path) -> None:
    save(tmp_path, [line(1), line(2, Verification="confirmed by follow-up care", Classification="benign")])
    made = import_breast(tmp_path, tmp_path, lambda _done, _total: None, biopsied_only=True).rows
    assert [row.excluded for row in made] == [None, "not_biopsied"]


def test_images_and_masks_may_be_in_folders_of_their_own(tmp_path: Path) -> None:
    save(tmp_path, [line(1)])
    for folder, name in (("images", "case001.png"), ("mask", "case001_tumor.png")):
        (tmp_path / folder).mkdir()
        (tmp_path / IMAGES / name).rename(tmp_path / folder / name)
    (tmp_path / IMAGES).rmdir()
    (one,) = imported(tmp_path)
    assert (one.image, one.mask, one.excluded) == ("images/case001.png", "mask/case001_tumor.png", None)


def test_a_workbook_without_its_images_is_refused_by_the_layout(tmp_path: Path) -> None:
    normal = line(3, Classification="normal", Mask_tumor_filename=None, BIRADS=1)
    save(tmp_path, [line(1), line(2), normal])
    (tmp_path / IMAGES).rename(tmp_path / "elsewhere")
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path)
    assert LAYOUT in refused.value.reason
    assert "image_unreadable 2, no_lesion 1" in refused.value.reason


def test_masks_in_another_folder_are_refused_by_where_they_were_looked_for(tmp_path: Path) -> None:
    save(tmp_path, [line(1)])
    (tmp_path / "masks").mkdir()
    (tmp_path / IMAGES / "case001_tumor.png").rename(tmp_path / "masks" / "case001_tumor.png")
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path)
    assert refused.value.reason.endswith(
        f"(mask_missing 1); looked for {LAYOUT}; images were looked for in {IMAGES}, masks in {IMAGES}"
    )


def test_the_set_may_be_one_folder_below(tmp_path: Path) -> None:
    save(tmp_path / "BrEaST", [line(1)])
    (one,) = imported(tmp_path)
    assert (one.image, one.excluded) == (f"BrEaST/{IMAGES}/case001.png", None)
    save(tmp_path / "other", [line(1)])
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path)
    assert refused.value.reason.startswith("2 workbooks")


def test_the_real_set_is_read_to_the_row() -> None:
    rows = imported(real_set("breast"))
    assert Counter(row.excluded for row in rows) == {None: 252, "no_lesion": 4}
    kept = [row for row in rows if row.excluded is None]
    assert Counter(row.pathology for row in kept) == {"benign": 154, "malignant": 98}
    assert Counter(row.verification for row in kept) == {"biopsy": 197, "follow_up": 55}
    assert sum(row.age_years is not None for row in kept) == 211
    assert Counter(row.pathology for row in kept if row.birads == "4A") == {"benign": 43, "malignant": 1}
    assert all(0.04 < (row.pixel_spacing_mm or 0) < 0.14 for row in kept)


def test_a_row_without_its_patient_is_left_out_and_not_lost(tmp_path: Path) -> None:
    save(tmp_path, [line(1), line(2), line(3)])
    (book_path,) = tmp_path.glob("*.xlsx")
    book = openpyxl.load_workbook(book_path)
    book.worksheets[0]["A3"] = None
    book.worksheets[0].append([])
    book.save(book_path)
    rows = imported(tmp_path)
    assert [row.excluded for row in rows] == [None, "patient_unknown", None]
    assert len({row.patient_key for row in rows}) == 3


def test_values_that_can_not_be_read_are_counted_and_those_that_nobody_knows_are_not(tmp_path: Path) -> None:
    save(tmp_path, [
        line(1, Age="57 years", BIRADS="BI-RADS 4A"),
        line(2, Age="not available", BIRADS=None),
        line(3, Age=570, Pixel_size="0,0078"),
    ])  # fmt: skip
    notes = import_breast(tmp_path, tmp_path, lambda _done, _total: None).notes[len(NOTES) :]
    assert [note.split(" cannot be read")[0] for note in notes] == [
        "2 values of Age", "1 values of BIRADS", "1 values of Pixel_size",
    ]  # fmt: skip
    assert notes[0].endswith("the first is in row 2")


def test_a_workbook_that_says_it_is_smaller_than_it_is_is_read_whole(tmp_path: Path) -> None:
    save(tmp_path, [line(1), line(2, Age=None, Classification="")])
    (book,) = tmp_path.glob("*.xlsx")
    with zipfile.ZipFile(book) as found:
        parts = {name: found.read(name) for name in found.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    parts[sheet] = re.sub(rb'<dimension ref="[A-Z0-9:]+"', b'<dimension ref="A1:C2"', parts[sheet])
    with zipfile.ZipFile(book, "w") as written:
        for name, content in parts.items():
            written.writestr(name, content)
    one, other = imported(tmp_path)
    assert (one.age_years, one.birads, other.age_years, other.excluded) == (57, "4C", None, "pathology_unknown")
