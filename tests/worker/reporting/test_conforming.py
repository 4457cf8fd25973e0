"""Documents of values that do not conform: each document conforms, and no value is lost on the way to it."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import hl7
import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread

from tests.worker.imaging.dicom_files import write_texts
from tests.worker.reporting.conftest import Dciodvfy
from tests.worker.reporting.samples import COLUMNS, ROWS, scored, source_of, study, write_image
from worker.errors import Code, StudyRefused
from worker.reporting.conforming import conforms, require_conforming
from worker.reporting.documents import Camera, Kind, documents_of
from worker.reporting.person_name import names_of
from worker.reporting.result import StudyResult
from worker.reporting.source_study import Source, Subject
from worker.sending.work_item import Worklist, work_item
from worker.text import on_one_line

WORKLIST = Worklist("Breast ultrasound", "PACS", with_report=True)
CAMERA = Camera(lambda _image, _lesion: np.zeros((ROWS, COLUMNS), np.uint8))
ATTRIBUTES = {
    "PatientID": "patient_id",
    "IssuerOfPatientID": "issuer_of_patient_id",
    "AccessionNumber": "accession_number",
    "StudyID": "study_id",
    "StudyDescription": "study_description",
    "PatientName": "patient_name",
    "ReferringPhysicianName": "referring_physician_name",
}
LONGEST = {"LO": 64, "SH": 16, "PN": 64, "ST": 1024, "LT": 10240, "AE": 16, "CS": 16, "UI": 64, "DS": 16, "IS": 12}


@pytest.mark.parametrize(
    ("vr", "value", "fits"),
    [
        ("SH", "7" * 16, True),
        ("SH", "7" * 17, False),
        ("SH", "超" * 16, True),
        ("SH", "A\\B", False),
        ("SH", "A\tB", False),
        ("LO", "7" * 64, True),
        ("LO", "7" * 65, False),
        ("LO", "A\x80", False),
        ("LO", "", True),
        ("ST", "a\\b\r\nc", True),
        ("LT", "a\x00", False),
        ("LT", "a" * 10241, False),
        ("UT", "a\\b" * 9999, True),
        ("PN", "A^B^C^D^E=F=G", True),
        ("PN", "A^B^C^D^E^F", False),
        ("PN", "A=B=C=D", False),
        ("PN", "A" * 64 + "=" + "B" * 64, True),
        ("PN", "A" * 65, False),
        ("PN", "A\\B", False),
        ("CS", "ISO_10918_1", True),
        ("CS", "Lower", False),
        ("CS", "A" * 17, False),
        ("DS", "1.5e-3", True),
        ("DS", "１.５", False),
        ("DS", "1.0000000000000001", False),
        ("DS", "1,5", False),
        ("IS", "12", True),
        ("IS", "1.5", False),
        ("DA", "20260228", True),
        ("DA", "20260230", False),
        ("DA", "2026.02.28", False),
        ("TM", "2359", True),
        ("TM", "2460", False),
        ("UI", "1.2.840", True),
        ("UI", "1.02.3", True),
        ("UI", "1.2.a", False),
        ("UI", "1..2", False),
        ("UI", "1" * 65, False),
        ("AE", "PACS_1", True),
        ("AE", "PÄCS", False),
        ("AE", "A\\B", False),
    ],
)
def test_a_value_conforms_to_its_vr_or_it_does_not(vr: str, value: str, fits: bool) -> None:
    assert conforms(vr, value) is fits


def test_a_document_that_would_not_conform_is_refused_without_its_value() -> None:
    inner, outer = Dataset(), Dataset()
    inner.AccessionNumber = "ok"
    outer.ReferencedRequestSequence = [inner]
    require_conforming(outer)
    with pytest.warns(UserWarning, match="exceeds"):
        inner.AccessionNumber = "secret-number-of-a-person"
    with pytest.raises(StudyRefused) as refused:
        require_conforming(outer)
    assert refused.value.code is Code.DOCUMENT_REFUSED
    assert "Accession Number" in refused.value.reason
    assert "secret" not in refused.value.reason


# --- each document of any subject


def elements(dataset: Dataset) -> Iterator[tuple[str, str, str]]:
    """(keyword, VR, value) of each value of characters, at whatever depth."""
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from elements(item)
        elif element.VR not in ("OB", "OW", "US", "UL", "FD", "FL", "SS", "SL", "UR", "AT"):
            values = [element.value] if isinstance(element.value, str) or element.VM == 1 else element.value or []
            yield from ((element.keyword, str(element.VR), str(value)) for value in values)


def check_dicom(dataset: Dataset) -> None:
    for keyword, vr, value in elements(dataset):
        parts = value.split("=") if vr == "PN" else [value]
        assert len(parts) <= 3, keyword
        assert all(len(part) <= LONGEST.get(vr, len(part)) for part in parts), keyword
        forbidden = r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x9f]" if vr in ("LT", "ST", "UT") else r"[\x00-\x1f\x7f-\x9f\\]"
        assert not re.search(forbidden, value), (keyword, vr)
        assert vr not in ("CS", "DA", "TM", "DS", "IS", "UI", "AE") or value.isascii()


def check_hl7(message: str) -> list[str]:
    """Check a message; return all its fields, with their escapes undone."""
    assert parse_message(message, find_groups=True).validate()
    # Strictly it checks lengths too, but takes each OBX-5 for an ST, of which a TX may be longer.
    of_ours = [line for line in message.split("\r") if not (line.startswith("OBX") and "|TX|" in line)]
    parse_message("\r".join(of_ours), find_groups=True, validation_level=VALIDATION_LEVEL.STRICT)
    read = hl7.parse(message)
    assert {str(segment[0]) for segment in read} == {"MSH", "PID", "OBR", "OBX"}
    assert not re.search(r"[\x00-\x0c\x0e-\x1f\x7f-\x9f]", message)
    assert str(read.segment("PID")[5])
    fields = [field for segment in read for field in re.split(r"[\^&~]", "^".join(map(str, segment[1:])))]
    return [read.unescape(field) for field in fields]


def check_fhir(content: str) -> list[str]:
    """Check a Bundle; return all its texts."""
    Bundle.model_validate_json(content)
    texts: list[str] = []

    def walk(value: Any) -> None:
        assert value not in ("", {}, [], None)
        if isinstance(value, dict | list):
            for part in value.values() if isinstance(value, dict) else value:
                walk(part)
        elif isinstance(value, str):
            assert value.strip()
            assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", value)
            texts.append(value)

    walk(json.loads(content))
    return texts


def check(result: StudyResult, source: Source) -> None:
    """Check every document of a result, and that each value that it is made of is somewhere in it."""
    documents = {kind: documents_of(kind, result, source, CAMERA)[0].content for kind in Kind}
    said = {keyword: getattr(source.subject, name) for keyword, name in ATTRIBUTES.items()}
    said["AccessionNumber"] = said["AccessionNumber"] or result.accession_number or ""
    item = work_item(result, source, WORKLIST)
    for dataset in (*(dcmread(BytesIO(documents[kind])) for kind in (Kind.SR, Kind.SC)), item):
        check_dicom(dataset)
        held = {keyword: value for keyword, _, value in elements(dataset) if keyword in said}
        texts = "\n".join(value for _, vr, value in elements(dataset) if vr in ("UT", "LT"))
        for keyword, value in said.items():
            if dataset is not item or keyword not in ("StudyID", "StudyDescription", "ReferringPhysicianName"):
                # A name's empty groups at its end are no part of it (PS3.5, 6.2.1).
                assert value.strip(" =") == held.get(keyword, "").strip(" =") or value in texts, keyword
    identifiers = {said[keyword] for keyword in ("PatientID", "AccessionNumber")} - {""}
    fields = check_hl7(documents[Kind.HL7].decode())
    texts_of_fhir = check_fhir(documents[Kind.FHIR].decode())
    for value in identifiers:
        assert any(value.strip() in field for field in fields)
        assert value.strip() in texts_of_fhir or not value.strip()
    for part in filter(None, map(str.strip, re.split("[=^]", said["PatientName"]))):
        assert any(part in field for field in fields)
        assert any(part in text for text in texts_of_fhir)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[StudyResult, Source]:
    root = tmp_path_factory.mktemp("files")
    result = study(scored(write_image(root / "a.dcm")))
    return result, source_of(result, root)


def with_subject(source: Source, **said: str) -> Source:
    return replace(source, subject=replace(source.subject, **said))


WITHOUT_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""An example makes every document there is, so that shrinking one takes minutes."""

ANY = st.text(max_size=90).map(lambda text: on_one_line(text).strip(" "))
LONG = st.text("7aÄ超", min_size=60, max_size=300)
PARTS = st.text(st.characters(exclude_characters="^=", exclude_categories=["Cs"]), max_size=12)
PERSON = st.lists(st.lists(PARTS, max_size=7).map("^".join), max_size=4).map(
    lambda groups: on_one_line("=".join(groups)).rstrip("=")
)


@settings(max_examples=15, phases=WITHOUT_SHRINKING, deadline=None)
@given(
    said=st.fixed_dictionaries(
        dict.fromkeys(["patient_id", "issuer_of_patient_id", "accession_number", "study_id"], ANY | LONG)
        | {"study_description": ANY | LONG}
        | dict.fromkeys(["patient_name", "referring_physician_name"], PERSON | ANY | LONG)
    ),
    number=st.none() | ANY,
)
def test_whatever_the_images_say_each_document_conforms_and_loses_nothing(
    whole: tuple[StudyResult, Source], said: dict[str, str], number: str | None
) -> None:
    result, source = whole
    named = {"patient_name": said["patient_name"] if said["patient_name"].strip("^= ") else ""}
    check(replace(result, accession_number=number), with_subject(source, **said | named))


@settings(max_examples=15, phases=WITHOUT_SHRINKING, deadline=None)
@given(lesion_id=st.text(min_size=1, max_size=64).map(on_one_line), reason=st.text(max_size=200))
def test_whatever_a_lesion_is_called_each_document_conforms(
    whole: tuple[StudyResult, Source], lesion_id: str, reason: str
) -> None:
    result, source = whole
    lesion = replace(result.lesions[0], lesion_id=lesion_id, error_reason=on_one_line(reason))
    check(replace(result, lesions=(lesion,)), source)


CASES = {
    "a long number": {"accession_number": "7" * 35},
    "a number of two values": {"accession_number": "A\\B"},
    "an ideographic name": {"patient_name": "=王^小东"},
    "a phonetic name": {"patient_name": "==おう^しょうとう"},
    "three groups": {"patient_name": "Yamada^Tarou=山田^太郎=やまだ^たろう"},
    "a name of many parts": {"patient_name": "A^B^C^D^E^F"},
    "no name": {"patient_name": ""},
    "nobody": {"patient_name": "", "patient_id": "", "issuer_of_patient_id": ""},
    "a byte without a meaning": {"patient_id": r"M\374ller"},
    "a long issuer": {"issuer_of_patient_id": "Hospital of the Holy Spirit"},
    "an issuer by its OID": {"issuer_of_patient_id": "1.2.840.113619.2.5.1762583153"},
    "a long study id": {"study_id": "x" * 40, "study_description": "y" * 90},
    "letters that HL7 escapes": {"patient_id": "a|b&c~d", "patient_name": "O~Neil&^B|c"},
}


@pytest.mark.parametrize("said", CASES.values(), ids=CASES.keys())
def test_the_validators_find_nothing_in_documents_of_what_does_not_conform(
    whole: tuple[StudyResult, Source], said: dict[str, str], dciodvfy: Dciodvfy, tmp_path: Path
) -> None:
    result, source = whole
    source = with_subject(source, **said)
    check(result, source)
    for kind, name in ((Kind.SR, "Comprehensive3DSR"), (Kind.SC, "SCImage")):
        (tmp_path / kind).write_bytes(documents_of(kind, result, source, CAMERA)[0].content)
        assert dciodvfy(tmp_path / kind, name) == []


def test_each_group_of_a_name_is_a_name_of_the_patient(whole: tuple[StudyResult, Source]) -> None:
    result, source = whole
    source = with_subject(source, patient_name="Yamada^Tarou=山田^太郎=やまだ^たろう")
    message = documents_of(Kind.HL7, result, source)[0].content.decode()
    pid = next(line for line in message.split("\r") if line.startswith("PID"))
    assert pid.split("|")[5] == "Yamada^Tarou^^^^^^A~山田^太郎^^^^^^I~やまだ^たろう^^^^^^P"
    bundle = json.loads(documents_of(Kind.FHIR, result, source)[0].content)
    (patient,) = [one["resource"] for one in bundle["entry"] if one["resource"]["resourceType"] == "Patient"]
    assert [
        (name["family"], name["given"], name.get("extension", [{}])[0].get("valueCode")) for name in patient["name"]
    ] == [
        ("Yamada", ["Tarou"], None),
        ("山田", ["太郎"], "IDE"),
        ("やまだ", ["たろう"], "SYL"),
    ]


@pytest.mark.parametrize(
    ("person", "families"),
    [("=王^小东", ["王"]), ("A^B", ["A"]), ("A^B==C", ["A", "C"]), ("^^^", []), ("", []), ("A^B^C^D^E^F", [])],
)
def test_a_name_has_the_groups_that_say_something(person: str, families: list[str]) -> None:
    assert [name.family for name in names_of(person)] == families


@pytest.mark.parametrize(
    ("declared", "texts", "wanted"),
    [
        ("ISO_IR 192", {"PatientID": b"P\r\n", "PatientName": b"^^=="}, {"patient_id": "P", "patient_name": ""}),
        ("ISO_IR 100", {"PatientID": b"P\x07\xe9"}, {"patient_id": r"P\007é"}),
        ("ISO_IR 192", {"PatientID": b"P\xe9"}, {"patient_id": r"P\351"}),
        ("ISO_IR 192", {"PatientName": "=王^小东=".encode()}, {"patient_name": "=王^小东"}),
        ("\\ISO 2022 IR 58", {"PatientName": b"=\x1b$)A\xd5\xc5="}, {"patient_name": "=张"}),
        (None, {"TimezoneOffsetFromUTC": b"-0000 "}, {"timezone_offset": ""}),
        (None, {"TimezoneOffsetFromUTC": b"+1459 "}, {"timezone_offset": ""}),
        (None, {"TimezoneOffsetFromUTC": b"+1400 "}, {"timezone_offset": "+1400"}),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_headers_say_makes_documents(
    tmp_path: Path, declared: str | None, texts: dict[str, bytes], wanted: dict[str, str]
) -> None:
    write_texts(tmp_path / "a.dcm", declared, **texts)
    image = dcmread(tmp_path / "a.dcm")
    result = study(
        scored(image.SOPInstanceUID, region=(1, 1, 9, 9), roi=None), study_instance_uid=image.StudyInstanceUID
    )
    source = source_of(result, tmp_path)
    assert {name: getattr(source.subject, name) for name in wanted} == wanted
    sop = image.SOPInstanceUID
    check(result, replace(source, images={sop: replace(source.images[sop], series_instance_uid="1.2.3")}))


SHARED = Path(__file__).parents[4] / "shared" / "cases" / "15-name-ideographic-only"


@pytest.mark.skipif(not SHARED.is_dir(), reason="no shared cases here")
def test_the_shared_case_has_the_name_in_each_document() -> None:
    image = dcmread(SHARED / "image.dcm")
    result = study(scored(image.SOPInstanceUID), study_instance_uid=image.StudyInstanceUID, paths=("image.dcm",))
    source = source_of(result, SHARED)
    check(result, source)
    assert isinstance(source.subject, Subject)
    assert names_of(source.subject.patient_name)
