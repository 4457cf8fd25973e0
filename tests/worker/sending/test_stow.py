"""STOW-RS: to Orthanc with its DICOMweb plug-in, and to a server that fails as the standard has it (PS3.18, 10.5.3)."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from shutil import which
from threading import Thread
from typing import Any

import pytest
import requests
from pydicom import dcmread
from pydicom.uid import Comprehensive3DSRStorage
from sqlalchemy.orm import Session, sessionmaker

from tests.waiting import until
from tests.worker.sending.hospital import FAILED, SENT, WAITING, deliveries, end_study, settle, unwritten
from worker.errors import DlrError, Unavailable
from worker.network.port import free_port
from worker.sending.from_settings import routes
from worker.sending.http_server import Answer
from worker.sending.sender import Sender
from worker.sending.stow import check_stored
from worker.settings import Settings

Sessions = sessionmaker[Session]
Made = Callable[..., Sender]
ORTHANC = which("Orthanc", path="/usr/sbin:/usr/bin")
PLUGIN = next(iter(Path("/usr/share/orthanc/plugins").glob("libOrthancDicomWeb.so*")), None)


@pytest.fixture
def sender(sessions: Sessions, root: Path, tmp_path: Path) -> Made:
    def made(url: str, more: str = "") -> Sender:
        file = tmp_path / "destinations.toml"
        file.write_text(
            f'[destination.archive]\nkind = "stow"\nurl = "{url}"\ntimeout_s = 20\nresults = {{demo = true}}\n{more}'
        )
        (route,) = routes(Settings(storage_root=root, send_destinations=file))
        sender = Sender(route.destination, sessions, 0.1, 600, lambda work: work(), terms=route.terms)
        sender.switch_on()
        return sender

    return made


@contextmanager
def orthanc(folder: Path) -> Iterator[str]:
    """Run Orthanc with DICOMweb, for one user; give its address."""
    port = free_port(folder / "http-port")
    configuration = {
        "StorageDirectory": str(folder / "db"),
        "IndexDirectory": str(folder / "db"),
        "HttpPort": port,
        "DicomServerEnabled": False,
        "RegisteredUsers": {"dlr": "the hospital's word"},
        "AuthenticationEnabled": True,
        "Plugins": [str(PLUGIN)],
        "DicomWeb": {"Enable": True},
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([str(ORTHANC), str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        until(lambda: answers(f"http://127.0.0.1:{port}/system"))
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        return requests.get(url, auth=("dlr", "the hospital's word"), timeout=5).ok
    except requests.ConnectionError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(ORTHANC is None or PLUGIN is None, reason="needs Debian's orthanc and orthanc-dicomweb")
def test_orthanc_has_a_result_once_and_gives_it_back(
    sender: Made, sessions: Sessions, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "word").write_text("the hospital's word\n")
    with orthanc(tmp_path) as address:
        stranger = sender(f"{address}/dicom-web")
        study_id = end_study(sessions, root)
        assert stranger.work().away is not None, "nobody signed in"
        with pytest.raises(Unavailable):
            stranger.destination.test()
        sending = sender(f"{address}/dicom-web", 'user = "dlr"\npassword_file = "word"\n')
        assert sending.destination.test() == "answers HTTP 200"
        settle(sessions)
        assert sending.work().sent == 1
        unwritten(sessions)
        assert sending.work().sent == 1
        (row,) = deliveries(sessions)
        hospital = requests.Session()
        hospital.auth = ("dlr", "the hospital's word")
        (only,) = hospital.get(f"{address}/instances", timeout=20).json()
        stored = dcmread(BytesIO(hospital.get(f"{address}/instances/{only}/file", timeout=20).content))
    assert (row["state"], row["study_id"], row["sop_instance_uid"]) == (SENT, study_id, stored.SOPInstanceUID)
    assert stored.SOPClassUID == Comprehensive3DSRStorage


def failing(*reasons: int | None) -> dict[str, Any]:
    """A data set of an answer: which instances failed; ``None``: one without a reason."""
    items = []
    for reason in reasons:
        item: dict[str, Any] = {
            "00081150": {"vr": "UI", "Value": [Comprehensive3DSRStorage]},
            "00081155": {"vr": "UI", "Value": ["2.25.1"]},
        }
        if reason is not None:
            item["00081197"] = {"vr": "US", "Value": [reason]}
        items.append(item)
    return {"00081198": {"vr": "SQ", "Value": items}}


STORED = {"00081199": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["2.25.1"]}}]}}


@pytest.mark.parametrize(
    ("status", "body", "becomes"),
    [
        (200, STORED, None),
        (200, "", None),
        (204, "", None),
        (202, STORED, None),
        (202, failing(0x0111), None),  # it is there already
        (202, failing(0xA900), "destination_refused"),
        (202, failing(0x0111, 0xC122), "destination_refused"),
        (409, failing(0xC000), "destination_refused"),
        (409, "", "destination_refused"),
        (202, failing(0xA700), "destination_unavailable"),
        (409, failing(0x0110), "destination_deferred"),
        (202, failing(None), "destination_deferred"),
        (202, [failing(0x0122)], "destination_deferred"),
        (202, failing(0xA700, 0xA900), "destination_refused"),
        (200, "<html>Sign in</html>", "destination_unavailable"),
        (200, "[]", "destination_unavailable"),
        (200, '"text"', "destination_unavailable"),
        (200, {"00081198": {"Value": [{"00081197": {"Value": ["x"]}}]}}, "destination_unavailable"),
        (400, "", "destination_refused"),
        (401, "", "destination_unavailable"),
        (404, "", "destination_unavailable"),
        (413, "", "destination_refused"),
        (503, "", "destination_unavailable"),
        (302, "", "destination_unavailable"),
    ],
)
def test_an_answer_says_what_became_of_each_instance(status: int, body: Any, becomes: str | None) -> None:
    content = body if isinstance(body, str) else json.dumps(body)
    answer = Answer(status, {}, content.encode())
    if becomes is None:
        check_stored(answer)
        return
    with pytest.raises(DlrError) as raised:
        check_stored(answer)
    assert raised.value.code == becomes
    assert "2.25.1" not in raised.value.reason


def test_what_was_not_stored_is_said_by_its_kind_and_reason() -> None:
    with pytest.raises(DlrError) as raised:
        check_stored(Answer(202, {}, json.dumps(failing(0xA900)).encode()))
    assert raised.value.reason == "not stored: Comprehensive 3D SR Storage with 0xA900"


@dataclass
class Server:
    """Answers as a test has it, and keeps what it is sent."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    heard: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            server.heard.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(server.status)
            for name, value in {**server.headers, "Content-Length": str(len(server.body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(server.body)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.mark.slow
def test_a_partial_failure_is_read_and_a_server_that_asks_for_patience_gets_it(
    sender: Made, sessions: Sessions, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("abc")
    with serving(Server(429, {"Retry-After": "900"})) as server:
        sending = sender(server.url, 'token_file = "token"\n')
        end_study(sessions, root, 1, fails=True)
        assert sending.work().away is not None
        (row,) = deliveries(sessions)
        assert (row["next_at"] - row["created_at"]).total_seconds() > 800
        settle(sessions)
        server.status, server.body = 202, json.dumps(failing(0xA900)).encode()
        assert sending.work().failed == 1
        server.body = json.dumps(failing(0x0110)).encode()
        end_study(sessions, root, 2, fails=True)
        assert sending.work().held_up == 1
    path, headers, body = server.heard[0]
    assert (path, headers["authorization"]) == ("/studies", "Bearer abc")
    assert 'type="application/dicom"' in headers["content-type"]
    boundary = headers["content-type"].split("boundary=")[1]
    part = body.split(f"--{boundary}".encode())[1].partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
    assert dcmread(BytesIO(part)).SOPClassUID == Comprehensive3DSRStorage
    assert [row["state"] for row in deliveries(sessions)] == [FAILED, WAITING]
