"""An order by MLLP, and nothing else: its study is fetched from Orthanc with its report, scored, on the worklist, sent
to everybody who waits for it, and opened from a link of the RIS."""

import json
import re
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from hl7.client import MLLPClient
from oidc_provider_mock import User, run_server_in_thread
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.faults.service import FaultService, fault_service
from tests.pacs_servers import DICOMWEB_PLUGIN, ORTHANC, PacsPeer, needs, orthanc
from tests.waiting import until
from tests.worker.intake.test_fetching import STUDY, study_files
from tests.worker.orders.messages import oru
from tests.worker.sending.test_fhir_server import PATIENTS, FhirPeer, serving
from tests.worker.sending.test_mllp import Ris, hearing
from worker.broker.connections import connect
from worker.clinical.categories import Priority
from worker.intake.study_requests import StudyRequests
from worker.network.port import free_port

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib")]

ANNA = User(sub="anna", claims={"preferred_username": "Anna", "groups": ["radiology"]})


def test_one_accession_number_by_mllp_is_a_study_that_everybody_has_though_its_pacs_was_away_and_its_worker_killed(
    tmp_path: Path,
) -> None:
    needs(ORTHANC, DICOMWEB_PLUGIN)
    files, _ = study_files(tmp_path / "files", ExplicitVRLittleEndian)
    pacs_port, port, web_port = (free_port(tmp_path / name) for name in ("pacs", "port", "web"))
    pacs = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": pacs_port}
    (tmp_path / "orthanc").mkdir()
    web_of_pacs = free_port(tmp_path / "orthanc" / "http")
    with (
        fault_service(print) as service,
        hearing(Ris()) as ris_receiver,
        serving(FhirPeer()) as ehr,
        run_server_in_thread(user_claims=[ANNA]) as sso,
    ):
        destinations = tmp_path / "destinations.toml"
        destinations.write_text(
            f'[destination.archive]\nkind = "stow"\nurl = "http://127.0.0.1:{web_of_pacs}/dicom-web"\n'
            f'[destination.ris]\nkind = "mllp"\nhost = "localhost"\nport = {ris_receiver.port}\n'
            'sending_facility = "RADIOLOGY"\nreceiving_application = "RIS"\nreceiving_facility = "HOSPITAL"\n'
            f'[destination.ehr]\nkind = "fhir"\nurl = "{ehr.url}"\npatient_system = "{PATIENTS}"\n'
            + "".join(f"[destination.{name}.results]\ndemo = true\n" for name in ("archive", "ris", "ehr"))
        )
        service.give_workers(DLR_PACS_SERVERS=json.dumps({"pacs": pacs}), DLR_LISTEN_PORT=str(port))
        service.start_workers()
        service.start_module("send", "worker.cli.main", "send", DLR_SEND_DESTINATIONS=str(destinations))
        service.start_module(
            "web",
            "worker.cli.main",
            "web",
            DLR_WEB_PORT=str(web_port),
            DLR_WEB_OIDC_ISSUER=f"http://localhost:{sso.server_port}",
            DLR_WEB_OIDC_CLIENT_ID="dlr-web",
            DLR_WEB_OIDC_CLIENT_SECRET="a secret of the client",
            DLR_WEB_ROLES="radiology=radiologist",
        )
        service.start_module("listen", "worker.cli.main", "listen")
        log = service.services.home.log_file("listen")
        until(lambda: "listening at" in log.read_text(), 60)
        with MLLPClient("127.0.0.1", port) as ris:
            assert b"MSA|AA|" in ris.send_message(oru("A-77", priority="^^^^^S"))
        of_intake = service.services.home.log_file("intake")
        until(lambda: "cannot be fetched for now: pacs_unavailable" in of_intake.read_text(), 60)
        service.kill_workers(["intake"])
        with orthanc(tmp_path / "orthanc", port=pacs_port) as peer:
            assert peer.http_port == web_of_pacs
            peer.store(*files)
            service.start_worker("intake")
            done = "SELECT * FROM worklist WHERE accession_number = 'A-77' AND state = 'done'"
            until(lambda: service.sql(done), 120)
            [row] = service.sql(done)
            of_send = service.services.home.log_file("send")
            until(lambda: len(reports(peer)) == 2 and ris_receiver.heard and ehr.bundles, 60, said=of_send.read_text)
            assert asked_over_http(service, "A-77") == row["study_id"]
            missing = asked_over_http(service, "A-78")
        assert (row["study_instance_uid"], row["priority"], row["lesions"]) == (STUDY, "stat", 2)
        assert service.sql("SELECT count(*) FROM study WHERE study_instance_uid IS NOT NULL")[0]["count"] == 1
        assert service.sql("SELECT error_code, accession_number FROM failed_study WHERE study_id = %s", missing) == [
            {"error_code": "study_not_on_server", "accession_number": "A-78"}
        ]
        [message] = ris_receiver.heard
        assert str(message.segment("MSH")[9]) == "ORU^R01^ORU_R01"
        assert "A-77" in str(message.segment("OBR"))
        assert len(ehr.of("DiagnosticReport")) == 1
        assert STUDY in json.dumps(ehr.of("ImagingStudy"))
        opened = opened_by_link(f"http://127.0.0.1:{web_port}", "A-77")
        assert f"/studies/{row['study_id']}" in opened.url
        assert "A-77" in opened.text
        assert "Anna" in opened.text
        logs = (service.services.home.log_file(name) for name in ("listen", "intake", "send", "web"))
        assert "A-77" not in "".join(file.read_text() for file in logs)


def asked_over_http(service: FaultService, accession_number: str) -> str:
    """Ask for a study as `dlr api` does, and return what it is on record as."""
    settings = service.services.settings
    job = {"schema_version": 1, "accession_number": accession_number, "images": {"kind": "pacs", "server": "pacs"}}
    with connect(settings.require_redis_url()) as client:
        of_api = StudyRequests(client, settings.redis_key_prefix)
        request_id = of_api.put(job, Priority.ROUTINE)
        return str(until(lambda: of_api.study_of(request_id), 60))


def reports(peer: PacsPeer) -> list[object]:
    """The series of SR that the PACS has of the study: its own, and what came back."""
    address = f"{peer.dicomweb_url}/studies/{STUDY}/series"
    found: list[object] = requests.get(address, params={"Modality": "SR"}, timeout=10).json()
    return found


def opened_by_link(page: str, accession_number: str) -> requests.Response:
    """Follow a link of the RIS: over the hospital's sign-in service to what it leads to."""
    with requests.Session() as browser:
        answer = browser.get(f"{page}/open", params={"accession": accession_number}, timeout=20)
        answer = browser.get(onwards(answer), timeout=20)
        assert not answer.url.startswith(page), "nobody is signed in yet"
        answer = browser.post(answer.url, data={"sub": ANNA.sub}, timeout=20)
        answer = browser.get(onwards(answer), timeout=20)
        while re.search('http-equiv="refresh"', answer.text):
            answer = browser.get(onwards(answer), timeout=20)
        assert answer.status_code == 200
        return answer


def onwards(answer: requests.Response) -> str:
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', answer.text)
    assert found, answer.text
    return urljoin(answer.url, found[1])
