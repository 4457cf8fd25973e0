"""The DICOM conformance statement, held against the receiver, the sender and the documents that are made."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.datadict import tag_for_keyword
from pydicom.pixels.decoders.base import get_decoder
from pynetdicom import ALL_TRANSFER_SYNTAXES, PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION

from db.schema.vocabulary import Laterality, Plane
from tests.test_docs import CONFORMANCE
from tests.worker.reporting.samples import (
    COLUMNS,
    ROWS,
    failed,
    image_of,
    refused_image,
    scored,
    source_of,
    study,
    write_image,
)
from worker.clinical.birads_codes import CATEGORIES, MEANINGS
from worker.errors import DlrError
from worker.imaging import dicom_file, dicomweb, layout
from worker.imaging.query_retrieve import DECODED, FIND, GET, MOVE
from worker.imaging.storage_classes import IMAGE_CLASSES
from worker.intake import commitment_report, receiver
from worker.intake.commitment_report import PUSH_MODEL
from worker.intake.lesion_sources import MARKING_CLASSES
from worker.intake.receiver_config import VERIFICATION
from worker.performing.dimse_manager import UPS_PULL
from worker.reporting import concepts, source_study
from worker.reporting.result import Ending, StudyResult
from worker.reporting.secondary_capture import secondary_capture
from worker.reporting.source_study import Source
from worker.reporting.structured_report import structured_report
from worker.sending import pacs
from worker.sending.dicom_node import checked
from worker.sending.work_item import UPS_PUSH, Performer, Worklist, work_item
from worker.settings import Settings

RECEIVED = (*IMAGE_CLASSES, *MARKING_CLASSES)


def section(heading: str) -> str:
    """What stands between a heading and the next one."""
    found = re.search(
        rf"^(#+) {heading}\n(.*?)(?=^#{{2,3}} |\Z)", CONFORMANCE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    assert found, heading
    return found[2]


def rows(heading: str) -> list[list[str]]:
    """The cells of a section's tables, but for their heads."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    rules = [place for place, line in enumerate(lines) if line.startswith("| ---")]
    heads = {place - 1 for place in rules} | set(rules)
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for place, line in enumerate(lines) if place not in heads
    ]


def tags(heading: str) -> set[int]:
    """The attributes that a section's tables name in their first column."""
    first = " ".join(cells[0] for cells in rows(heading))
    return {int(group + element, 16) for group, element in re.findall(r"\(([0-9A-F]{4}),([0-9A-F]{4})\)", first)}


def named(keywords: Iterator[str] | list[str] | tuple[str, ...]) -> set[int]:
    return {tag for keyword in keywords if (tag := tag_for_keyword(keyword)) is not None}


# --- services


def test_each_storage_class_has_its_row_and_its_roles() -> None:
    table = {cells[1]: cells[3] for cells in rows("Content and transfer")}
    assert set(table) == {*RECEIVED, *map(str, pacs.SOP_CLASSES.values())}
    assert {uid for uid, roles in table.items() if "SCP" in roles} == set(RECEIVED)
    assert {uid for uid, roles in table.items() if "SCU" in roles} == set(map(str, pacs.SOP_CLASSES.values()))
    created = {cells[1] for cells in rows("Content and transfer") if cells[6]}
    assert created == set(map(str, pacs.SOP_CLASSES.values()))
    assert {cells[2] for cells in rows("Other services")} == {
        VERIFICATION, UPS_PUSH, UPS_PULL, PUSH_MODEL, FIND, MOVE, GET, "",
    }  # fmt: skip


def test_the_transfer_syntaxes_are_those_that_are_decoded_in_the_order_in_which_they_are_taken() -> None:
    def is_decoded(uid: str) -> bool:
        try:
            return bool(get_decoder(uid).is_available)
        except NotImplementedError:
            return False

    assert [cells[1] for cells in rows("Transfer syntaxes")] == list(filter(is_decoded, ALL_TRANSFER_SYNTAXES))


def test_the_receivers_statuses_are_those_of_the_page() -> None:
    ours = {
        receiver.SUCCESS: "Success",
        receiver.OUT_OF_RESOURCES: "Refused: Out of Resources",
        receiver.DOES_NOT_MATCH: "Error: Data Set Does Not Match SOP Class",
        receiver.CANNOT_UNDERSTAND: "Error: Cannot Understand",
        0xC211: "Error: Cannot Understand",  # pynetdicom's, of a handler that raised
    }
    assert {int(cells[0], 16): cells[1] for cells in rows("Storage as SCP")} == ours


def test_a_report_of_storage_commitment_is_answered_with_a_status_of_the_page() -> None:
    page = {int(cells[0], 16) for cells in rows("Storage Commitment as SCU")}
    ours = commitment_report
    assert page == {ours.SUCCESS, ours.PROCESSING_FAILURE, ours.INVALID_ARGUMENT}


def test_the_sender_makes_of_a_status_what_the_page_says() -> None:
    for said, _, becomes in rows("Status handling of the sender"):
        for status in re.findall(r"\b[0-9A-C][0-9A-Fx]{3}\b", said):
            answer = Dataset()
            answer.Status = int(status.replace("x", "1"), 16)
            assert fate(answer) == becomes.split(":")[0].split(" ")[0], status
    assert fate(Dataset()) == "waits"


def fate(answer: Dataset) -> str:
    try:
        checked("C-STORE", answer)
    except DlrError as error:
        return {"destination_unavailable": "waits", "destination_refused": "failed"}[error.code]
    return "sent"


def test_each_setting_of_dicom_is_named_with_its_default() -> None:
    text = CONFORMANCE.read_text("utf-8")
    of_dicom = {name for name in Settings.model_fields if name.startswith(("receive_", "send_", "dicomweb_"))}
    assert {name for name in of_dicom if f"`DLR_{name.upper()}`" not in text} == {
        name for name in of_dicom if name.startswith("send_webhook")
    }
    for _, settings, defaults in rows("Configuration")[:10]:
        for name, said in zip(re.findall(r"DLR_(\w+)", settings), defaults.split(", "), strict=False):
            default = Settings.model_fields[name.lower()].default
            shown = {None: "none", False: "off", 256 << 20: "256 MiB"}.get(default, default)
            assert said == (f"{shown:g}" if isinstance(shown, float) else str(shown)), name


def test_the_page_says_who_is_seen_to_call() -> None:
    version = PYNETDICOM_IMPLEMENTATION_VERSION
    parameters = {cells[0]: cells[1] for cells in rows("Association parameters")}
    assert PYNETDICOM_IMPLEMENTATION_UID.startswith(parameters["Implementation Class UID"].split(" ")[0])
    assert version is not None
    assert version.startswith(parameters["Implementation Version Name"].split(" ")[0])


def test_what_is_decoded_is_proposed_before_anything_else() -> None:
    assert set(DECODED) <= {cells[1] for cells in rows("Transfer syntaxes")}


def test_what_is_asked_of_a_dicomweb_server_is_on_the_page() -> None:
    text = section(r"Studies service \(DICOMweb\) as user agent")
    said = (dicomweb._FOUND, dicomweb._ANY_SYNTAX, f"{dicomweb.MOST_FOUND_BYTES >> 20} MiB")
    assert all(one in text for one in said)
    statuses = {int(status) for status in re.findall(r"\b\d{3}\b", text)}
    assert statuses == {int(status) for status in (*dicomweb._GONE, *dicomweb._LATER)}


# --- what is read


def test_the_attributes_of_images_are_those_that_are_read() -> None:
    read = named([*dicom_file._KEYWORDS, *source_study._ALSO, "PixelData"])
    assert tags("Images") == read


def test_the_photometric_interpretations_are_those_that_are_decoded() -> None:
    said = {one for cells in rows("Images") if len(cells) == 4 for one in cells[0].split(", ")}
    assert said == {*layout.GREY, layout.PALETTE, *layout._COLOUR}


# --- what is created


@pytest.fixture
def whole(tmp_path: Path) -> tuple[StudyResult, Source]:
    """A result that leaves nothing out: one before it, a lesion without scores, one in several images, all there is."""
    sop = write_image(tmp_path / "a.dcm")
    images = (
        image_of(sop, 1, plane="transverse"),
        image_of(sop, 2, lh=0.1),
        refused_image(sop, 3, "roi_outside_image"),
    )
    place: dict[str, Any] = {
        "laterality": "left",
        "clock_position": 10,
        "distance_to_nipple_mm": 40.0,
        "depth_mm": 12.5,
    }
    lesions = (scored(sop), failed(sop, 2, "roi_outside_image"), scored(sop, 3, images=images, **place))
    result = study(*lesions)
    now = result.endings[-1]
    result = replace(result, endings=(Ending(1, now.study_id, now.revision, now.at), now))
    files = source_of(result, tmp_path)
    subject = replace(files.subject, timezone_offset="+0100", issuer_of_patient_id="H", study_description="US")
    subject = replace(subject, study_id="1" * 17)
    image = replace(files.images[sop], lossy=("01", "10", "ISO_10918_1"))
    return result, Source(subject, {sop: image})


def test_the_attributes_of_a_report_are_those_of_the_page(whole: tuple[StudyResult, Source]) -> None:
    assert set(structured_report(*whole).keys()) == tags("Comprehensive 3D SR")


def test_the_attributes_of_a_picture_are_those_of_the_page(whole: tuple[StudyResult, Source]) -> None:
    result, files = whole
    picture = secondary_capture(result, result.lesions[0], files, np.zeros((ROWS, COLUMNS), np.uint8))
    own = tags("Secondary Capture")
    assert own <= set(picture.keys()) <= own | tags("Comprehensive 3D SR")


def test_the_attributes_of_a_work_item_are_those_of_the_page(whole: tuple[StudyResult, Source]) -> None:
    result, files = whole
    worklist = Worklist("Breast ultrasound", "PACS", with_report=True, performer=Performer("1", "99X", "A", "B"))
    item = work_item(result, files, worklist, replaces=result.endings[0])
    assert set(item.keys()) == tags("Unified Procedure Step")


def test_the_tree_of_a_report_has_the_concepts_of_the_page(whole: tuple[StudyResult, Source]) -> None:
    text = section("Comprehensive 3D SR")
    said = set(re.findall(r"\((\w+), (\w+), \"([^\"]+)\"\)", text))
    made = set(codes(structured_report(*whole)))
    assert said <= made
    names = {(value, scheme) for value, scheme, _ in made if scheme in ("DCM", "SCT")}
    processing, device, suspicion = ("109102", "DCM"), ("121007", "DCM"), ("BI", "MA.II.A.5.4A")
    left, transverse = concepts.LATERALITIES[Laterality.LEFT], concepts.PLANES[Plane.TRANSVERSE]
    values = {one[:2] for one in (left, concepts.CLOCK_POSITIONS[10], transverse, concepts.YES)}
    assert names - values - {processing, device, suspicion} == {(value, scheme) for value, scheme, _ in said}
    own = {value for value, scheme, _ in made if scheme == concepts.OWN}
    everything = {cells[1] for cells in rows("Coding scheme 99DLR")}
    assert own - everything == {"ROI_OUTSIDE_IMAGE"}  # of NOT_SCORED, whose values are our error codes


def codes(item: Dataset) -> Iterator[tuple[str, str, str]]:
    """Every code of a data set, at whatever depth."""
    if "CodeMeaning" in item:
        value = item.get("CodeValue") or item.get("LongCodeValue")
        yield str(value), str(item.CodingSchemeDesignator), str(item.CodeMeaning)
    for element in item:
        if isinstance(element.value, Sequence):
            for inner in element.value:
                yield from codes(inner)


def test_the_table_of_categories_is_what_is_written() -> None:
    page = [tuple(cells) for cells in rows("Annex: codes and templates") if cells[0].endswith((", SCT", ", BI"))]
    assert page == [
        (f"{value}, {scheme}", meaning, CATEGORIES[scheme, value].value)
        for (scheme, value), meaning in MEANINGS.items()
    ]


def test_the_coding_scheme_is_the_projects() -> None:
    assert f"99DLR (UID {concepts.OWN_UID})" in CONFORMANCE.read_text("utf-8")
