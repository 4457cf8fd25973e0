"""The systems around the service, each full of identifiers: a RIS, programs, readers, destinations, a collector ..."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any, Final
from uuid import UUID

from pydicom.dataset import Dataset

from benchmarks.faults.audit_collector import AuditCollector, collecting
from benchmarks.faults.planted import BIRTH, MARK, NAME, ROOT, full_of_identifiers, job_of
from benchmarks.faults.service import FaultService
from benchmarks.faults.waiting import listens
from tests.worker.imaging.dicom_files import save
from tests.worker.performing.ups_manager import STATION, UpsManager, managing, work_item
from worker.api.tokens import Scope, Tokens
from worker.network.port import LOOPBACK, free_port
from worker.web.accounts import Accounts, WebRole

COMMANDS: Final = ("listen", "perform", "api", "web", "send", "metrics")
"""Of `dlr`; each is started, and has a log of its name."""

DESTINATIONS: Final = """
[destination.hook]
kind = "webhook"
url = "{http}/hook"
identifiers = true

[destination.server]
kind = "fhir"
url = "{http}/fhir"
patient_system = "urn:oid:{root}.5"

[destination.archive]
kind = "stow"
url = "{http}/stow"

[destination.ris]
kind = "mllp"
host = "{host}"
port = {mllp}

[destination.folder]
kind = "folder"
path = "{folder}"
documents = ["sr", "hl7", "fhir"]
"""

ROWS: Final = 10
"""Studies and refusals that `plant` leaves on record."""

_FIRST: Final = 100
"""Number of the first study here; those of the queue come before."""

_PATIENCE_S: Final = 90
_TIMEOUT_S: Final = 30
_PROGRAM: Final = "program"
_READER: Final = "reader"
_AUDITED: Final = (("DICOM Instances Accessed", _READER), ("DICOM Instances Accessed", _PROGRAM), ("Export", _PROGRAM))
_PASSWORD: Final = f"{MARK} correct horse battery"
_NOBODY: Final = UUID(int=0)
_HEADERS: Final = {"User-Agent": f"Roe {MARK}", "Referer": f"http://ris.example/{MARK}", "X-Request-Id": MARK}


@dataclass
class OtherSystems:
    """Their connections to a running service.

    Attributes:
        addresses: to which the page and the interface led.
        defects: answers that say that the service has one.
    """

    service: FaultService
    ports: Mapping[str, int]
    manager: UpsManager
    collector: AuditCollector
    addresses: list[str] = field(default_factory=list)
    defects: list[str] = field(default_factory=list)

    def plant(self) -> None:
        """Say identifiers wherever these systems can: in what is asked for, how it is asked for, and where."""
        item = self.manager.add(_work_item())
        self._orders()
        self._programs()
        self._readers()
        self.service.until(lambda: self.manager.state(item) == "CANCELED", _PATIENCE_S, "the end of the work item")

    def until_sent(self) -> None:
        """Wait until each destination was offered each result that there is, and the collector has all messages."""
        done = "study.is_current AND study.state = 'done'"
        wanted = f"SELECT count(*) FROM study WHERE {done}"
        tried = (
            f"SELECT count(*) FROM named_delivery AS delivery JOIN study ON study.id = delivery.study_id "
            f"WHERE delivery.attempts > 0 AND {done}"
        )
        kinds = DESTINATIONS.count("kind =")

        def is_sent() -> bool:
            results, attempts = (int(self.service.sql(query)[0]["count"]) for query in (wanted, tried))
            return results > 0 and attempts >= kinds * results

        self.service.until(is_sent, _PATIENCE_S, "the first attempt of each delivery", 0.5)
        waiting = "SELECT 1 FROM audit_event WHERE sent_at IS NULL"
        self.service.until(
            lambda: self.collector.was_away and not self.service.sql(waiting), _PATIENCE_S, "the audit messages", 0.5
        )
        unsaid = [(kind, who) for kind, who in _AUDITED if not self.collector.says(kind, who)]
        self.defects += [f"no audit message of {kind} says of which study {who} had it" for kind, who in unsaid]

    def _orders(self) -> None:
        """Orders by HL7: one of a study that its archive refuses, and what cannot be read."""
        from hl7.client import MLLPClient

        with MLLPClient(LOOPBACK, self.ports["listen"]) as ris:
            for message in _messages():
                ris.send_message(message)

    def _programs(self) -> None:
        """Programs by HTTP, with and without a token, at addresses that are there and at others."""
        from requests import Session

        token = Tokens(self.service.services.settings.api_tokens).create(_PROGRAM, list(Scope), None)
        url = f"http://{LOOPBACK}:{self.ports['api']}"
        with Session() as program:
            program.headers.update(_HEADERS)

            def ask(method: str, path: str, **given: Any) -> Any:
                return self._noted(program.request(method, url + path, timeout=_TIMEOUT_S, **given))

            for authorization in (f"Bearer {MARK}", f"Basic {MARK}", f"Bearer {token}"):
                program.headers["Authorization"] = authorization
                for path in (f"/v1/studies/{MARK}", f"/v1/{MARK}/{NAME}", f"/v1/worklist?cursor={MARK}&site={NAME}"):
                    ask("GET", path)
            for body in ({"text": f"{MARK}accession"}, {"text": [NAME]}, {NAME: BIRTH}):
                ask("POST", "/v1/worklist/search", json=body)
            study = self._jobs(ask)
            self._uploads(ask)
            line = {"study": f"{MARK}accession", "lesion_id": f"{MARK} lesion", "result": NAME, "histology": NAME}
            ask("POST", "/v1/pathology", json={"results": [line, {NAME: BIRTH}]})
            verdict = {"lesion_id": f"{MARK} lesion", "reader": NAME, "remark": NAME, "final_birads": BIRTH}
            ask("POST", f"/v1/studies/{_NOBODY}/verdicts", json={"verdicts": [verdict]})
            ended = "SELECT 1 FROM study WHERE id = %s AND state = 'done'"
            self.service.until(lambda: self.service.sql(ended, study), _PATIENCE_S, "a program's study")
            self._ask_for(study, ask)

    def _jobs(self, ask: Callable[..., Any]) -> str:
        """Send jobs; return the id of the study of one, which is asked for before it has ended."""
        made, _ = full_of_identifiers(_FIRST)
        path = save(self.service.services.settings.storage_root / f"{MARK}-roe-{_FIRST}.dcm", made)
        job = job_of(_FIRST, path.name)
        for body in (json.dumps(job), json.dumps(job | {"patient_name": NAME}), f"{NAME} {BIRTH}"):
            headers = {"Content-Type": "application/json", "Idempotency-Key": f"{MARK}-{len(body)}"}
            ask("POST", "/v1/jobs", data=body, headers=headers)
        study = self.service.sql("SELECT id FROM study WHERE study_instance_uid = %s", job["study_instance_uid"])
        found = str(study[0]["id"])
        self._ask_for(found, ask)
        return found

    def _ask_for(self, study: str, ask: Callable[..., Any]) -> None:
        for where in ("", "/documents/sr", "/documents/hl7", f"/documents/{MARK}"):
            ask("GET", f"/v1/studies/{study}{where}")

    def _uploads(self, ask: Callable[..., Any]) -> None:
        made, _ = full_of_identifiers(_FIRST + 1)
        content = BytesIO()
        made.save_as(content, enforce_file_format=True)
        job = {name: value for name, value in job_of(_FIRST + 1, "").items() if name != "images"}
        for sent in (content.getvalue(), content.getvalue()[:-900], f"{NAME} {BIRTH}".encode()):
            files = {f"{MARK} file": (f"{MARK}-roe.dcm", sent, f"application/{MARK}")}
            ask("POST", "/v1/studies", data={"job": json.dumps(job)}, files=files)
        head = f"--{MARK}\r\nContent-Type: application/dicom\r\nContent-Location: {NAME}\r\n\r\n"
        kind = {"Content-Type": f'multipart/related; type="application/dicom"; boundary={MARK}'}
        for sent in (content.getvalue()[:-900], b"", NAME.encode()):
            ask("POST", "/v1/studies", data=head.encode() + sent + f"\r\n--{MARK}--\r\n".encode(), headers=kind)

    def _readers(self) -> None:
        """Readers and those who would be: links of a RIS, wrong names, searches, a study."""
        from requests import Session

        Accounts(self.service.services.settings.web_accounts).put(_READER, WebRole.ADMINISTRATOR, _PASSWORD)
        url = f"http://{LOOPBACK}:{self.ports['web']}"
        with Session() as browser:
            browser.headers.update(_HEADERS)

            def ask(method: str, path: str, **given: Any) -> Any:
                return self._noted(
                    browser.request(method, url + path, timeout=_TIMEOUT_S, allow_redirects=False, **given)
                )

            def token_at(path: str) -> str:
                found = re.search(r'name="token" value="(\w+)"', ask("GET", path).text)
                return "" if found is None else found[1]

            link = f"/open?accession={MARK}accession"
            for path in (link, f"/{MARK}", f"/search/{MARK}", f"/sign-in/callback?code={MARK}&state={NAME}",
                         f"/sign-in/openid?study={MARK}", f"/sign-in?open={NAME}"):  # fmt: skip
                ask("GET", path)
            for name, password in ((f"{MARK}-roe", NAME), (_READER, NAME), (_READER, _PASSWORD)):
                form = {"name": name, "password": password, "token": token_at("/sign-in?by_account")}
                ask("POST", "/sign-in", data=form)
            found = ask("POST", "/search", data={"text": f"{MARK}accession", "token": token_at("/")})
            ask("GET", found.headers["Location"])
            opened = ask("GET", link).headers["Location"]
            ask("GET", ask("GET", opened).headers["Location"])
            for row in self.service.sql("SELECT id FROM study WHERE is_current"):
                ask("GET", f"/studies/{row['id']}")
            ask("GET", "/refused")

    def _noted(self, answer: Any) -> Any:
        if "Location" in answer.headers:
            self.addresses.append(answer.headers["Location"])
        if answer.status_code in (500, 502):
            self.defects.append(f"{answer.request.method} is answered {answer.status_code}")
        return answer


@contextmanager
def other_systems(service: FaultService) -> Iterator[OtherSystems]:
    """Start what they talk with, and those that the service asks: their every answer is full of identifiers.

    Workers have to be started after it.
    """
    folder = service.services.home.path / "sent"
    folder.mkdir()
    run = service.services.home.folder("run")
    collector = AuditCollector(free_port(run / "audit.port"), service.services.home.log_file("send"))
    with (
        collecting(collector),
        _answering(ThreadingHTTPServer, _Http) as http,
        _answering(ThreadingTCPServer, _Mllp) as mllp,
        managing(UpsManager(free_port(run / "ups.port"))) as manager,
    ):
        told = folder.with_suffix(".toml")
        there = {"http": f"http://{LOOPBACK}:{http}", "host": LOOPBACK, "mllp": mllp, "folder": folder, "root": ROOT}
        told.write_text(DESTINATIONS.format(**there))
        ports = {command: free_port(run / f"{command}.port") for command in ("listen", "api", "metrics")}
        ports["web"] = service.services.web_port or 0
        service.give_workers(
            DLR_LISTEN_PORT=str(ports["listen"]),
            DLR_API_PORT=str(ports["api"]),
            DLR_EXPORTER_PORT=str(ports["metrics"]),
            DLR_METRICS_PORT=str(free_port(run / "worker.port")),
            DLR_DICOMWEB_SERVERS=json.dumps({"archive": {"url": f"{there['http']}/dicom-web"}}),
            DLR_SEND_DESTINATIONS=str(told),
            DLR_AUDIT_COLLECTOR=f"tcp://{LOOPBACK}:{collector.port}",
            DLR_PERFORM_MANAGER=f"{manager.ae_title}@{LOOPBACK}:{manager.port}",
            DLR_PERFORM_STATIONS="^".join(STATION),
            DLR_PERFORM_LOOK_S="0.5",
            DLR_WEB_OIDC_ISSUER=f"{there['http']}/oidc",
            DLR_WEB_OIDC_CLIENT_ID="page",
            DLR_WEB_ROLES="staff=reader",
        )
        Tokens(service.services.settings.api_tokens).create("first", list(Scope), None)
        Accounts(service.services.settings.web_accounts).put("first", WebRole.READER, _PASSWORD)
        for command in COMMANDS:
            service.start_module(command, "worker.cli.main", command)
        for command, port in ports.items():
            service.until(lambda: listens(port), _PATIENCE_S, f"dlr {command}")  # noqa: B023  of this turn
        enabled = "SELECT 1 FROM named_outbox"
        service.until(lambda: len(service.sql(enabled)) == DESTINATIONS.count("kind ="), _PATIENCE_S, "dlr send")
        yield OtherSystems(service, ports, manager, collector)


def _work_item() -> Dataset:
    """A work item on a study that the archive refuses."""
    return work_item(
        (f"{ROOT}.1.{_FIRST + 2}",),
        f"{MARK}-ups",
        SOPInstanceUID=f"{ROOT}.4.1",
        PatientName=NAME,
        PatientID=f"{MARK}id",
        PatientBirthDate=BIRTH,
        ProcedureStepLabel=f"{MARK} label",
        WorklistLabel=NAME,
    )


def _messages() -> Iterator[bytes]:
    def message(kind: str, number: str, *segments: str, charset: str = "UNICODE UTF-8") -> bytes:
        head = f"MSH|^~\\&|{MARK}RIS|{MARK}HOSPITAL|DLR||20261130080000||{kind}|{MARK}-{number}|P|2.5.1||||||{charset}"
        patient = f"PID|1||{MARK}id^^^{MARK}||{NAME}^||{BIRTH}"
        return "".join(f"{segment}\r" for segment in (head, patient, *segments)).encode()

    order = f"OBR|1|{MARK}P|{MARK}F|USB" + "|" * 14 + f"{MARK}accession-hl7" + "|" * 7 + "F"
    yield message("ORU^R01^ORU_R01", "1", order)
    yield message("ORU^R01^ORU_R01", "1", order)
    yield message("ORU^R01^ORU_R01", "2", f"OBR|1|{MARK}P" + "|" * 23 + "F")
    yield message("ORU^R01^ORU_R01", "3", order, charset=MARK)
    yield message("ADT^A01", "4")
    yield f"{NAME} {BIRTH}".encode()


@contextmanager
def _answering(kind: Callable[..., Any], handler: type) -> Iterator[int]:
    """Run a server in a thread; give its port."""
    with kind((LOOPBACK, 0), handler) as server:
        server.daemon_threads = True
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            serving.join()


class _Http(BaseHTTPRequestHandler):
    """Refuses whatever is asked, in HTML."""

    def do_GET(self) -> None:
        self._refuse()

    def do_POST(self) -> None:
        self._refuse()

    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = f"<html><title>{NAME}</title>no study {MARK}accession of {NAME}, {BIRTH}</html>".encode()
        self.send_response(400, f"no {MARK}")
        for name, value in (("Content-Type", "text/html"), ("Content-Length", str(len(body))), ("X-Patient", NAME)):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


class _Mllp(StreamRequestHandler):
    """Rejects each message, and says whose it is."""

    def handle(self) -> None:
        content = b""
        while part := self.request.recv(1 << 16):
            content += part
            while b"\x1c\r" in content:
                frame, _, content = content.partition(b"\x1c\r")
                number = frame.split(b"|")[9].decode()
                segments = ("MSH|^~\\&|RIS|H|DLR||20261130||ACK|1|P|2.5.1", f"MSA|AR|{number}|no {NAME} {BIRTH}",
                            f"ERR||PID^1|101^{NAME}|E||||{NAME}, {MARK}accession")  # fmt: skip
                self.wfile.write(b"\x0b" + "".join(f"{one}\r" for one in segments).encode() + b"\x1c\r")
