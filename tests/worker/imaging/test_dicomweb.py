"""Fetching a study's instances from a DICOMweb server."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.dicomweb_server import DicomwebPeer, serving
from tests.worker.network.test_timed_http import ENDS_S, trickling
from worker.demo.dicom import Header, write_ultrasound
from worker.errors import LesionRefused, StudyRefused, Unavailable
from worker.image_access import Dicomweb, Server
from worker.imaging.dicomweb import _unwrap, fetch

STUDY = "1.2.826.0.1.3680043.10.1"


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[DicomwebPeer]:
    (tmp_path / "pacs").mkdir()
    with serving(tmp_path / "pacs") as peer:
        yield peer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "fetched"
    folder.mkdir()
    return folder


def image(peer: DicomwebPeer, name: str) -> str:
    header = Header(STUDY, "Doe^Jane", "P1", "A1", "20261123", patient_age="047Y")
    frame = np.arange(60 * 100, dtype=np.uint8).reshape(60, 100)
    return write_ultrasound(peer.folder / f"{name}.dcm", header, [frame], ExplicitVRLittleEndian)


def dicomweb(
    peer: DicomwebPeer, *, max_bytes: int = 1 << 20, headers: dict[str, str] | None = None, timeout_s: float = 10
) -> Dicomweb:
    return Dicomweb({"pacs": Server(peer.url, headers or {})}, max_bytes, timeout_s)


@pytest.mark.parametrize("multipart", [True, False])
def test_the_wanted_instances_alone_come_byte_for_byte(peer: DicomwebPeer, folder: Path, *, multipart: bool) -> None:
    wanted = {image(peer, "a"), image(peer, "b")}
    image(peer, "c")
    peer.multipart = multipart
    files, refused = fetch(dicomweb(peer), "pacs", STUDY, wanted, folder)
    assert refused == {}
    fetched = sorted((folder / file).read_bytes() for file in files)
    assert fetched == sorted((peer.folder / name).read_bytes() for name in ("a.dcm", "b.dcm"))
    assert len(peer.asked) == 4


@pytest.mark.parametrize(
    "patient",
    [
        "王^小东".encode(),
        "王^小东".encode("gb18030"),
        b"M\xfcller",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B",
        b"\\ud800",
        b"a\tb\0",
        b"\xff\xfe",
    ],
)
def test_a_name_that_is_not_utf_8_keeps_no_instance_from_being_found(
    peer: DicomwebPeer, folder: Path, patient: bytes
) -> None:
    uid, peer.patient = image(peer, "a"), patient
    files, refused = fetch(dicomweb(peer), "pacs", STUDY, {uid}, folder)
    assert (len(files), refused) == (1, {})


def test_an_instance_that_is_not_there_leaves_the_others_alone(peer: DicomwebPeer, folder: Path) -> None:
    there, absent = image(peer, "a"), generate_uid()
    files, refused = fetch(dicomweb(peer), "pacs", STUDY, {there, absent}, folder)
    assert len(files) == 1
    assert {uid: why.code for uid, why in refused.items()} == {absent: "sop_instance_not_found"}


def test_a_server_that_says_no_content_has_no_such_instance(peer: DicomwebPeer, folder: Path) -> None:
    uid = image(peer, "a")
    peer.status = 204
    _, refused = fetch(dicomweb(peer), "pacs", STUDY, {uid}, folder)
    assert refused[uid].code == "sop_instance_not_found"


@pytest.mark.parametrize("answer", [b"", b"<html>sign in</html>", bytes(2000)])
def test_what_comes_is_not_read_here_but_in_a_decoder(peer: DicomwebPeer, folder: Path, answer: bytes) -> None:
    uid = image(peer, "a")
    peer.answer, peer.multipart = answer, False
    files, refused = fetch(dicomweb(peer), "pacs", STUDY, {uid}, folder)
    assert ([(folder / file).read_bytes() for file in files], refused) == ([answer], {})


def test_one_that_is_too_large_is_refused_and_leaves_nothing_behind(peer: DicomwebPeer, folder: Path) -> None:
    uid = image(peer, "a")
    files, refused = fetch(dicomweb(peer, max_bytes=1024), "pacs", STUDY, {uid}, folder)
    assert (files, refused[uid].code) == ([], "file_too_large")
    assert list(folder.iterdir()) == []


def test_a_server_that_knows_no_filter_is_believed_about_the_wanted_instance_alone(
    peer: DicomwebPeer, folder: Path
) -> None:
    uids = [image(peer, name) for name in ("a", "b", "c")]
    peer.knows_filters = False
    for place, uid in enumerate(uids):
        (here := folder / str(place)).mkdir()
        [file], refused = fetch(dicomweb(peer), "pacs", STUDY, {uid}, here)
        assert (here / file).read_bytes() == (peer.folder / f"{'abc'[place]}.dcm").read_bytes()
        assert refused == {}
    _, refused = fetch(dicomweb(peer), "pacs", STUDY, {generate_uid()}, folder)
    assert [why.code for why in refused.values()] == ["sop_instance_not_found"]


def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time(peer: DicomwebPeer, folder: Path) -> None:
    uid = image(peer, "a")
    peer.multipart, peer.drips_s = False, 0.01
    with pytest.raises(Unavailable, match="dicomweb_unavailable"):
        fetch(dicomweb(peer, timeout_s=0.3), "pacs", STUDY, {uid}, folder)
    assert peer.dripped < (peer.folder / "a.dcm").stat().st_size


@pytest.mark.parametrize("kind", ["header", "size of a chunk"])
def test_a_server_that_sends_a_byte_of_its_head_now_and_then_is_given_up_in_time(folder: Path, kind: str) -> None:
    started = time.monotonic()
    with trickling(kind) as url:
        slow = Dicomweb({"pacs": Server(url, {})}, 1 << 20, timeout_s=0.5)
        with pytest.raises(Unavailable, match="dicomweb_unavailable"):
            fetch(slow, "pacs", STUDY, {generate_uid()}, folder)
    assert time.monotonic() - started < ENDS_S / 2


def test_an_answer_that_breaks_off_is_asked_for_again(peer: DicomwebPeer, folder: Path) -> None:
    uid = image(peer, "a")
    peer.multipart, peer.cut_to = False, 1000
    with pytest.raises(Unavailable, match="dicomweb_unavailable"):
        fetch(dicomweb(peer), "pacs", STUDY, {uid}, folder)


@pytest.mark.parametrize(
    ("boundary", "body", "content"),
    [
        ("b", b"--b\r\nContent-Type: application/dicom\r\n\r\nfirst\r\n--b\r\n\r\nsecond\r\n--b--\r\n", b"first"),
        ("b", b"preamble\r\n--b\r\n\r\nfirst\r\n--b--", b"first"),
        ("b", b"--b\r\n\r\nhas --b and\r\n\r\n in it\r\n--b--\r\n", b"has --b and\r\n\r\n in it"),
        ("b", b"--b\r\n\r\nis not closed", b"is not closed"),
        (None, b"the content alone", b"the content alone"),
    ],
)
def test_the_first_part_of_a_multipart_answer_is_left(
    folder: Path, boundary: str | None, body: bytes, content: bytes
) -> None:
    (file := folder / "0.dcm").write_bytes(body)
    _unwrap(file, boundary)
    assert file.read_bytes() == content


@pytest.mark.parametrize("body", [b"", b"--b--\r\n", b"nothing of the kind"])
def test_an_answer_without_a_part_has_no_instance(folder: Path, body: bytes) -> None:
    (file := folder / "0.dcm").write_bytes(body)
    with pytest.raises(LesionRefused, match="sop_instance_not_found"):
        _unwrap(file, "b")


@pytest.mark.parametrize("status", [400, 406, 301])
def test_a_refusal_for_good_refuses_the_instance_and_says_the_status(
    peer: DicomwebPeer, folder: Path, status: int
) -> None:
    uid = image(peer, "a")
    peer.status = status
    _, refused = fetch(dicomweb(peer), "pacs", STUDY, {uid}, folder)
    assert refused[uid].code == "dicomweb_failed"
    assert uid not in refused[uid].reason
    assert len(peer.asked) == 1


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 503])
def test_a_server_that_can_not_serve_now_is_asked_again(peer: DicomwebPeer, folder: Path, status: int) -> None:
    uid = image(peer, "a")
    peer.status = status
    with pytest.raises(Unavailable, match="dicomweb_unavailable"):
        fetch(dicomweb(peer), "pacs", STUDY, {uid}, folder)


def test_a_server_that_does_not_answer_is_asked_again(folder: Path) -> None:
    nobody = Dicomweb({"pacs": Server("http://127.0.0.1:9/dicom-web", {})}, 1 << 20, timeout_s=10)
    with pytest.raises(Unavailable, match="dicomweb_unavailable"):
        fetch(nobody, "pacs", STUDY, {generate_uid()}, folder)


def test_it_signs_in(peer: DicomwebPeer, folder: Path) -> None:
    uid = image(peer, "a")
    peer.authorization = "Bearer s3cret"
    files, _ = fetch(dicomweb(peer, headers={"Authorization": "Bearer s3cret"}), "pacs", STUDY, {uid}, folder)
    assert len(files) == 1


def test_a_server_that_the_settings_do_not_name_is_never_called(peer: DicomwebPeer, folder: Path) -> None:
    with pytest.raises(StudyRefused, match="dicomweb_server_unknown"):
        fetch(dicomweb(peer), "http://elsewhere", STUDY, {generate_uid()}, folder)
    assert peer.asked == []
