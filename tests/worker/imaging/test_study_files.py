"""A study's files: each image found once, each bad file named, and nothing read outside the storage."""

import errno
import os
import socket
from functools import partial
from pathlib import Path

import pytest

from tests.worker.imaging.dicom_files import (
    LIMITS,
    SOP_UID,
    STUDY_UID,
    dataset,
    picture,
    region,
    save,
    write,
    write_deflated,
)
from worker.errors import Code, LesionRefused, StudyRefused, Unavailable
from worker.imaging.dicom_file import open_dicom
from worker.imaging.storage import storage_fault
from worker.imaging.study_files import Limits, OnlyFile, StudyFiles, confined, index_study, read_entry
from worker.study import Roi

OTHER_UID = SOP_UID + "2"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    storage = tmp_path / "storage"
    storage.mkdir()
    write(storage / "good.dcm", picture())
    return storage


def _index(root: Path, *paths: str, limits: Limits = LIMITS) -> StudyFiles:
    return index_study(root, paths, STUDY_UID, partial(read_entry, limits=limits))


def _code(files: StudyFiles, uid: str = OTHER_UID) -> Code:
    with pytest.raises(LesionRefused) as refused:
        files.path_of(uid)
    return refused.value.code


def test_an_image_is_found_by_its_uid_and_not_by_its_name(root: Path) -> None:
    write(root / "2026/11/other.bin", picture(), SOPInstanceUID=OTHER_UID)
    files = _index(root, "good.dcm", "2026/11/other.bin")
    assert files.path_of(SOP_UID) == root / "good.dcm"
    assert files.path_of(OTHER_UID) == root / "2026/11/other.bin"
    assert files.failed == ()


def test_an_image_that_no_file_holds_is_not_found(root: Path) -> None:
    assert _code(_index(root, "good.dcm")) == Code.SOP_INSTANCE_NOT_FOUND


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("absent.dcm", Code.FILE_NOT_FOUND),
        ("good.dcm/inside", Code.FILE_NOT_FOUND),
        ("n" * 300, Code.FILE_NOT_FOUND),
        ("nul\0l", Code.FILE_NOT_FOUND),
        ("loop", Code.FILE_NOT_FOUND),
        ("../secret.dcm", Code.PATH_OUTSIDE_STORAGE),
        ("../nothing.dcm", Code.PATH_OUTSIDE_STORAGE),
        ("folder/../../secret.dcm", Code.PATH_OUTSIDE_STORAGE),
        ("link-out.dcm", Code.PATH_OUTSIDE_STORAGE),
        ("folder-out/secret.dcm", Code.PATH_OUTSIDE_STORAGE),
        ("/etc/hostname", Code.PATH_OUTSIDE_STORAGE),
        ("folder", Code.FILE_NOT_REGULAR),
        (".", Code.FILE_NOT_REGULAR),
        ("fifo", Code.FILE_NOT_REGULAR),
        ("socket", Code.FILE_NOT_REGULAR),
        ("text.dcm", Code.FILE_NOT_DICOM),
        ("empty.dcm", Code.FILE_NOT_DICOM),
        ("zeros.dcm", Code.FILE_NOT_DICOM),
        ("only-prefix.dcm", Code.FILE_NOT_DICOM),
        ("bare.dcm", Code.FILE_NOT_DICOM),
        ("cut-header.dcm", Code.FILE_TRUNCATED),
        ("cut-pixels.dcm", Code.FILE_TRUNCATED),
        ("cut-deflated.dcm", Code.FILE_TRUNCATED),
        ("broken-deflated.dcm", Code.FILE_NOT_DICOM),
        ("other-study.dcm", Code.STUDY_UID_MISMATCH),
        ("no-study.dcm", Code.STUDY_UID_MISMATCH),
        ("no-sop.dcm", Code.FILE_NOT_DICOM),
    ],
)
def test_a_bad_file_gives_its_code_and_does_not_stop_the_others(
    root: Path, path: str, code: Code, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make_bad_files(root, monkeypatch)
    files = _index(root, path, "good.dcm")
    assert files.path_of(SOP_UID) == root / "good.dcm"
    assert [failed.refused.code for failed in files.failed] == [code]
    assert _code(files) == code


def _make_bad_files(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(root.parent / "secret.dcm", picture(), SOPInstanceUID=OTHER_UID)
    (root / "folder").mkdir()
    (root / "folder-out").symlink_to(root.parent)
    (root / "link-out.dcm").symlink_to(root.parent / "secret.dcm")
    (root / "loop").symlink_to(root / "loop")
    os.mkfifo(root / "fifo")
    monkeypatch.chdir(root)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind("socket")
    whole = (root / "good.dcm").read_bytes()
    (root / "text.dcm").write_text("not DICOM " * 100)
    (root / "empty.dcm").touch()
    (root / "zeros.dcm").write_bytes(bytes(4096))
    (root / "only-prefix.dcm").write_bytes(whole[:132])
    (root / "bare.dcm").write_bytes(whole[132:])
    (root / "cut-header.dcm").write_bytes(whole[: whole.index(b"P1")])
    (root / "cut-pixels.dcm").write_bytes(whole[:-1])
    deflated = write_deflated(root / "deflated.dcm", dataset(picture())).read_bytes()
    (root / "cut-deflated.dcm").write_bytes(deflated[:-100])
    (root / "broken-deflated.dcm").write_bytes(deflated[: deflated.index(b"1.2.1.99") + 8] + b"\7" * 400)
    write(root / "other-study.dcm", picture(), StudyInstanceUID="1.2.3", SOPInstanceUID=OTHER_UID)
    write(root / "no-study.dcm", picture(), StudyInstanceUID=None, SOPInstanceUID=OTHER_UID)
    made = dataset(picture(), SOPInstanceUID=OTHER_UID)
    del made.SOPInstanceUID
    made.save_as(root / "no-sop.dcm", enforce_file_format=True)


@pytest.mark.parametrize("length", range(0, 1200, 7))
def test_a_file_cut_anywhere_is_refused(root: Path, length: int) -> None:
    whole = (root / "good.dcm").read_bytes()
    assert length < len(whole)
    (root / "cut.dcm").write_bytes(whole[:length])
    (failed,) = _index(root, "cut.dcm").failed or [None]
    header_only = failed is None or failed.refused.code in (
        Code.FILE_TRUNCATED,
        Code.FILE_NOT_DICOM,
        Code.STUDY_UID_MISMATCH,
    )
    assert header_only
    if failed is None:
        # Cut exactly between two elements before the pixels: a valid file, without pixels.
        assert whole[length : length + 2] in (b"\x10\x00", b"\x28\x00", b"\x20\x00", b"\xe0\x7f")


@pytest.mark.parametrize("kept", [8, 12, 16, 20, 24, 30])
def test_a_file_cut_within_a_sequence_is_cut_and_its_storage_is_not_away(root: Path, kept: int) -> None:
    item = region(Roi(0, 0, 9, 9))
    item.is_undefined_length_sequence_item = True
    made = dataset(picture(), SequenceOfUltrasoundRegions=[item])
    made["SequenceOfUltrasoundRegions"].is_undefined_length = True
    whole = save(root / "cut.dcm", made).read_bytes()
    (root / "cut.dcm").write_bytes(whole[: whole.index(b"\x18\x00\x11\x60") + kept])
    assert _code(_index(root, "cut.dcm")) in (Code.FILE_TRUNCATED, Code.FILE_NOT_DICOM)


def test_sequences_nested_without_end_are_no_dicom_file(root: Path) -> None:
    made = (root / "good.dcm").read_bytes()
    opening = b"\x08\x00\x40\x11SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    start = made.index(b"\x08\x00\x16\x00")
    (root / "deep.dcm").write_bytes(made[:start] + opening * 20_000)
    assert _code(_index(root, "deep.dcm")) == Code.FILE_NOT_DICOM


@pytest.mark.parametrize("keyword", ["PatientID", "StudyInstanceUID"])
def test_a_name_longer_than_any_name_is_another_s_and_not_read_as_a_whole(root: Path, keyword: str) -> None:
    write(root / "long.dcm", picture())
    data = (root / "long.dcm").read_bytes()
    at = data.index({"PatientID": b"\x10\x00\x20\x00LO", "StudyInstanceUID": b"\x20\x00\x0d\x00UI"}[keyword])
    element = data[at : at + 4] + b"UN" + bytes(2) + (17 << 20).to_bytes(4, "little") + b"7" * (17 << 20)
    skipped = 8 + int.from_bytes(data[at + 6 : at + 8], "little")
    (root / "long.dcm").write_bytes(data[:at] + element + data[at + skipped :])
    with open_dicom(root / "long.dcm", LIMITS) as file:
        assert file.header.text(keyword) == ""


def test_an_entry_says_no_more_of_a_name_than_a_name_can_have(root: Path) -> None:
    path = write(root / "long.dcm", picture(), PatientID="7" * 60_000)
    assert read_entry(path, LIMITS).patient.text == "7" * 1024


def test_a_link_that_stays_inside_is_followed(root: Path) -> None:
    (root / "link.dcm").symlink_to("good.dcm")
    assert _index(root, "link.dcm").path_of(SOP_UID) == root / "good.dcm"


def test_a_storage_root_that_is_itself_a_link_is_followed(root: Path) -> None:
    (root.parent / "mount").symlink_to(root)
    assert _index(root.parent / "mount", "good.dcm").path_of(SOP_UID) == root / "good.dcm"


def test_a_file_larger_than_allowed_is_refused_and_one_of_that_size_is_read(root: Path) -> None:
    size = (root / "good.dcm").stat().st_size
    assert _code(_index(root, "good.dcm", limits=Limits(size - 1, 10**6))) == Code.FILE_TOO_LARGE
    assert _index(root, "good.dcm", limits=Limits(size, 10**6)).failed == ()


def test_a_deflated_file_is_read(root: Path) -> None:
    write_deflated(root / "deflated.dcm", dataset(picture(), SOPInstanceUID=OTHER_UID))
    assert _index(root, "deflated.dcm").path_of(OTHER_UID) == root / "deflated.dcm"


def test_a_deflated_file_that_inflates_to_more_than_allowed_is_refused(root: Path) -> None:
    bomb = write_deflated(root / "bomb.dcm", dataset(picture(), SOPInstanceUID=OTHER_UID), extra=bytes(80 << 20))
    assert bomb.stat().st_size < 1 << 20
    assert _code(_index(root, "bomb.dcm")) == Code.FILE_TOO_LARGE


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_named(root: Path) -> None:
    (root / "good.dcm").chmod(0)
    assert _code(_index(root, "good.dcm")) == Code.FILE_NOT_READABLE


def test_the_reason_of_a_failed_file_that_claims_the_image_goes_first(root: Path) -> None:
    (root / "text.dcm").write_text("not DICOM")
    write(root / "other-study.dcm", picture(), StudyInstanceUID="1.2.3", SOPInstanceUID=OTHER_UID)
    files = _index(root, "text.dcm", "other-study.dcm", "good.dcm")
    assert _code(files) == Code.STUDY_UID_MISMATCH
    assert _code(files, SOP_UID + "3") == Code.FILE_NOT_DICOM


def test_a_readable_image_counts_even_where_another_study_s_file_claims_its_uid(root: Path) -> None:
    write(root / "other-study.dcm", picture(), StudyInstanceUID="1.2.3")
    assert _index(root, "other-study.dcm", "good.dcm").path_of(SOP_UID) == root / "good.dcm"


def test_one_file_listed_twice_and_a_copy_of_it_are_one_image(root: Path) -> None:
    (root / "copy.dcm").write_bytes((root / "good.dcm").read_bytes())
    assert _index(root, "good.dcm", "good.dcm", "copy.dcm").path_of(SOP_UID) == root / "good.dcm"


def test_two_different_files_with_one_uid_are_ambiguous_and_others_are_not(root: Path) -> None:
    write(root / "twin.dcm", picture(seed=1))
    write(root / "third.dcm", picture(), SOPInstanceUID=OTHER_UID)
    files = _index(root, "good.dcm", "twin.dcm", "third.dcm")
    assert _code(files, SOP_UID) == Code.SOP_INSTANCE_AMBIGUOUS
    assert files.path_of(OTHER_UID) == root / "third.dcm"


def test_files_of_two_patients_refuse_the_study(root: Path) -> None:
    write(root / "second.dcm", picture(), SOPInstanceUID=OTHER_UID, PatientID="P2")
    with pytest.raises(StudyRefused, match="patient_mismatch") as refused:
        _index(root, "good.dcm", "second.dcm")
    assert "P2" not in refused.value.reason


@pytest.mark.parametrize("patient", ["", "P1 ", None])
def test_an_empty_patient_id_or_its_padding_is_no_other_patient(root: Path, patient: str | None) -> None:
    write(root / "second.dcm", picture(), SOPInstanceUID=OTHER_UID, PatientID=patient)
    assert _index(root, "good.dcm", "second.dcm").failed == ()


def test_another_study_s_patient_does_not_count(root: Path) -> None:
    write(root / "second.dcm", picture(), SOPInstanceUID=OTHER_UID, PatientID="P2", StudyInstanceUID="1.2.3")
    assert _index(root, "good.dcm", "second.dcm").path_of(SOP_UID) == root / "good.dcm"


def test_a_storage_that_is_not_mounted_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="storage_unavailable"):
        _index(tmp_path / "unmounted", "good.dcm")


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN])
def test_a_storage_fault_can_be_tried_again(number: int) -> None:
    fault = storage_fault(OSError(number, "x", "/storage/Doe^Jane.dcm"))
    assert isinstance(fault, Unavailable)
    assert "Jane" not in fault.reason


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.EACCES, Code.FILE_NOT_READABLE),
        (errno.ENOENT, Code.FILE_NOT_FOUND),
        (None, Code.FILE_TRUNCATED),
    ],
)
def test_a_fault_of_the_file_is_no_fault_of_the_storage(number: int | None, code: Code) -> None:
    fault = storage_fault(OSError("x") if number is None else OSError(number, "x"))
    assert isinstance(fault, LesionRefused)
    assert fault.code == code


def test_refusals_quote_neither_paths_nor_uids(root: Path) -> None:
    files = _index(root, "Doe^Jane.dcm")
    with pytest.raises(LesionRefused) as refused:
        files.path_of(SOP_UID)
    assert "Jane" not in refused.value.reason
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


@pytest.mark.parametrize("folder", ["received", "submitted"])
def test_a_file_of_ours_is_not_missing_while_its_disk_is_not_mounted(root: Path, folder: str) -> None:
    path = f"{folder}/ab/image.dcm"
    write(root / path, picture())
    (root / folder).rename(root / "elsewhere")
    for look in (lambda: _index(root, path), lambda: confined(OnlyFile(str(root), path, STUDY_UID))):
        with pytest.raises(Unavailable) as away:
            look()
        assert away.value.code is Code.STORAGE_UNAVAILABLE
    (root / "elsewhere").rename(root / folder)
    assert _index(root, path).path_of(SOP_UID) == root / path
    (root / path).unlink()
    assert _code(_index(root, path), SOP_UID) == Code.FILE_NOT_FOUND
