"""A DICOMweb server for tests: QIDO-RS and WADO-RS for instances, over the files of a folder, with faults on demand."""

import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydicom import dcmread

BOUNDARY = "0f3cf5c0-70e0-41ef-baef-c6f9f65ec3e1"


@dataclass
class DicomwebPeer:
    """What it serves, how it misbehaves, and what it was asked."""

    folder: Path
    url: str = ""
    status: int = 200
    answer: bytes | None = None
    multipart: bool = True
    authorization: str | None = None
    knows_filters: bool = True
    patient: bytes = b"Doe^Jane"
    drips_s: float = 0.0
    cut_to: int | None = None
    dripped: int = 0
    asked: list[str] = field(default_factory=list)
    _read: dict[tuple[Path, int], tuple[str, str, str]] = field(default_factory=dict)

    def instances(self, study: str) -> dict[str, tuple[str, Path]]:
        found = {}
        for path in sorted(self.folder.rglob("*.dcm")):
            own, series, uid = self._header(path)
            if own == study:
                found[uid] = (series, path)
        return found

    def _header(self, path: Path) -> tuple[str, str, str]:
        version = path, path.stat().st_mtime_ns
        if version not in self._read:
            header = dcmread(path, stop_before_pixels=True, force=True)
            study, series = header.get("StudyInstanceUID"), header.get("SeriesInstanceUID", "1.2.3")
            self._read[version] = str(study), str(series), str(header.get("SOPInstanceUID"))
        return self._read[version]


class _Handler(BaseHTTPRequestHandler):
    server: "_Server"

    @property
    def peer(self) -> DicomwebPeer:
        return self.server.peer

    def do_GET(self) -> None:
        self.peer.asked.append(self.path)
        if self.peer.authorization is not None and self.headers.get("Authorization") != self.peer.authorization:
            return self._answer(401, "text/plain", b"")
        if self.peer.status != 200:
            return self._answer(self.peer.status, "text/plain", b"")
        parts = urlsplit(self.path).path.removeprefix("/dicom-web/studies/").split("/")
        instances = self.peer.instances(parts[0])
        if parts[1:] == ["instances"]:
            return self._search(instances)
        series, path = instances.get(parts[-1], ("", None))
        if path is None or parts[1:] != ["series", series, "instances", parts[-1]]:
            return self._answer(404, "text/plain", b"")
        content = path.read_bytes() if self.peer.answer is None else self.peer.answer
        if not self.peer.multipart:
            return self._answer(200, "application/dicom", content)
        head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\nContent-Length: {len(content)}\r\n\r\n"
        body = head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
        return self._answer(200, f'multipart/related; type="application/dicom"; boundary={BOUNDARY}', body)

    def _search(self, instances: dict[str, tuple[str, Path]]) -> None:
        (wanted,) = parse_qs(urlsplit(self.path).query)["SOPInstanceUID"]
        found = [
            {
                "00100010": {"vr": "PN", "Value": [{"Alphabetic": "PATIENT"}]},
                "0020000E": {"vr": "UI", "Value": [series]},
                "00080018": {"vr": "UI", "Value": [uid]},
            }
            for uid, (series, _) in instances.items()
            if uid == wanted or not self.peer.knows_filters
        ]
        self._answer(200, "application/dicom+json", json.dumps(found).encode().replace(b"PATIENT", self.peer.patient))

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if 300 <= status < 400:
            self.send_header("Location", f"{self.peer.url}/elsewhere")
        self.end_headers()
        if kind == "application/dicom" and self.peer.drips_s:
            self._drip(body)
        else:
            self.wfile.write(body[: self.peer.cut_to] if kind == "application/dicom" else body)
            self.close_connection = self.peer.cut_to is not None

    def _drip(self, body: bytes) -> None:
        """Send a byte now and then, as long as somebody takes them."""
        for byte in body:
            time.sleep(self.peer.drips_s)  # which is what such a server does
            try:
                self.wfile.write(bytes([byte]))
            except OSError:
                return
            self.peer.dripped += 1

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def __init__(self, peer: DicomwebPeer, address: str, port: int) -> None:
        super().__init__((address, port), _Handler)
        self.peer = peer


@contextmanager
def serving(folder: Path, address: str = "127.0.0.1", port: int = 0) -> Iterator[DicomwebPeer]:
    peer = DicomwebPeer(folder)
    server = _Server(peer, address, port)
    peer.url = f"http://{address}:{server.server_port}/dicom-web"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


if __name__ == "__main__":  # a folder, an address and a port
    with serving(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])):
        threading.Event().wait()
