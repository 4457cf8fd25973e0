"""The Encapsulated PDF, read by others: dciodvfy its header, and its text by what wrote none of it."""

import re
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path
from shutil import which

import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import EncapsulatedPDFStorage

from tests.worker.reporting.samples import failed, in_several_images, mixed, scored, source_of, study, write_image
from worker.reporting.documents import Kind, documents_of
from worker.reporting.encapsulated_pdf import encapsulated_pdf
from worker.reporting.result import StudyResult
from worker.reporting.structured_report import structured_report


def text_of(pdf: bytes) -> str:
    """Every text that the pages draw."""
    streams = [
        zlib.decompress(part) for part in re.findall(rb"stream\n(.*?)\nendstream", pdf, re.DOTALL) if part[:1] == b"x"
    ]
    drawn = re.findall(rb"\((.*?)(?<!\\)\)\s*Tj", b"".join(streams), re.DOTALL)
    return re.sub(r"\\(.)", r"\1", b" ".join(drawn).decode("cp1252"))


def pdf_of(dataset: Dataset) -> bytes:
    return bytes(dataset.EncapsulatedDocument[: dataset.EncapsulatedDocumentLength])


def made(result: StudyResult, root: Path) -> Dataset:
    return encapsulated_pdf(result, source_of(result, root))


def test_the_pages_say_what_it_is_and_is_not_and_each_lesion(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    document = made(result, tmp_path)
    pdf = pdf_of(document)
    assert pdf.startswith(b"%PDF-")
    assert document.SOPClassUID == EncapsulatedPDFStorage
    text = text_of(pdf)
    assert "recommendation, not a diagnosis" in text
    assert "demo, synthetic, not for clinical use" in text
    for lesion in result.lesions:
        assert f"Lesion {lesion.ordinal} ({lesion.lesion_id})" in text


def test_each_image_of_a_lesion_is_said(tmp_path: Path) -> None:
    result = in_several_images(tmp_path)
    assert "Image" in text_of(pdf_of(made(result, tmp_path)))


def test_it_names_nobody_whom_the_report_does_not(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    report = structured_report(result, source_of(result, tmp_path))
    document = made(result, tmp_path)
    identifying = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyInstanceUID")
    assert {name: document.get(name) for name in identifying} == {name: report.get(name) for name in identifying}


def test_the_same_result_is_the_same_document(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    source = source_of(result, tmp_path)
    one, other = (documents_of(Kind.PDF, result, source)[0] for _ in range(2))
    assert one == other
    assert one.name.endswith(".pdf.dcm")


def test_a_name_in_another_script_is_left_to_the_header(tmp_path: Path) -> None:
    result = study(failed(write_image(tmp_path / "a.dcm")), state="failed")
    source = source_of(result, tmp_path)
    named = replace(source.subject, patient_name="Yamada^Tarou=山田^太郎")
    document = encapsulated_pdf(result, replace(source, subject=named))
    assert "山田" in str(document.PatientName)
    assert "in the header of this document" in text_of(pdf_of(document))


@pytest.mark.skipif(which("dciodvfy") is None, reason="needs Debian's dicom3tools")
def test_a_validator_finds_no_error(tmp_path: Path) -> None:
    sop = write_image(tmp_path / "a.dcm")
    result = study(scored(sop))
    (document,) = documents_of(Kind.PDF, result, source_of(result, tmp_path))
    path = tmp_path / "result.pdf.dcm"
    path.write_bytes(document.content)
    assert dcmread(path).MIMETypeOfEncapsulatedDocument == "application/pdf"
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert [line for line in done.stderr.splitlines() if line.startswith("Error")] == []
