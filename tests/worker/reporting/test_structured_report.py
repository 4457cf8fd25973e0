"""DICOM SR: written, read back by highdicom, by our own reader and by dciodvfy."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from highdicom.sr import Comprehensive3DSR, MeasurementReport
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from tests.worker.intake.reports import lesions_of
from tests.worker.reporting.conftest import Dciodvfy
from tests.worker.reporting.samples import (
    AT,
    COLUMNS,
    DEMO,
    NAME,
    STUDY_ID,
    STUDY_UID,
    failed,
    mixed,
    score,
    scored,
    source_of,
    study,
    uncertain,
    write_image,
)
from worker.clinical.categories import Birads
from worker.clinical.restratify import UNCERTAIN, restratify
from worker.errors import MEANINGS, Code
from worker.reporting import concepts
from worker.reporting.lesion_content import ADVICE
from worker.reporting.result import Ending, StudyResult
from worker.reporting.structured_report import structured_report


def written(result: StudyResult, root: Path) -> Path:
    path = root / "report"
    structured_report(result, source_of(result, root)).save_as(path, enforce_file_format=True)
    return path


def stored(report: Dataset) -> Dataset:
    """The report as it is in a file."""
    file = BytesIO()
    report.save_as(file, enforce_file_format=True)
    file.seek(0)
    return dcmread(file)


def read_back(report: Dataset) -> Any:
    """The report as highdicom reads it from a file."""
    content = Comprehensive3DSR.from_dataset(stored(report)).content
    assert isinstance(content, MeasurementReport)
    return content


def groups_of(result: StudyResult, root: Path) -> list[Any]:
    content = read_back(structured_report(result, source_of(result, root)))
    return [*content.get_planar_roi_measurement_groups(), *content.get_image_measurement_groups()]


def numbers(group: Any) -> dict[str, float]:
    return {measurement.name.value: measurement.value for measurement in group.get_measurements()}


def number_items(item: Dataset) -> Iterator[tuple[str, float, str]]:
    """Each number of a tree of content: its concept's code, its value as a float, and the decimal beside it."""
    if item.ValueType == "NUM":
        [value] = item.MeasuredValueSequence
        yield item.ConceptNameCodeSequence[0].CodeValue, value.FloatingPointValue, str(value.NumericValue)
    for child in item.get("ContentSequence", ()):
        yield from number_items(child)


def choices(group: Any) -> dict[str, str]:
    return {one.name.value: one.value.value for one in group.get_qualitative_evaluations()}


def texts(group: Any) -> list[str]:
    return [item.value for item in group[0].ContentSequence if item.ValueType == "TEXT"]


def test_each_lesion_is_a_group_with_its_region_its_scores_and_the_advice(tmp_path: Path) -> None:
    one, two, three = groups_of(mixed(tmp_path), tmp_path)
    assert numbers(one) == {
        "P_LOW_RISK": 1 - 0.9, "P_HIGH_RISK": 0.9, "T_HIGH_RISK": 0.5,
        "P_BENIGN": 1 - 0.8, "P_MALIGNANT": 0.8, "T_MALIGNANT": 0.5, "121033": 47.3,
        "REGION_WIDTH": 8.25, "REGION_HEIGHT": 5.5, "ASPECT_RATIO": 5.5 / 8.25,
    }  # fmt: skip
    assert choices(one) == {
        "111005": "MA.II.A.5.4A", "RECOMMENDED": "REC_ABOVE_4A", "OUTCOME": "UPGRADED", "LH_CLASS": "HIGH_RISK",
        "BM_CLASS": "MALIGNANT", "AGE_SOURCE": "SENDER", "REGION_SOURCE": "SENDER", "GATE": "OVERLAY_IN_ROI",
    }  # fmt: skip
    assert one.tracking_identifier == "L1"
    assert {DEMO, ADVICE} <= set(texts(one))
    assert choices(two)["OUTCOME"] == "NOT_APPLICABLE"
    assert "RECOMMENDED" not in choices(two), "nothing is recommended for a lesion that is not 4A"
    assert choices(three) == {"111005": "MA.II.A.5.4B", "NOT_SCORED": "PIXELS_UNIFORM"}
    assert "because of pixels_uniform" in texts(three)
    assert numbers(three) == {}
    assert len({group.tracking_uid for group in (one, two, three)}) == 3


def test_where_the_models_are_not_certain_the_report_says_so(dciodvfy: Dciodvfy, tmp_path: Path) -> None:
    result = study(uncertain(write_image(tmp_path / "a.dcm")))
    [one] = groups_of(result, tmp_path)
    assert {UNCERTAIN, "low risk", "benign or malignant"} <= set(texts(one))
    assert (choices(one)["RECOMMENDED"], choices(one)["OUTCOME"]) == ("REC_4A", "MAINTAINED")
    assert dciodvfy(written(result, tmp_path), "Comprehensive3DSR") == []


def test_each_score_names_its_model_by_version_weights_and_card(tmp_path: Path) -> None:
    one = groups_of(mixed(tmp_path), tmp_path)[0]
    found = {}
    for measurement in one.get_measurements():
        children = measurement[0].get("ContentSequence", [])
        found[measurement.name.value] = [item.TextValue for item in children]
    wanted = ["1.0", "dlr-worker", f"weights_sha256={'a' * 64}", f"card_sha256={'b' * 64}"]
    assert found["P_HIGH_RISK"] == ["DLR_LH", *wanted]
    assert found["P_MALIGNANT"] == ["DLR_BM", *wanted]
    assert found["121033"] == []


def test_our_own_reader_takes_the_radiologists_category_and_the_same_region(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    lesions = lesions_of(written(result, tmp_path))
    whole = {"x": 0, "y": 0, "width": COLUMNS, "height": 96}
    marked = {"x": 10, "y": 20, "width": 30, "height": 40}
    assert [(one["lesion_id"], one["birads"], one["frame"], one["roi"]) for one in lesions] == [
        ("L1", "4A", None, marked),
        ("L2", "5", 3, whole),
        ("L3", "4B", 2, marked),
    ]
    assert [one["sop_instance_uid"] for one in lesions] == [one.sop_instance_uid for one in result.lesions]


def test_every_category_is_read_back_as_itself_whatever_is_recommended(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    result = study(*(scored(sop, place, birads=birads.value) for place, birads in enumerate(Birads, start=1)))
    assert [lesion["birads"] for lesion in lesions_of(written(result, tmp_path))] == [*Birads]


UNIT = st.floats(0, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lh=UNIT, bm=UNIT, benign=UNIT, threshold=UNIT, age=st.floats(0, 120))
def test_any_scores_come_back_to_the_last_bit(
    tmp_path: Path, lh: float, bm: float, benign: float, threshold: float, age: float
) -> None:
    image = tmp_path / "a.dcm"
    sop = dcmread(image).SOPInstanceUID if image.exists() else write_image(image)
    lh_score, bm_score = score("DLR_LH", lh, threshold=threshold), score("DLR_BM", bm, negative=benign)
    lesion = replace(scored(sop, age_years=age), lh=lh_score, bm=bm_score)
    result = study(lesion)
    items = [*number_items(stored(structured_report(result, source_of(result, tmp_path))))]
    found = {code: value for code, value, _ in items}
    assert (found["P_LOW_RISK"], found["P_HIGH_RISK"], found["T_HIGH_RISK"]) == (1 - lh, lh, threshold)
    assert (found["P_BENIGN"], found["P_MALIGNANT"], found["121033"]) == (benign, bm, age)
    for _, value, decimal in items:
        assert len(decimal) <= 16
        assert float(decimal) == pytest.approx(value, rel=1e-8, abs=1e-300)


def test_the_same_result_is_the_same_instance_to_the_last_byte(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    assert written(result, tmp_path).read_bytes() == written(result, tmp_path).read_bytes()


def test_a_later_result_is_another_instance_that_names_the_one_before(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    first = structured_report(result, source_of(result, tmp_path))
    again = Ending(9, STUDY_ID, 1, AT + timedelta(hours=1))
    revised = Ending(12, UUID(int=7), 2, AT + timedelta(hours=2))
    second = structured_report(replace(result, endings=(*result.endings, again)), source_of(result, tmp_path))
    third = structured_report(
        replace(result, study_id=revised.study_id, revision=2, endings=(*result.endings, again, revised)),
        source_of(result, tmp_path),
    )
    assert "PredecessorDocumentsSequence" not in first
    for later, before in ((second, first), (third, second)):
        (of_study,) = later.PredecessorDocumentsSequence
        (of_series,) = of_study.ReferencedSeriesSequence
        (reference,) = of_series.ReferencedSOPSequence
        assert (reference.ReferencedSOPInstanceUID, reference.ReferencedSOPClassUID) == (
            before.SOPInstanceUID,
            before.SOPClassUID,
        )
        assert of_series.SeriesInstanceUID == before.SeriesInstanceUID
        assert of_study.StudyInstanceUID == STUDY_UID
    assert len({first.SOPInstanceUID, second.SOPInstanceUID, third.SOPInstanceUID}) == 3
    assert (first.InstanceNumber, second.InstanceNumber, third.InstanceNumber) == (1, 2, 1)


def test_patient_and_study_are_the_images(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm", patient_id="P 7", accession_number="")
    image = dcmread(tmp_path / "a.dcm")
    image.SpecificCharacterSet, image.PatientName = "ISO_IR 100", NAME
    image.TimezoneOffsetFromUTC = "-0330"
    image.PatientComments = "not to be copied"
    image.save_as(tmp_path / "a.dcm")
    report = dcmread(written(study(scored(sop)), tmp_path))
    assert (str(report.PatientName), report.PatientID, report.PatientBirthDate) == (NAME, "P 7", "19790405")
    assert (report.SpecificCharacterSet, report.PatientSex) == ("ISO_IR 192", "F")
    assert (report.StudyInstanceUID, report.AccessionNumber, report.StudyDate) == (STUDY_UID, "A1", "20261123")
    assert (report.ContentDate, str(report.ContentTime), report.TimezoneOffsetFromUTC) == (
        "20261123",
        "070015.250000",
        "-0330",
    )
    assert "PatientComments" not in report
    assert (report.PreliminaryFlag, report.VerificationFlag) == ("PRELIMINARY", "UNVERIFIED")


def test_whether_all_lesions_were_scored_is_said(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    report = structured_report(result, source_of(result, tmp_path))
    assert (report.CompletionFlag, report.CompletionFlagDescription) == ("PARTIAL", "2 of 3 lesions scored")
    whole = replace(result, lesions=result.lesions[:2], state="done")
    assert structured_report(whole, source_of(whole, tmp_path)).CompletionFlag == "COMPLETE"


def test_a_study_of_which_nothing_was_scored_has_a_report_that_says_so(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    gone = generate_uid()
    lesions = (
        failed(sop, 1, "age_missing"),
        failed(sop, 2, "roi_outside_image", roi=(100, 20, 60, 40)),
        failed(gone, 3, "sop_instance_not_found"),
        failed(sop, 4, "pixels_uniform", roi=None),
    )
    groups = groups_of(study(*lesions), tmp_path)
    assert [(group.tracking_identifier, choices(group)["NOT_SCORED"]) for group in groups] == [
        ("L1", "AGE_MISSING"),
        ("L2", "ROI_OUTSIDE_IMAGE"),
        ("L3", "SOP_INSTANCE_NOT_FOUND"),
        ("L4", "PIXELS_UNIFORM"),
    ]
    assert [hasattr(group, "roi") for group in groups] == [True, False, False, False]


@pytest.mark.parametrize(("frames", "frame"), [(1, 2), (4, 5), (4, None)])
def test_a_lesion_on_a_frame_that_is_not_there_or_not_said_is_on_none(
    tmp_path: Path, frames: int, frame: int | None
) -> None:
    sop = write_image(tmp_path / "a.dcm", frames=frames)
    (group,) = groups_of(study(failed(sop, code="frame_not_found", frame=frame)), tmp_path)
    assert not hasattr(group, "roi")
    (image,) = group.source_images
    assert (image.referenced_sop_instance_uid, image.referenced_frame_numbers) == (sop, None)


def test_codes_are_as_long_as_dicom_allows_and_tell_everything_apart() -> None:
    tables = (concepts.RECOMMENDATIONS, concepts.OUTCOMES, concepts.AGE_SOURCES, concepts.REGION_SOURCES)
    gate = list(concepts.QUALITY_FINDINGS.values())
    names = [one for one in vars(concepts).values() if isinstance(one, concepts.Concept)]
    values = [one for table in tables for one in table.values()]
    failures = [concepts.failure(code) for code in MEANINGS]
    everything = [
        *names,
        *values,
        *failures,
        *gate,
        *concepts.ORIGINALS.values(),
        *concepts.LH_CLASSES,
        *concepts.BM_CLASSES,
    ]
    assert all(len(one.meaning) <= 64 for one in everything)
    assert all(len(one.value) <= 16 for one in [*names, *values])
    assert len({one.value for one in names if one.scheme == "99DLR"}) == sum(one.scheme == "99DLR" for one in names)
    assert set(concepts.ORIGINALS) == set(Birads)
    assert set(concepts.RECOMMENDATIONS) == {
        restratify(Birads.LOW_SUSPICION, high_risk=lh, malignant=bm).recommended
        for lh, bm in product((False, True), repeat=2)
    }
    assert len(failures) == len(set(failures)) == len(Code)
    assert not {one.value for one in concepts.RECOMMENDATIONS.values()} & {
        one.value for one in concepts.ORIGINALS.values()
    }


def test_dciodvfy_finds_no_error(dciodvfy: Dciodvfy, tmp_path: Path) -> None:
    result = mixed(tmp_path)
    assert dciodvfy(written(result, tmp_path), "Comprehensive3DSR") == []
    ended_again = replace(result, endings=(*result.endings, Ending(9, STUDY_ID, 1, AT)))
    assert dciodvfy(written(ended_again, tmp_path), "Comprehensive3DSR") == []
    nothing = study(failed(result.lesions[0].sop_instance_uid, roi=None), failed(generate_uid(), 2), paths=result.paths)
    assert dciodvfy(written(nothing, tmp_path), "Comprehensive3DSR") == []
