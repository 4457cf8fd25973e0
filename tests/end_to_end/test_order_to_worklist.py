"""An order by MLLP, and nothing else: its study is fetched from Orthanc with its report, scored and on the worklist."""

import json
from pathlib import Path

import pytest
from hl7.client import MLLPClient
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.faults.service import fault_service
from tests.pacs_servers import DICOMWEB_PLUGIN, ORTHANC, needs, orthanc
from tests.waiting import until
from tests.worker.intake.test_fetching import STUDY, study_files
from tests.worker.orders.messages import oru
from worker.network.port import free_port

pytestmark = pytest.mark.slow


def test_one_accession_number_by_mllp_is_a_scored_study_though_its_pacs_was_away_and_its_worker_killed(
    tmp_path: Path,
) -> None:
    needs(ORTHANC, DICOMWEB_PLUGIN)
    files, _ = study_files(tmp_path / "files", ExplicitVRLittleEndian)
    pacs_port, port = free_port(tmp_path / "pacs"), free_port(tmp_path / "port")
    pacs = {"ae_title": "ORTHANC", "host": "127.0.0.1", "port": pacs_port}
    with fault_service(print) as service:
        service.give_workers(DLR_PACS_SERVERS=json.dumps({"pacs": pacs}), DLR_LISTEN_PORT=str(port))
        service.start_workers()
        service.start_module("listen", "worker.cli.main", "listen")
        log = service.services.home.log_file("listen")
        until(lambda: "listening at" in log.read_text(), 60)
        with MLLPClient("127.0.0.1", port) as ris:
            assert b"MSA|AA|" in ris.send_message(oru("A-77", priority="^^^^^S"))
        of_intake = service.services.home.log_file("intake")
        until(lambda: "cannot be fetched for now: pacs_unavailable" in of_intake.read_text(), 60)
        service.kill_workers(["intake"])
        with orthanc(tmp_path / "orthanc", port=pacs_port) as peer:
            peer.store(*files)
            service.start_worker("intake")
            done = "SELECT * FROM worklist WHERE accession_number = 'A-77' AND state = 'done'"
            until(lambda: service.sql(done), 120)
            [row] = service.sql(done)
        assert (row["study_instance_uid"], row["priority"], row["lesions"]) == (STUDY, "stat", 2)
        assert service.sql("SELECT count(*) FROM study")[0]["count"] == 1
        assert "A-77" not in "".join(file.read_text() for file in (log, of_intake))
