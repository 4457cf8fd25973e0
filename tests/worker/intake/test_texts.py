"""Studies whose texts are not ASCII become jobs: their lesions, their number, and whether they are of one patient."""

import json
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest

from tests.worker.imaging.dicom_files import LIMITS, write_texts
from tests.worker.imaging.test_character_set import EXTENDED, OF_ONE_SET
from tests.worker.intake.presentations import Annotation, write_presentation
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.broker.refused_identifiers import Named, named_in
from worker.contract import StudyJob, parse_job
from worker.errors import Code, JobRefused, StudyRefused
from worker.intake.lesions_file import MarkedLesions, read_lesions
from worker.intake.presentation_state import read_presentation
from worker.intake.submit import Overrides, Submission, plan

CASES = Path(__file__).parents[4] / "shared" / "cases"


def planned(tmp_path: Path, *paths: Path, marked: MarkedLesions | None = None) -> Submission:
    storage = tmp_path / "storage"
    storage.mkdir(exist_ok=True)
    (submission,) = plan(list(paths), marked, Overrides(), storage, LIMITS)
    return submission


def job(tmp_path: Path, *paths: Path, marked: MarkedLesions | None = None) -> StudyJob:
    submission = planned(tmp_path, *paths, marked=marked)
    assert submission.refused is None
    return parse_job(submission.job)


def report(folder: Path, image: Path, **elements: Any) -> Path:
    said = {"SpecificCharacterSet": "ISO_IR 192"} | elements
    return write_report(folder / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))], **said)


def encoded(declared: str) -> tuple[str, bytes]:
    if declared in OF_ONE_SET:
        codec, text = OF_ONE_SET[declared]
        return text, text.encode(codec)
    return EXTENDED[declared][1], extended(declared)


def extended(declared: str) -> bytes:
    from pydicom.charset import encode_string

    encodings, text = EXTENDED[declared]
    return encode_string(text, encodings)


@pytest.mark.parametrize("declared", [*OF_ONE_SET, *EXTENDED])
def test_a_patient_and_a_number_in_any_repertoire_are_those_of_the_report(tmp_path: Path, declared: str) -> None:
    text, content = encoded(declared)
    image = write_texts(tmp_path / "a.dcm", declared, PatientID=content, AccessionNumber=content)
    made = job(tmp_path, image, report(tmp_path, image, PatientID=text))
    assert made.accession_number == text
    (lesion,) = made.lesions
    assert lesion.roi is not None
    other = planned(tmp_path, image, report(tmp_path, image, PatientID=text + "x"))
    assert other.refused is not None
    assert other.refused.code is Code.PATIENT_MISMATCH


@pytest.mark.parametrize(
    ("declared", "content", "number"),
    [
        (None, "检查一号".encode(), "检查一号"),
        (None, "检查一号".encode("gb18030"), r"\274\354\262\351\322\273\272\305"),
        ("ISO-IR 192", "检查".encode(), "检查"),
        ("unknown", b"A-\xfc", r"A-\374"),
        ("ISO_IR 192", b"A-\xfc", r"A-\374"),
        ("ISO_IR 100", b"A\t1\x00\x80 ", r"A\0111\000\200"),
        ("ISO_IR 192", "A\u2028B".encode(), r"A\u2028B"),
        ("ISO_IR 192", normalize("NFD", "Übung").encode(), "Übung"),
        ("ISO_IR 192", "検査\u3000１".encode(), "検査\u3000１"),
        ("ISO_IR 192", "\ue5e5\U0003134a".encode(), "\ue5e5\U0003134a"),
        ("ISO_IR 100", b"7" * 35, "7" * 35),
        ("ISO_IR 100", b"7" * 64, "7" * 64),
        ("ISO_IR 100", b"7" * 65, None),
        ("ISO_IR 6", b"\xff" * 17, None),
        ("ISO_IR 192", b"  ", None),
    ],
)
def test_no_study_is_refused_for_the_text_of_its_number(
    tmp_path: Path, declared: str | None, content: bytes, number: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    image = write_texts(tmp_path / "a.dcm", declared, AccessionNumber=content)
    for marked in (None, MarkedLesions(({"birads": "4A"},))):
        paths = [image, report(tmp_path, image)] if marked is None else [image]
        assert job(tmp_path, *paths, marked=marked).accession_number == number
    assert ("longer" in caplog.text) == (number is None and content.strip() != b"")
    assert "777" not in caplog.text


@pytest.mark.parametrize(
    ("numbers", "number"),
    [
        ([(None, "检查".encode("gb18030")), ("GB18030", "检查".encode("gb18030"))], "检查"),
        ([(None, b""), ("ISO_IR 100", b"\xdc7")], "Ü7"),
        ([("ISO_IR 100", b"7" * 65), ("ISO_IR 100", b"7")], "7"),
        ([(None, b"\xdc"), (None, b"\xd6")], r"\334"),
        ([("ISO_IR 100", b"\xdc1"), ("ISO_IR 100", b"\xdc2")], "Ü1"),
    ],
)
def test_the_number_is_one_that_can_be_read_whichever_file_has_it(
    tmp_path: Path, numbers: list[tuple[str | None, bytes]], number: str
) -> None:
    images = [
        write_texts(tmp_path / f"{at}.dcm", declared, AccessionNumber=content, SOPInstanceUID=f"1.2.{at}".encode())
        for at, (declared, content) in enumerate(numbers)
    ]
    marked = MarkedLesions(({"birads": "4A", "sop_instance_uid": "1.2.0"},))
    assert job(tmp_path, *images, marked=marked).accession_number == number
    assert job(tmp_path, *images, report(tmp_path, images[0])).accession_number == number


@pytest.mark.parametrize(
    ("declared", "written", "name", "read"),
    [
        ("ISO_IR 192", "ISO_IR 192", "左 2 o'clock", "左 2 o'clock"),
        ("ISO-IR 192", "ISO_IR 192", "左乳", "左乳"),
        ("ISO_IR 999", "ISO_IR 192", "左乳", "左乳"),
        ("ISO_IR 203", "ISO_IR 100", "Œ".encode("iso8859_15").decode("latin-1"), "Œ"),
        ("ISO_IR 999", "ISO_IR 100", "rück", r"r\374ck"),
        ("GB18030", "GB18030", "左乳", "左乳"),
        ("ISO_IR 192", "ISO_IR 192", "a\tb\nc", "a b c"),
        ("ISO_IR 192", "ISO_IR 192", "\x07bell \ue5e5", r"\007bell " + "\ue5e5"),
    ],
)
def test_a_lesion_s_name_is_read_in_the_character_set_of_its_report(
    tmp_path: Path, declared: str, written: str, name: str, read: str
) -> None:
    image = write_texts(tmp_path / "a.dcm", None)
    made = write_report(
        tmp_path / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10), name=name)], SpecificCharacterSet=written
    )
    content = made.read_bytes()
    assert content.count(written.encode()) == 1
    made.write_bytes(content.replace(written.encode(), declared.encode()))
    (lesion,) = job(tmp_path, image, made).lesions
    assert lesion.lesion_id == read


@pytest.mark.parametrize(
    "names",
    [["a", "a"], ["a (3)", "a", "a"], ["", "L1"], ["L2", ""], ["é", "e\u0301"], ["a\tb", "a b"], ["x" * 60, "x" * 59]],
)
def test_no_two_lesions_of_a_report_have_one_name(tmp_path: Path, names: list[str]) -> None:
    image = write_texts(tmp_path / "a.dcm", None)
    findings = [Finding(image, rectangle(3 + at, 4, 20, 10), name=name) for at, name in enumerate(names)]
    made = job(tmp_path, image, write_report(tmp_path / "sr.dcm", findings, SpecificCharacterSet="ISO_IR 192"))
    assert len({lesion.lesion_id for lesion in made.lesions}) == len(names)


def test_a_category_in_letters_of_full_width_is_a_category_and_never_passed_over(tmp_path: Path) -> None:
    image = write_texts(tmp_path / "a.dcm", None)
    for text, code in (("ＢＩ-ＲＡＤＳ ４Ａ", None), ("ＢＩ−ＲＡＤＳ　４Ａ", Code.BIRADS_UNKNOWN)):
        made = write_presentation(
            tmp_path / "pr.dcm", image, [Annotation([rectangle(3, 4, 20, 10)], [text])], SpecificCharacterSet="GB18030"
        )
        if code is None:
            assert [one.birads for one in read_presentation(made, LIMITS).findings] == ["4A"]
        else:
            with pytest.raises(StudyRefused) as refused:
                read_presentation(made, LIMITS)
            assert refused.value.code is code


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_files_of_lesions_and_of_jobs_may_be_in_any_form_of_unicode(tmp_path: Path, codec: str) -> None:
    lesions = tmp_path / "lesions.json"
    content = {"lesions": [{"lesion_id": "左", "birads": "4A"}], "accession_number": "检查"}
    lesions.write_text(json.dumps(content, ensure_ascii=False), codec)
    made = job(tmp_path, write_texts(tmp_path / "a.dcm", None), marked=read_lesions(lesions))
    assert (made.accession_number, made.lesions[0].lesion_id) == ("检查", "左")
    (tmp_path / "job.json").write_text(made.model_dump_json(), codec)
    assert job(tmp_path, tmp_path / "job.json") == made


@pytest.mark.parametrize("number", ["检查".encode("gb18030"), b"\xfc7", b"\xed\xa0\x80", b"A\x00", b"A\n"])
def test_a_job_file_of_other_bytes_is_refused_with_its_names_and_leaves_the_others(
    tmp_path: Path, number: bytes
) -> None:
    good = job(tmp_path, write_texts(tmp_path / "a.dcm", None), marked=MarkedLesions(({"birads": "4A"},)))
    bad, other = tmp_path / "bad.json", tmp_path / "good.json"
    bad.write_bytes(b'{"study_instance_uid": "1.2.3", "accession_number": "' + number + b'"}')
    other.write_text(good.model_dump_json())
    (tmp_path / "storage").mkdir(exist_ok=True)
    first, second = plan([bad, other], None, Overrides(), tmp_path / "storage", LIMITS)
    assert (first.refused or refusal_of(first.job)).code is Code.JOB_INVALID
    assert named_in(first.job) == Named("1.2.3")
    assert parse_job(second.job) == good


def refusal_of(job: object) -> JobRefused:
    with pytest.raises(JobRefused) as refused:
        parse_job(job)
    return refused.value


def test_a_path_may_have_spaces_of_any_width(tmp_path: Path) -> None:
    image = write_texts(tmp_path / "storage" / "山田\u3000太郎\u00a0" / "a.dcm", None)
    made = job(tmp_path, image, marked=MarkedLesions(({"birads": "4A"},)))
    assert made.images.model_dump()["paths"] == ["山田\u3000太郎\u00a0/a.dcm"]


@pytest.mark.skipif(not CASES.is_dir(), reason="no shared cases here")
@pytest.mark.parametrize(
    ("case", "number"), [("10-same-patient-two-charsets", None), ("11-accession-in-utf8", "乳腺0012")]
)
def test_the_shared_cases_become_jobs(tmp_path: Path, case: str, number: str | None) -> None:
    made = job(tmp_path, CASES / case)
    assert number is None or made.accession_number == number
