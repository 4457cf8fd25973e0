"""ORU^R01: checked by hl7apy against the standard's structure, and read by another library, python-hl7."""

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import hl7
import pytest
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread

from tests.worker.reporting.samples import (
    DEMO,
    NAME,
    STUDY_UID,
    failed,
    mixed,
    scored,
    source_of,
    study,
    uncertain,
    write_image,
)
from worker.clinical.restratify import UNCERTAIN
from worker.reporting.hl7 import decimal_text, escaped, hl7_message
from worker.reporting.lesion_content import ADVICE


def statements(message: str) -> list[tuple[str, str, str, str]]:
    """(lesion, code, type, value with its escapes undone) of each OBX, as python-hl7 reads it."""
    parsed = hl7.parse(message)
    return [(str(obx[4]), str(obx[3]).split("^")[0], str(obx[2]), parsed.unescape(str(obx[5])))
            for obx in parsed.segments("OBX")]  # fmt: skip


def values(message: str, lesion: int) -> dict[str, str]:
    return {code: value for place, code, _, value in statements(message) if place == str(lesion)}


def test_the_message_has_the_structure_that_the_standard_wants(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    message = parse_message(hl7_message(result, source_of(result, tmp_path)), find_groups=True)
    assert message.validate()
    assert (message.msh.msh_9.value, message.msh.msh_12.value) == ("ORU^R01^ORU_R01", "2.5.1")
    assert len(message.msh.msh_10.value) == 20
    order = message.oru_r01_patient_result.oru_r01_order_observation
    assert (order.obr.obr_3.value, order.obr.obr_25.value, order.obr.obr_7.value) == ("A1", "P", "20261123101500")
    assert [group.obx.obx_1.value for group in order.oru_r01_observation] == [
        str(place) for place in range(1, len(order.oru_r01_observation) + 1)
    ]


def test_where_the_models_are_not_certain_the_message_says_so(tmp_path: Path) -> None:
    result = study(uncertain(write_image(tmp_path / "a.dcm")))
    message = hl7_message(result, source_of(result, tmp_path))
    said = values(message, 1)
    assert said["UNCERTAIN"] == UNCERTAIN == "The models are not certain: the lesion stays in 4A."
    assert (said["LH_SET"], said["BM_SET"]) == ("low risk", "benign or malignant")
    assert said["RECOMMENDED"].startswith("REC_4A^")
    assert any("Kept in 4A because the models are not certain: 1." in value for *_, value in statements(message))


def test_each_lesion_says_what_the_radiologist_said_and_what_is_recommended(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    message = hl7_message(result, source_of(result, tmp_path))
    one, two, three = (values(message, place) for place in (1, 2, 3))
    assert one["111005"] == "MA.II.A.5.4A^4A - Low suspicion^99BI"
    assert one["RECOMMENDED"] == "REC_ABOVE_4A^DLR recommends a category above BI-RADS 4A^99DLR"
    assert (one["P_HIGH_RISK"], one["P_MALIGNANT"], one["121033"]) == ("0.9", "0.8", "47.3")
    assert (one["112039"], one["IMAGE_UID"], one["REGION"]) == (
        "L1",
        result.lesions[0].sop_instance_uid,
        "10, 20, 30, 40",
    )
    assert (two["FRAME"], two["OUTCOME"].split("^")[0]) == ("3", "NOT_APPLICABLE")
    assert "RECOMMENDED" not in two
    assert three["NOT_SCORED"].startswith("PIXELS_UNIFORM")
    assert three["121106"] == "because of pixels_uniform"
    assert not [code for code in three if code.startswith("P_")]
    notices = [value for place, code, _, value in statements(message) if (place, code) == ("1", "NOTICE")]
    assert notices == [DEMO, ADVICE]
    assert "a" * 64 in one["MODEL"]


def test_patient_and_study_are_the_images(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm", patient_id="P&1")
    image = dcmread(tmp_path / "a.dcm")
    image.SpecificCharacterSet, image.PatientName = "ISO_IR 192", f"{NAME}^M^Dr^PhD"
    image.IssuerOfPatientID = "Clinic|7"
    image.save_as(tmp_path / "a.dcm")
    result = study(scored(sop))
    message = hl7_message(result, source_of(result, tmp_path))
    pid = hl7.parse(message).segment("PID")
    assert (str(pid[5]), str(pid[7]), str(pid[8])) == (f"{NAME}^M^PhD^Dr", "19790405", "F")
    assert str(pid[3]) == "P\\T\\1^^^Clinic\\F\\7"
    assert ("", "110180", "ST", STUDY_UID) in statements(message)


def blank(text: str) -> str:
    """The text with a space in place of each control character."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text)


NASTY = "a|b^c&d~e\\f\r\nMSH|x\x0b\x1c end"


def test_no_text_can_end_its_segment_or_its_message(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    result = study(failed(sop, lesion_id="L|1", error_reason=NASTY))
    message = hl7_message(result, source_of(result, tmp_path))
    assert {line[:4] for line in message.rstrip("\r").split("\r")} == {"MSH|", "PID|", "OBR|", "OBX|"}
    assert not {"\x0b", "\x1c", "\n"} & set(message)
    assert (values(message, 1)["121106"], values(message, 1)["112039"]) == (blank(NASTY), "L|1")


@given(st.text(max_size=60))
def test_any_text_comes_back_without_its_control_characters(text: str) -> None:
    message = hl7.parse("MSH|^~\\&|A\r")
    assert message.unescape(escaped(text)) == blank(text)
    assert not set("|^&~\r\n") & set(escaped(text))


@given(st.floats(0, 150))
def test_numbers_are_as_short_as_hl7_wants_and_as_near_as_that_allows(value: float) -> None:
    text = decimal_text(value)
    assert len(text) <= 16
    assert "e" not in text.lower()
    assert abs(Decimal(text) - Decimal(value)) <= Decimal("1e-12")


def test_the_same_result_is_the_same_message_and_another_has_another_id(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    source: Any = source_of(result, tmp_path)
    again = replace(result, endings=(replace(result.endings[0], event_id=6),))
    assert hl7_message(result, source) == hl7_message(result, source)
    ids = {str(hl7.parse(hl7_message(one, source)).segment("MSH")[10]) for one in (result, again)}
    assert len(ids) == 2


@pytest.mark.parametrize("value", [0.0, 1.0, 0.5, 5e-324, 0.1 + 0.2, 119.99999999999999])
def test_edges_of_the_scale_are_numbers(value: float) -> None:
    assert float(decimal_text(value)) == pytest.approx(value, abs=1e-12)
