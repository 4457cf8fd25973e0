"""From a file to a PACS, a worklist and a webhook: what the models said arrives."""

from pathlib import Path

from tests.end_to_end.conftest import Service
from tests.worker.imaging.dicom_files import STUDY_UID, picture, write
from tests.worker.sending.hospital import Archive, Receiver, receiving, running
from worker.network.port import free_port


def test_a_study_that_is_scored_is_stored_listed_and_told_of(service: Service, tmp_path: Path) -> None:
    uid = f"{STUDY_UID}.91"
    named = {"StudyInstanceUID": uid, "SeriesInstanceUID": f"{uid}.0", "SOPInstanceUID": f"{uid}.1"}
    image = write(tmp_path / "a.dcm", picture(), **named)
    (tmp_path / "lesions.json").write_text('[{"birads": "4A", "roi": {"x": 3, "y": 4, "width": 20, "height": 10}}]')
    port = free_port(tmp_path / "port")
    with running(Archive(port)) as hospital, receiving(Receiver()) as receiver:
        destinations = {
            "DLR_SEND_PACS": f"PACS@127.0.0.1:{port}",
            "DLR_SEND_UPS": f"PACS@127.0.0.1:{port}",
            "DLR_SEND_WEBHOOK_URL": receiver.url,
        }
        # Switched on from now, and of what others have just ended some may be refused.
        service.dlr("send", "--once", **destinations)
        submitted = service.dlr("submit", image, "--lesions", tmp_path / "lesions.json", "--age", "47", "--wait")
        assert submitted.returncode == 0, submitted.stderr
        sent = service.dlr("send", "--once", **destinations)
    study = service.ended(uid)
    told = next(body for body in receiver.bodies if body["study_id"] == str(study.study_id))
    (row,) = service.sql("SELECT worklist_class FROM worklist WHERE study_instance_uid = %s", uid)
    assert (told["state"], told["worklist_class"]) == ("done", row["worklist_class"])
    assert len(_of(uid, hospital)) == 2, (sent.stdout, sent.stderr)
    report = next(one for one in _of(uid, hospital) if one.get("Modality") == "SR")
    item = next(one for one in _of(uid, hospital) if "ProcedureStepState" in one)
    assert report.SOPInstanceUID == item.InputInformationSequence[-1].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert "nobody" not in service.dlr("doctor").stdout


def _of(uid: str, hospital: Archive) -> list:  # type: ignore[type-arg]
    """What the hospital has of this test's study; the service has others."""
    return [one for one in list(hospital.kept.values()) if one.StudyInstanceUID == uid]
