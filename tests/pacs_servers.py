"""PACSs of other people: Orthanc with its DICOMweb plugin, and dcmqrscp (Debian: orthanc, orthanc-dicomweb, dcmtk)."""

import json
import os
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from tests.waiting import until
from worker.network.port import free_port

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
ORTHANC = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
DCMQRSCP = shutil.which("dcmqrscp")


def needs(*programs: str | Path | None) -> None:
    """Skip where a program is not installed; fail where all have to be."""
    if all(program is not None and Path(program).exists() for program in programs):
        return
    if os.environ.get("DLR_TEST_TOOLS") == "required":
        pytest.fail("orthanc, orthanc-dicomweb or dcmtk is not installed")
    pytest.skip("orthanc, orthanc-dicomweb or dcmtk is not installed")


@dataclass(frozen=True)
class PacsPeer:
    """A running PACS: its AE title and ports."""

    ae_title: str
    port: int
    http_port: int = 0

    @property
    def dicomweb_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def store(self, *files: Path) -> None:
        """Put files into it, as a modality would have."""
        for file in files:
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.http_port}/instances", file.read_bytes(), {"Content-Type": "application/dicom"}
            )
            urllib.request.urlopen(request, timeout=20).read()  # noqa: S310  our own peer

    def answers(self) -> bool:
        entity = AE(ae_title="DLR")
        entity.add_requested_context(Verification)
        association = entity.associate("127.0.0.1", self.port, ae_title=self.ae_title)
        established = association.is_established
        association.release()
        return established


@contextmanager
def orthanc(folder: Path, move_to: tuple[str, int] = ("DLR", 1), port: int | None = None) -> Iterator[PacsPeer]:
    """Run Orthanc; ``move_to`` is the AE title and port of whom it may send to, ``port`` its own, for DICOM."""
    needs(ORTHANC, DICOMWEB_PLUGIN)
    folder.mkdir(parents=True, exist_ok=True)
    peer = PacsPeer("ORTHANC", port or free_port(folder / "dicom"), free_port(folder / "http"))
    (folder / "orthanc.json").write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "storage"),
                "HttpPort": peer.http_port,
                "DicomPort": peer.port,
                "DicomAet": peer.ae_title,
                "DicomCheckCalledAet": True,
                "AuthenticationEnabled": False,
                "Plugins": [str(DICOMWEB_PLUGIN)],
                "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
                "DicomModalities": {"dlr": [move_to[0], "127.0.0.1", move_to[1]]},
                **{f"DicomAlwaysAllow{service}": True for service in ("Echo", "Store", "Find", "Get", "Move")},
            }
        )
    )
    with _running([ORTHANC, str(folder / "orthanc.json")], folder / "log"):
        until(lambda: _takes_http(peer.http_port) and peer.answers(), 30)
        yield peer


@contextmanager
def dcmqrscp(folder: Path, files: Sequence[Path], move_to: tuple[str, int] = ("DLR", 1)) -> Iterator[PacsPeer]:
    """Run dcmqrscp with files."""
    needs(DCMQRSCP)
    database = folder / "QR"
    database.mkdir(parents=True)
    peer = PacsPeer("QR", free_port(folder / "dicom"))
    (folder / "dcmqrscp.cfg").write_text(
        f"NetworkTCPPort = {peer.port}\nMaxPDUSize = 16384\nMaxAssociations = 16\n"
        f"HostTable BEGIN\ndlr = ({move_to[0]}, 127.0.0.1, {move_to[1]})\nHostTable END\n"
        "VendorTable BEGIN\nVendorTable END\n"
        f"AETable BEGIN\nQR {database} RW (200, 1024mb) ANY\nAETable END\n"
    )
    kept = [shutil.copy(file, database / f"{number}.dcm") for number, file in enumerate(files)]
    subprocess.run(["dcmqridx", str(database), *map(str, kept)], check=True, capture_output=True)
    with _running([str(DCMQRSCP), "--config", str(folder / "dcmqrscp.cfg")], folder / "log"):
        until(peer.answers, 30)
        yield peer


@contextmanager
def _running(command: Sequence[str], log: Path) -> Iterator[None]:
    with log.open("wb") as said:
        program = subprocess.Popen(command, stdout=said, stderr=said)
        try:
            yield
        finally:
            program.terminate()
            try:
                program.wait(10)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


def _takes_http(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/system", timeout=5).read()
    except (URLError, OSError):
        return False
    return True
