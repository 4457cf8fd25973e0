"""BUS-BRA's layout: a table, and each row held against its image and mask."""

import csv
from pathlib import Path
from typing import Any

import pytest

from tests.shared import real_set
from tests.worker.dataset.manifests import save_mask, save_picture
from worker.dataset.importers.bus_bra import LAYOUT, NOTES, import_bus_bra
from worker.dataset.manifest import ManifestRow
from worker.errors import Code, SetupRefused

HEADER = ("ID", "Case", "Histology", "Pathology", "BIRADS", "Device", "Width", "Height", "Side", "BBOX")


def line(name: str, case: str, **changes: Any) -> dict[str, Any]:
    return dict(zip(HEADER, (
        f"bus_{name}", case, "Fibroadenoma", "benign", "3", "GE Logiq 5", "64", "48", "right", "[6, 8, 20, 10]",
    ), strict=True)) | changes  # fmt: skip


def save(folder: Path, lines: list[dict[str, Any]]) -> None:
    for place, one in enumerate(lines):
        name = one["ID"].removeprefix("bus_")
        save_picture(folder / "Images" / f"bus_{name}.png", place + 1)
        save_mask(folder / "Masks" / f"mask_{name}.png", 5, 7, 20, 10)
    with (folder / "bus_data.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(lines)


def imported(folder: Path) -> tuple[ManifestRow, ...]:
    return import_bus_bra(folder, folder, lambda _done, _total: None).rows


def test_the_published_layout_becomes_rows(tmp_path: Path) -> None:
    save(tmp_path, [
        line("0001-l", "1", BIRADS="4", Pathology="malignant", Histology="Invasive ductal carcinoma", Side="left"),
        line("0001-r", "1", BIRADS="4", Pathology="malignant"),
        line("0002-s", "2", Side="single"),
    ])  # fmt: skip
    one, view, other = imported(tmp_path)
    assert (one.image, one.mask) == ("Images/bus_0001-l.png", "Masks/mask_0001-l.png")
    assert (one.pathology, one.birads, one.high_risk, one.patient_key) == ("malignant", "4", True, "bus-bra-1")
    assert (view.patient_key, view.lesion_id) == (one.patient_key, one.lesion_id)
    assert (other.patient_key, other.image, other.high_risk) == ("bus-bra-2", "Images/bus_0002-s.png", False)
    assert all(row.excluded is None and row.age_years is None for row in (one, view, other))


def test_a_row_that_is_not_of_its_image_is_left_out(tmp_path: Path) -> None:
    save(tmp_path, [
        line("1", "1", Width="640"),
        line("2", "2", BBOX="[30, 8, 20, 10]"),
        line("3", "3", BBOX="none"),
        line("4", "4", Pathology="unclear"),
        line("5", "5"),
        line("6", "6"),
        line("7", "7", BBOX="[5, 7, 20, 10]"),
    ])  # fmt: skip
    (tmp_path / "Masks" / "mask_5.png").unlink()
    (tmp_path / "Images" / "bus_6.png").unlink()
    assert [row.excluded for row in imported(tmp_path)] == [
        "size_differs", "bbox_differs", "bbox_differs", "pathology_unknown", "mask_missing", "image_unreadable", None,
    ]  # fmt: skip


def test_a_category_that_is_none_is_not_known(tmp_path: Path) -> None:
    save(tmp_path, [line("1", "1", BIRADS=""), line("2", "2", BIRADS="12")])
    assert [row.birads for row in imported(tmp_path)] == [None, None]


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a/b"])
def test_no_file_outside_of_its_folders_is_looked_at(tmp_path: Path, name: str) -> None:
    save(tmp_path, [line("1", "1")])
    text = (tmp_path / "bus_data.csv").read_text().replace("bus_1", name)
    (tmp_path / "bus_data.csv").write_text(text)
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        imported(tmp_path)


def test_another_table_is_refused_with_what_it_lacks(tmp_path: Path) -> None:
    save(tmp_path, [line("1", "1")])
    table = tmp_path / "bus_data.csv"
    table.write_text(table.read_text().replace("BIRADS", "birads_category"))
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path)
    assert (refused.value.code, "BIRADS" in refused.value.reason) == (Code.DATASET_INVALID, True)
    table.unlink()
    with pytest.raises(SetupRefused, match="dataset_invalid"):
        imported(tmp_path)


def test_folders_are_found_whatever_their_case_and_number(tmp_path: Path) -> None:
    save(tmp_path, [line("1", "1")])
    (tmp_path / "Images").rename(tmp_path / "images")
    (tmp_path / "Masks").rename(tmp_path / "mask")
    (one,) = imported(tmp_path)
    assert (one.image, one.mask) == ("images/bus_1.png", "mask/mask_1.png")


def test_a_table_without_its_images_is_refused_by_the_layout(tmp_path: Path) -> None:
    save(tmp_path, [line("1", "1"), line("2", "2")])
    (tmp_path / "Images").rename(tmp_path / "elsewhere")
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path)
    assert LAYOUT in refused.value.reason


def test_masks_in_another_folder_are_refused_by_where_they_were_looked_for(tmp_path: Path) -> None:
    save(tmp_path, [line("1", "1"), line("2", "2")])
    (tmp_path / "Masks").rename(tmp_path / "elsewhere")
    with pytest.raises(SetupRefused) as refused:
        imported(tmp_path)
    assert "mask_missing 2" in refused.value.reason
    assert refused.value.reason.endswith("images were looked for in Images, masks in the folder itself")


def test_the_real_set_is_read_to_the_row() -> None:
    rows = imported(real_set("bus-bra"))
    left_out = {Path(row.image).stem: row.excluded for row in rows if row.excluded is not None}
    assert len(rows) == 563
    assert len({row.patient_key for row in rows}) == 319
    assert {row.scanner_model for row in rows} == {"GE Logiq 5", "GE Logiq 7", "Toshiba Aplio 300", "U-Systems"}
    assert left_out == {name: left_out[name] for name in (
        "bus_0845-s", "bus_0856-l", "bus_0857-r", "bus_0912-l", "bus_0990-l",
    )}  # fmt: skip


def test_rows_without_their_patient_are_left_out_and_are_not_one_woman(tmp_path: Path) -> None:
    save(tmp_path, [line("1", ""), line("2", " ", Pathology="malignant"), line("3", "3")])
    rows = imported(tmp_path)
    assert [row.excluded for row in rows] == ["patient_unknown", "patient_unknown", None]
    assert len({row.patient_key for row in rows}) == 3


def test_a_category_that_can_not_be_read_is_counted(tmp_path: Path) -> None:
    save(tmp_path, [line("1", "1"), line("2", "2", BIRADS="BI-RADS 4"), line("3", "3", BIRADS="")])
    made = import_bus_bra(tmp_path, tmp_path, lambda _done, _total: None)
    assert [row.birads for row in made.rows] == ["3", None, None]
    assert made.notes[len(NOTES) :] == (
        "1 values of BIRADS cannot be read, and count as not known; the first is in row 3",
    )


def test_a_table_with_semicolons_is_read(tmp_path: Path) -> None:
    save(tmp_path, [line("1", "1")])
    table = tmp_path / "bus_data.csv"
    with table.open(newline="") as file:
        cells = list(csv.reader(file))
    with table.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows(cells)
    (one,) = imported(tmp_path)
    assert (one.patient_key, one.birads, one.excluded) == ("bus-bra-1", "3", None)
