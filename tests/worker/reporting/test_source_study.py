"""Whose a document is, from headers as hospitals have them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, generate_uid

from tests.dicomweb_server import serving
from tests.worker.reporting.samples import LIMITS, failed, scored, source_of, study, write_image
from worker.errors import Code, DlrError
from worker.image_access import Dicomweb, Server
from worker.imaging.image_source import ImageSource
from worker.reporting.documents import Kind, documents_of
from worker.reporting.source_study import Subject, opened


def image_with(root: Path, **elements: Any) -> str:
    sop = write_image(root / "a.dcm")
    image = dcmread(root / "a.dcm")
    for keyword, value in elements.items():
        setattr(image, keyword, value)
    image.save_as(root / "a.dcm")
    return sop


def subject_of(root: Path, **elements: Any) -> Subject:
    return source_of(study(scored(image_with(root, **elements))), root).subject


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Buc^Jérôme"),
        ("ISO_IR 144", "Люкceмбypг"),
        ("ISO_IR 192", "Wang^XiaoDong=王^小东"),
        ("GB18030", "Wang^XiaoDong=王^小东"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_a_name_is_read_in_the_character_set_of_its_file_and_written_in_utf_8(
    tmp_path: Path, charset: Any, name: str
) -> None:
    result = study(scored(image_with(tmp_path, SpecificCharacterSet=charset, PatientName=name)))
    source = source_of(result, tmp_path)
    assert source.subject.patient_name == name
    (document,) = documents_of(Kind.SR, result, source)
    (tmp_path / "sr.dcm").write_bytes(document.content)
    assert str(dcmread(tmp_path / "sr.dcm").PatientName) == name


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_any_transfer_syntax_is_read(tmp_path: Path, syntax: Any) -> None:
    sop = write_image(tmp_path / "a.dcm", frames=3, transfer_syntax=syntax)
    source = source_of(study(scored(sop)), tmp_path)
    assert (source.subject.patient_id, source.images[sop].frames, source.images[sop].columns) == ("P-1", 3, 128)


@pytest.mark.parametrize(
    ("keyword", "attribute", "value", "wanted"),
    [
        ("PatientSex", "patient_sex", "female", ""),
        ("PatientSex", "patient_sex", "O", "O"),
        ("PatientBirthDate", "patient_birth_date", "1970.01.02", ""),
        ("PatientBirthDate", "patient_birth_date", "19700230", ""),
        ("StudyTime", "study_time", "101500.123456", "101500.123456"),
        ("StudyTime", "study_time", "10:15:00", ""),
        ("StudyTime", "study_time", "2460", ""),
        ("TimezoneOffsetFromUTC", "timezone_offset", "+0530", "+0530"),
        ("TimezoneOffsetFromUTC", "timezone_offset", "0530", ""),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_value_that_does_not_conform_is_left_out(
    tmp_path: Path, keyword: str, attribute: str, value: str, wanted: str
) -> None:
    assert getattr(subject_of(tmp_path, **{keyword: value}), attribute) == wanted


def test_moments_are_told_in_the_time_zone_of_the_images(tmp_path: Path) -> None:
    moment = datetime(2026, 11, 23, 22, 0, tzinfo=UTC)
    east = subject_of(tmp_path, TimezoneOffsetFromUTC="+0530").local(moment)
    west = subject_of(tmp_path, TimezoneOffsetFromUTC="-0330").local(moment)
    assert (east.isoformat(), west.isoformat()) == ("2026-11-24T03:30:00+05:30", "2026-11-23T18:30:00-03:30")
    assert subject_of(tmp_path).local(moment) - moment == timedelta(0)


def refusal_of(result: Any, root: Path) -> Code:
    with pytest.raises(DlrError) as refusal:
        source_of(result, root)
    return refusal.value.code


def test_nothing_is_taken_from_a_file_that_is_not_the_studys_or_lies_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    root.mkdir()
    sop = write_image(root / "a.dcm")
    other = write_image(root / "b.dcm", study_instance_uid=generate_uid(), patient_id="P-2")
    write_image(tmp_path / "out.dcm")
    assert refusal_of(study(scored(other), paths=("b.dcm",)), root) is Code.STUDY_UID_MISMATCH
    assert refusal_of(study(scored(sop), paths=("../out.dcm",)), root) is Code.PATH_OUTSIDE_STORAGE
    assert refusal_of(study(scored(sop), paths=("none.dcm",)), root) is Code.FILE_NOT_FOUND
    assert refusal_of(study(scored(sop), paths=()), root) is Code.FILE_NOT_FOUND
    assert source_of(study(scored(sop), failed(other, 2), paths=("a.dcm", "b.dcm")), root).images.keys() == {sop}


def test_files_that_name_two_patients_are_nobodys(tmp_path: Path) -> None:
    one, two = write_image(tmp_path / "a.dcm"), write_image(tmp_path / "b.dcm", patient_id="P-2")
    assert refusal_of(study(scored(one), scored(two, 2), paths=("a.dcm", "b.dcm")), tmp_path) is Code.PATIENT_MISMATCH


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"SeriesInstanceUID": ""}, "Series Instance UID"),
        ({"SeriesInstanceUID": "1.2.x"}, "Series Instance UID"),
        ({"SOPClassUID": "1.2.3.4"}, "patient data"),
    ],
)
def test_what_no_report_can_refer_to_is_refused_with_a_code(
    tmp_path: Path, elements: dict[str, str], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    result = study(scored(image_with(tmp_path, **elements)))
    with pytest.raises(DlrError) as refusal:
        documents_of(Kind.SR, result, source_of(result, tmp_path))
    assert (refusal.value.code, reason in refusal.value.reason) == (Code.DOCUMENT_REFUSED, True)
    assert "Phantom" not in caplog.text


def test_images_that_a_server_has_are_fetched_for_as_long_as_they_are_looked_at(tmp_path: Path) -> None:
    with serving(tmp_path) as peer:
        sop = write_image(tmp_path / "a.dcm")
        images = ImageSource(tmp_path / "none", Dicomweb({"pacs": Server(peer.url, {})}, 1 << 20, timeout_s=10))
        result = study(scored(sop), failed(generate_uid(), 2), paths=(), dicomweb_server="pacs")
        with opened(result, images, LIMITS) as source:
            path = source.images[sop].path
            assert (source.subject.patient_id, path.is_file()) == ("P-1", True)
        assert not path.exists()
        nothing = study(failed(generate_uid()), paths=(), dicomweb_server="pacs")
        with pytest.raises(DlrError) as refusal, opened(nothing, images, LIMITS):
            pass
    assert refusal.value.code is Code.SOP_INSTANCE_NOT_FOUND
