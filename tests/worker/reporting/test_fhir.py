"""FHIR R4: checked and read back by fhir.resources."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from fhir.resources.R4B.bundle import Bundle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread

from tests.worker.reporting.samples import (
    DEMO,
    NAME,
    STUDY_UID,
    mixed,
    score,
    scored,
    source_of,
    study,
    uncertain,
    write_image,
)
from worker.clinical.restratify import UNCERTAIN
from worker.reporting.fhir import fhir_bundle
from worker.reporting.lesion_content import ADVICE
from worker.reporting.result import StudyResult


def bundle_of(result: StudyResult, root: Path) -> Any:
    return Bundle.model_validate_json(fhir_bundle(result, source_of(result, root)))


def resources(bundle: Any, kind: str) -> list[Any]:
    return [entry.resource for entry in bundle.entry if entry.resource.get_resource_type() == kind]


def of_dlr(bundle: Any) -> list[Any]:
    return [one for one in resources(bundle, "Observation") if one.device is not None]


def of_radiologists(bundle: Any) -> list[Any]:
    return [one for one in resources(bundle, "Observation") if one.device is None]


def numbers(observation: Any) -> dict[str, Decimal]:
    return {part.code.coding[0].code: part.valueQuantity.value
            for part in observation.component if part.valueQuantity is not None}  # fmt: skip


def choices(observation: Any) -> dict[str, str]:
    return {part.code.coding[0].code: part.valueCodeableConcept.coding[0].code
            for part in observation.component if part.valueCodeableConcept is not None}  # fmt: skip


def test_the_radiologists_category_and_the_recommended_one_are_two_observations(tmp_path: Path) -> None:
    bundle = bundle_of(mixed(tmp_path), tmp_path)
    said = [(one.code.coding[0].code, one.valueCodeableConcept.text) for one in of_radiologists(bundle)]
    assert said == [("111005", "BI-RADS 4A"), ("111005", "BI-RADS 5"), ("111005", "BI-RADS 4B")]
    one, two, three = of_dlr(bundle)
    assert one.valueCodeableConcept.coding[0].code == "REC_ABOVE_4A"
    assert (choices(one)["OUTCOME"], choices(two)["OUTCOME"]) == ("UPGRADED", "NOT_APPLICABLE")
    assert (two.valueCodeableConcept, two.dataAbsentReason.coding[0].code) == (None, "not-applicable")
    assert "RECOMMENDED" not in choices(two)
    assert (three.valueCodeableConcept, three.dataAbsentReason.coding[0].code) == (None, "error")
    assert three.dataAbsentReason.text == "pixels_uniform"
    assert (numbers(three), choices(three)) == ({}, {"NOT_SCORED": "PIXELS_UNIFORM"})
    assert not any("111005" in choices(each) for each in (one, two, three))
    notes = [note.text for note in one.note]
    assert any(DEMO in note for note in notes)
    assert any(ADVICE in note for note in notes)
    assert any("a" * 64 in note and "DLR_LH 1.0" in note for note in notes)
    assert {each.status for each in (one, two, three)} == {"preliminary"}


def test_where_the_models_are_not_certain_the_bundle_says_so(tmp_path: Path) -> None:
    bundle = bundle_of(study(uncertain(write_image(tmp_path / "a.dcm"))), tmp_path)
    [one] = of_dlr(bundle)
    assert one.valueCodeableConcept.coding[0].code == "REC_4A"
    notes = [note.text for note in one.note]
    assert any(note.endswith(f": {UNCERTAIN}") for note in notes)
    assert "DLR_BM: classes that it can not rule out: benign or malignant" in notes
    [report] = resources(bundle, "DiagnosticReport")
    assert "Kept in 4A because the models are not certain: 1." in report.conclusion


def test_the_report_refers_to_patient_study_and_each_lesions_result(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    image = dcmread(tmp_path / "a.dcm")
    image.SpecificCharacterSet, image.PatientName = "ISO_IR 192", f"{NAME}^^Dr"
    image.save_as(tmp_path / "a.dcm")
    bundle = bundle_of(study(scored(sop), scored(sop, 2)), tmp_path)
    [report], [patient] = resources(bundle, "DiagnosticReport"), resources(bundle, "Patient")
    known = {entry.fullUrl: entry.resource for entry in bundle.entry}
    assert known[report.subject.reference] is patient
    assert [known[result.reference] for result in report.result] == of_dlr(bundle)
    assert [known[one.derivedFrom[0].reference] for one in of_dlr(bundle)] == of_radiologists(bundle)
    assert all(known[one.subject.reference] is patient for one in resources(bundle, "Observation"))
    assert all(known[one.device.reference].get_resource_type() == "Device" for one in of_dlr(bundle))
    assert report.imagingStudy[0].identifier.value == f"urn:oid:{STUDY_UID}"
    assert (report.status, report.identifier[1].value, ADVICE in report.conclusion) == ("preliminary", "A1", True)
    assert (patient.name[0].family, patient.name[0].given, patient.name[0].prefix) == ("Çelik", ["Zoë"], ["Dr"])
    assert (patient.gender, str(patient.birthDate), patient.identifier[0].value) == ("female", "1979-04-05", "P-1")


def test_what_a_header_leaves_out_is_left_out(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    image = dcmread(tmp_path / "a.dcm")
    image.PatientName = image.PatientID = image.PatientBirthDate = image.PatientSex = image.AccessionNumber = ""
    image.StudyDate = "unknown"
    image.save_as(tmp_path / "a.dcm")
    bundle = bundle_of(study(scored(sop), accession_number=None), tmp_path)
    [report], [patient] = resources(bundle, "DiagnosticReport"), resources(bundle, "Patient")
    assert (patient.name, patient.identifier, patient.gender, patient.birthDate) == (None, None, None, None)
    assert (len(report.identifier), report.effectiveDateTime) == (1, None)


UNIT = st.floats(0, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lh=UNIT, bm=UNIT, age=st.floats(0, 120))
def test_any_scores_come_back_to_the_last_bit(tmp_path: Path, lh: float, bm: float, age: float) -> None:
    image = tmp_path / "a.dcm"
    sop = dcmread(image).SOPInstanceUID if image.exists() else write_image(image)
    lesion = replace(scored(sop, age_years=age), lh=score("DLR_LH", lh), bm=score("DLR_BM", bm))
    [observation] = of_dlr(bundle_of(study(lesion), tmp_path))
    found = {name: float(value) for name, value in numbers(observation).items()}
    assert (found["P_LOW_RISK"], found["P_HIGH_RISK"]) == (1 - lh, lh)
    assert (found["P_BENIGN"], found["P_MALIGNANT"], found["121033"]) == (1 - bm, bm, age)


def test_the_same_result_is_the_same_bundle_and_another_shares_no_name_with_it(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    source = source_of(result, tmp_path)
    again = replace(result, endings=(replace(result.endings[0], event_id=6),))
    assert fhir_bundle(result, source) == fhir_bundle(result, source)
    names = [{entry["fullUrl"] for entry in json.loads(fhir_bundle(one, source))["entry"]} for one in (result, again)]
    assert not names[0] & names[1]
