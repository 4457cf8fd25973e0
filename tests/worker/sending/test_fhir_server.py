"""FHIR transactions, to a small server of our own with R4's conditions and OAuth's client credentials.

No FHIR server is among Debian's packages; what is sent is checked by fhir.resources as well.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote

import pytest
from fhir.resources.R4B.bundle import Bundle
from sqlalchemy.orm import Session, sessionmaker

from db.writes import ledger
from tests.db.samples import claimed, finish_one
from tests.db.samples import result as result_of
from tests.db.samples import scored as lesion_scored
from tests.worker.reporting.samples import in_several_images, mixed, source_of
from tests.worker.sending.hospital import SENT, deliveries, end_study, settle, unwritten
from worker.errors import DlrError, SetupRefused, Unavailable
from worker.reporting.fhir_transaction import fhir_transaction
from worker.sending.fhir_server import check_transaction
from worker.sending.from_settings import routes
from worker.sending.http_server import Answer
from worker.sending.sender import Sender
from worker.settings import Settings

Sessions = sessionmaker[Session]
PATIENTS = "urn:oid:1.2.276.0.76.4"


class Failed(Exception):
    """A transaction of which nothing is kept."""


@dataclass
class FhirPeer:
    """Keeps resources, and creates or updates them on conditions (R4, 3.1.0.8.1 and 3.1.0.4.3)."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    bundles: list[dict[str, Any]] = field(default_factory=list)
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    token: str | None = None
    tokens_given: int = 0
    url: str = ""

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.kept if one["resourceType"] == kind]

    def matching(self, kind: str, query: str) -> list[int]:
        system, _, value = parse_qs(query)["identifier"][0].partition("|")
        return [
            place
            for place, one in enumerate(self.kept)
            if one["resourceType"] == kind
            and any((two.get("system"), two.get("value")) == (system, value) for two in one["identifier"])
        ]

    def transact(self, bundle: dict[str, Any]) -> list[str]:
        statuses, before = [], list(self.kept)
        try:
            for entry in bundle["entry"]:
                statuses.append(self._apply(entry["request"], entry["resource"]))
        except Failed:
            self.kept = before
            raise
        return statuses

    def _apply(self, request: dict[str, str], resource: dict[str, Any]) -> str:
        kind, _, query = request["url"].partition("?")
        found = self.matching(kind, request.get("ifNoneExist") or query)
        if len(found) > 1:
            raise Failed
        if not found:
            self.kept.append(resource)
            return "201 Created"
        if request["method"] == "PUT":
            self.kept[found[0]] = resource
        return "200 OK"


@contextmanager
def serving(peer: FhirPeer) -> Iterator[FhirPeer]:  # noqa: C901  a handler is a class within
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            rest = [{"mode": "server", "interaction": [{"code": "transaction"}]}]
            self._answer(200, {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/token":
                self._give_token(body)
            elif peer.token is not None and self.headers["Authorization"] != f"Bearer {peer.token}":
                self._answer(401, {"resourceType": "OperationOutcome", "issue": [{"code": "login"}]})
            elif peer.status is not None:
                self._send(peer.status, peer.body)
            else:
                bundle = json.loads(body)
                peer.bundles.append(bundle)
                try:
                    entries = [{"response": {"status": status}} for status in peer.transact(bundle)]
                except Failed:
                    self._answer(412, {"resourceType": "OperationOutcome", "issue": [{"code": "multiple-matches"}]})
                    return
                self._answer(200, {"resourceType": "Bundle", "type": "transaction-response", "entry": entries})

        def _give_token(self, body: bytes) -> None:
            asked = parse_qs(body.decode())
            client = b64decode(self.headers["Authorization"].removeprefix("Basic ")).decode()
            if asked["grant_type"] != ["client_credentials"] or unquote(client) != "dlr:the client's secret":
                self._answer(401, {"error": "invalid_client"})
                return
            peer.tokens_given += 1
            self._answer(200, {"access_token": peer.token, "token_type": "Bearer", "expires_in": 3600})

        def _answer(self, status: int, content: Any) -> None:
            self._send(status, json.dumps(content).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            for name, value in {**peer.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    peer.url = f"http://127.0.0.1:{listening.server_address[1]}"
    thread = Thread(target=listening.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield peer
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


Made = Callable[..., Sender]


@pytest.fixture
def sender(sessions: Sessions, root: Path, tmp_path: Path) -> Made:
    def made(url: str, more: str = "") -> Sender:
        file = tmp_path / "destinations.toml"
        file.write_text(
            f'[destination.ehr]\nkind = "fhir"\nurl = "{url}"\npatient_system = "{PATIENTS}"\n'
            f"results = {{demo = true}}\n{more}"
        )
        (route,) = routes(Settings(storage_root=root, send_destinations=file))
        sender = Sender(route.destination, sessions, 0.1, 600, lambda work: work(), terms=route.terms)
        sender.switch_on()
        return sender

    return made


@pytest.mark.parametrize("sample", [mixed, in_several_images])
def test_a_transaction_is_valid_and_names_each_resource_once(tmp_path: Path, sample: Callable[[Path], Any]) -> None:
    result = sample(tmp_path)
    text = fhir_transaction(result, source_of(result, tmp_path), PATIENTS)
    bundle = Bundle.model_validate_json(text)
    assert bundle.type == "transaction"
    entries = json.loads(text)["entry"]
    kinds = [entry["resource"]["resourceType"] for entry in entries]
    assert {"DiagnosticReport", "Observation", "ImagingStudy", "Device", "Patient"} == set(kinds)
    conditions = [entry["request"].get("ifNoneExist") or entry["request"]["url"] for entry in entries]
    assert len(set(zip(kinds, conditions, strict=True))) == len(entries)
    names = {entry["fullUrl"] for entry in entries}
    assert len(names) == len(entries)
    referred = {part for part in text.split('"') if part.startswith("urn:uuid:")}
    assert referred == names, "nothing is referred to that is not there"


def test_patient_and_study_are_created_where_they_are_missing_and_what_is_ours_is_updated(tmp_path: Path) -> None:
    result = mixed(tmp_path)
    entries = json.loads(fhir_transaction(result, source_of(result, tmp_path), PATIENTS))["entry"]
    asked = {(entry["resource"]["resourceType"], entry["request"]["method"]) for entry in entries}
    assert asked == {
        ("Patient", "POST"), ("ImagingStudy", "POST"), ("Device", "POST"), ("Device", "PUT"),
        ("Observation", "PUT"), ("DiagnosticReport", "PUT"),
    }  # fmt: skip
    patient = next(entry for entry in entries if entry["resource"]["resourceType"] == "Patient")
    assert patient["request"]["ifNoneExist"] == f"identifier={PATIENTS}%7CP-1"


@pytest.mark.slow
def test_a_result_twice_and_its_successor_are_one_report_and_the_hospital_s_patient_stays_as_he_was(
    sender: Made, sessions: Sessions, root: Path
) -> None:
    known = {"resourceType": "Patient", "identifier": [{"system": PATIENTS, "value": "P-1"}], "active": True}
    with serving(FhirPeer([known])) as peer:
        sending = sender(peer.url)
        study_id = end_study(sessions, root, fails=True)
        assert sending.work().sent == 1
        unwritten(sessions)
        assert sending.work().sent == 1
        assert peer.bundles[0] == peer.bundles[1]
        first = [peer.of(kind) for kind in ("DiagnosticReport", "ImagingStudy")]
        with sessions.begin() as session:
            ledger.requeue(session, study_id)
            finish_one(session, result_of(claimed(session, study_id), lesion_scored(lh=0.1, bm=0.1)))
        assert sending.work().sent == 1
    kinds = ("DiagnosticReport", "Observation", "ImagingStudy", "Patient", "Device")
    assert [len(peer.of(kind)) for kind in kinds] == [1, 2, 1, 1, 3]
    assert peer.of("Patient") == [known]
    assert peer.of("DiagnosticReport") != first[0]
    assert [row["state"] for row in deliveries(sessions)] == [SENT, SENT]


@pytest.mark.slow
def test_a_token_is_asked_for_once_and_again_where_it_no_longer_counts(
    sender: Made, sessions: Sessions, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("the client's secret")
    (tmp_path / "other").write_text("another secret")
    with serving(FhirPeer(token="first")) as peer:
        oauth = 'oauth = {{token_url = "{}/token", client_id = "dlr", client_secret_file = "{}"}}\n'
        stranger = sender(peer.url, oauth.format(peer.url, "other"))
        end_study(sessions, root, 1, fails=True)
        away = stranger.work().away
        assert away is not None
        assert "gives no token" in away.reason
        settle(sessions)
        sending = sender(peer.url, oauth.format(peer.url, "secret"))
        assert sending.destination.test() == "FHIR 4.0.1, takes transactions"
        assert sending.work().sent == 1
        assert peer.tokens_given == 1
        peer.token = "second"
        end_study(sessions, root, 2, fails=True)
        assert sending.work().away is not None
        settle(sessions)
        assert sending.work().sent == 1
        assert peer.tokens_given == 2


OUTCOME = {
    "resourceType": "OperationOutcome",
    "issue": [{"code": "invalid", "diagnostics": "Phantom^One"}, {"code": "X Y"}],
}
DONE = {"resourceType": "Bundle", "entry": [{"response": {"status": "201 Created"}}, {"response": {"status": "304"}}]}
HALF = {"resourceType": "Bundle", "entry": [{"response": {"status": "400 Bad Request"}}]}


@pytest.mark.parametrize(
    ("status", "body", "becomes", "said"),
    [
        (200, DONE, None, ""),
        (200, HALF, "destination_refused", "a part of the transaction failed"),
        (200, "<html>Sign in</html>", "destination_unavailable", "no FHIR Bundle"),
        (200, OUTCOME, "destination_unavailable", "no FHIR Bundle"),
        (400, OUTCOME, "destination_refused", "the server answers HTTP 400 (invalid)"),
        (401, "", "destination_unavailable", "HTTP 401"),
        (404, OUTCOME, "destination_unavailable", "HTTP 404"),
        (409, OUTCOME, "destination_deferred", "the server answers HTTP 409 (invalid)"),
        (412, OUTCOME, "destination_refused", "several resources"),
        (422, "[1]", "destination_refused", "HTTP 422"),
        (429, "", "destination_unavailable", "HTTP 429"),
        (503, "<html>", "destination_unavailable", "HTTP 503"),
    ],
)
def test_an_answer_is_done_for_now_or_for_good_and_repeats_nobody_s_name(
    status: int, body: Any, becomes: str | None, said: str
) -> None:
    answer = Answer(status, {}, (body if isinstance(body, str) else json.dumps(body)).encode())
    if becomes is None:
        check_transaction(answer)
        return
    with pytest.raises(DlrError) as raised:
        check_transaction(answer)
    assert raised.value.code == becomes
    assert said in raised.value.reason
    assert "Phantom" not in raised.value.reason


@pytest.mark.slow
def test_two_patients_of_one_identifier_are_refused_and_a_server_that_is_busy_is_left_alone(
    sender: Made, sessions: Sessions, root: Path
) -> None:
    twice = {"resourceType": "Patient", "identifier": [{"system": PATIENTS, "value": "P-1"}]}
    with serving(FhirPeer([twice, {**twice}])) as peer:
        sending = sender(peer.url)
        end_study(sessions, root, 1, fails=True)
        assert sending.work().failed == 1
        assert peer.kept == [twice, twice], "all of it or nothing"
        peer.status, peer.headers = 429, {"Retry-After": "500"}
        end_study(sessions, root, 2, fails=True)
        assert sending.work().away is not None
    row = deliveries(sessions)[1]
    assert (row["next_at"] - row["created_at"]).total_seconds() > 400


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('url = "http://ehr.hospital.example/fhir"\n', "plain_http = true"),
        ('url = "https://h/"\ntoken_file = "a"\nuser = "b"\npassword_file = "c"\n', "or none of them"),
        ('url = "https://h/"\nuser = "b"\n', "or none of them"),
        ('url = "https://h/"\ntoken_file = "none"\n', "token_file: the file cannot be read"),
        (
            'url = "https://h/"\noauth = {token_url = "http://t/", client_id = "a", client_secret_file = "b"}\n',
            "oauth.token_url has to be https",
        ),
    ],
)
def test_ways_to_sign_in_that_do_not_fit_are_named(tmp_path: Path, more: str, said: str) -> None:
    file = tmp_path / "destinations.toml"
    file.write_text(f'[destination.ehr]\nkind = "fhir"\npatient_system = "{PATIENTS}"\n{more}')
    with pytest.raises(SetupRefused) as refused:
        routes(Settings(send_destinations=file))
    assert said in refused.value.reason


@pytest.mark.slow
def test_what_answers_no_capability_statement_is_no_fhir_server(sender: Made, tmp_path: Path) -> None:
    from tests.worker.sending.hospital import Receiver, receiving

    with receiving(Receiver()) as receiver, pytest.raises(Unavailable):
        sender(receiver.url).destination.test()
