"""`dlr export` as a user types it, on a real database and real files."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import hl7
import pytest
from fhir.resources.R4B.bundle import Bundle
from highdicom.sr import Comprehensive3DSR
from pydicom import dcmread

from db.session import make_engine, session_factory
from db.writes import ledger
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, lesion, refused, register, scored, study
from tests.waiting import patience
from tests.worker.intake.reports import lesions_of
from tests.worker.reporting.samples import STUDY_UID, write_image


@dataclass(frozen=True)
class Site:
    """An installation with one study that ended `partial`, of three lesions on two images."""

    database: Database
    storage: Path
    study_id: str

    def dlr(self, *arguments: str | Path) -> "subprocess.CompletedProcess[bytes]":
        return command_line.dlr_bytes(
            *arguments,
            DLR_DATABASE_URL=self.database.writer_url,
            DLR_STORAGE_ROOT=self.storage,
            DLR_DECODERS=1,
        )


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    storage = tmp_path / "storage"
    storage.mkdir()
    one, many = write_image(storage / "a.dcm"), write_image(storage / "b.dcm", frames=4)
    lesions = (
        lesion("L1", sop_instance_uid=one),
        lesion("L2", "5", sop_instance_uid=many, frame=3),
        lesion("L3", "4B", sop_instance_uid=many, frame=2),
    )
    job = {"images": {"kind": "files", "paths": ["a.dcm", "b.dcm"]}}
    with session_factory(make_engine(database.writer_url)).begin() as session:
        register(session)
        recorded = ended(
            session,
            study(STUDY_UID, lesions=lesions, job=job),
            scored("L1", lh=0.9, bm=0.1 + 0.2),
            scored("L2", lh=0.1, bm=0.1, birads="5"),
            refused("L3", "pixels_uniform"),
        )
    return Site(database, storage, str(recorded.study_id))


def test_a_dicom_sr_is_written_to_a_file(site: Site, tmp_path: Path) -> None:
    done = site.dlr("export", STUDY_UID, "--output", tmp_path / "out" / "report.dcm")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "out" / "report.dcm"
    first, second, third = Comprehensive3DSR.from_dataset(dcmread(path)).content.get_planar_roi_measurement_groups()
    numbers = {one.name.value: one.value for one in first.get_measurements()}
    assert numbers["P_MALIGNANT"] == 0.1 + 0.2
    read = lesions_of(path)
    assert [(one["lesion_id"], one["birads"], one["frame"]) for one in read] == [
        ("L1", "4A", None),
        ("L2", "5", 3),
        ("L3", "4B", 2),
    ]
    assert (second.tracking_identifier, third.tracking_identifier) == ("L2", "L3")
    assert path.stat().st_mode & 0o077 == 0
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["report.dcm"]


def test_text_goes_to_standard_output(site: Site) -> None:
    message = site.dlr("export", site.study_id, "--format", "hl7")
    assert message.returncode == 0, message.stderr
    assert str(hl7.parse(message.stdout.decode()).segment("PID")[5]) == "Phantom^One"
    bundle = site.dlr("export", "A1", "--format", "fhir")
    assert Bundle.model_validate_json(bundle.stdout).entry[0].resource.get_resource_type() == "DiagnosticReport"
    assert json.loads(bundle.stdout)["type"] == "collection"


@pytest.mark.slow
def test_pictures_and_several_studies_go_to_a_folder_under_names_that_name_nobody(site: Site, tmp_path: Path) -> None:
    done = site.dlr("export", site.study_id, "--format", "sc", "--grad-cam", "--output", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    names = [f"{site.study_id}.{place}.sc.dcm" for place in (1, 2)]
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == names
    assert dcmread(BytesIO((tmp_path / "out" / names[0]).read_bytes())).PatientID == "P-1"
    with session_factory(make_engine(site.database.writer_url)).begin() as session:
        job = {"images": {"kind": "files", "paths": ["c.dcm"]}}
        sop = write_image(site.storage / "c.dcm", study_instance_uid="1.2.9")
        other = study("1.2.9", "other", lesions=(lesion(sop_instance_uid=sop),), job=job)
        recorded = ended(session, other, scored())
    done = site.dlr("export", "A1", "--output", tmp_path / "both")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (tmp_path / "both").iterdir()} == {
        f"{one}.sr.dcm" for one in (site.study_id, recorded.study_id)
    }


@pytest.mark.parametrize("kind", ["hl7", "fhir", "sr", "sc"])
def test_an_output_is_one_document_or_asks_which_of_several_studies_is_meant(
    site: Site, tmp_path: Path, kind: str
) -> None:
    with session_factory(make_engine(site.database.writer_url)).begin() as session:
        sop = write_image(site.storage / "c.dcm", study_instance_uid="1.2.9")
        job = {"images": {"kind": "files", "paths": ["c.dcm"]}}
        other = ended(session, study("1.2.9", "other", lesions=(lesion(sop_instance_uid=sop),), job=job), scored())
    ids = {site.study_id, str(other.study_id)}
    if kind in ("hl7", "fhir"):
        done = site.dlr("export", "A1", "--format", kind)
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"study_ambiguous" in done.stderr
        assert all(one in done.stderr.decode().replace("\n", "") for one in ids)
        for one in ids:
            assert site.dlr("export", one, "--format", kind).returncode == 0
    done = site.dlr("export", "A1", "--format", kind, "--output", tmp_path / "both")
    assert done.returncode == 0, done.stderr
    written = list((tmp_path / "both").iterdir())
    assert {file.name.partition(".")[0] for file in written} == ids
    for file in written:
        if kind == "fhir":
            assert json.loads(file.read_bytes())["resourceType"] == "Bundle"
        elif kind == "hl7":
            assert file.read_bytes().count(b"MSH|") == 1
        else:
            assert dcmread(file).PatientID == "P-1"


def test_several_studies_are_one_table_and_one_document(site: Site) -> None:
    with session_factory(make_engine(site.database.writer_url)).begin() as session:
        ended(session, study("1.2.9", "other"), scored())
    rows = site.dlr("show", "A1", "--format", "csv").stdout.decode().splitlines()
    assert [row.split(",")[0] for row in rows] == ["lesion_id", "L1", "L1", "L2", "L3"]
    assert {row.split(",")[-1] for row in rows[2:]} == {site.study_id}
    assert len(json.loads(site.dlr("show", "A1", "--format", "json").stdout)) == 2


def test_a_pipe_is_written_to_and_a_link_stays_a_link(site: Site, tmp_path: Path) -> None:
    text = site.dlr("export", site.study_id, "-f", "hl7").stdout
    os.mkfifo(pipe := tmp_path / "pipe")
    with subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE) as reader:
        assert site.dlr("export", site.study_id, "-f", "hl7", "-o", pipe).returncode == 0
        assert reader.communicate(timeout=patience(30))[0] == text
    assert pipe.is_fifo()
    (link := tmp_path / "link").symlink_to(tmp_path / "target")
    assert site.dlr("export", site.study_id, "-f", "hl7", "-o", link).returncode == 0
    assert (link.is_symlink(), (tmp_path / "target").read_bytes()) == (True, text)


def test_an_output_that_is_full_is_one_sentence(site: Site) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "worker.cli.main", "export", site.study_id, "-f", "fhir"],
            env={**os.environ, "DLR_DATABASE_URL": site.database.writer_url, "DLR_STORAGE_ROOT": str(site.storage)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=patience(60),
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.startswith(
        b"error: setting_invalid: standard output cannot be written (No space left on device)"
    )
    assert b"Traceback" not in done.stderr


def test_what_can_not_be_exported_is_one_sentence_and_an_exit_status(site: Site, tmp_path: Path) -> None:
    with session_factory(make_engine(site.database.writer_url)).begin() as session:
        waiting = ledger.record_study(session, study("1.2.8", "waiting", accession_number="A8"))
    for arguments, status, said in (
        (("none",), 1, "study_not_found"),
        ((waiting.study_id,), 1, "study_not_ended"),
        (("A8", "--format", "hl7"), 1, "study_not_ended"),
        ((site.study_id, "--output", site.storage / "a.dcm" / "x"), 1, "--output"),
        ((site.study_id, "--format", "rtf"), 2, "rtf"),
    ):
        out = () if "--output" in arguments else ("--output", tmp_path / "out")
        done = site.dlr("export", *map(str, arguments), *out)
        assert (done.returncode, said in done.stderr.decode()) == (status, True), done.stderr
        assert b"Traceback" not in done.stderr
    nowhere = site.dlr("export", site.study_id)
    assert (nowhere.returncode, b"--output" in nowhere.stderr) == (2, True)


def test_without_its_files_nothing_can_be_said_of_a_patient(site: Site, tmp_path: Path) -> None:
    (site.storage / "a.dcm").unlink()
    assert site.dlr("export", site.study_id, "--output", tmp_path / "one.dcm").returncode == 0
    (site.storage / "b.dcm").unlink()
    done = site.dlr("export", site.study_id, "--output", tmp_path / "two.dcm")
    assert (done.returncode, b"file_not_found" in done.stderr) == (1, True)
    assert not (tmp_path / "two.dcm").exists()


def test_a_header_that_does_not_conform_is_never_quoted(site: Site) -> None:
    image = dcmread(site.storage / "a.dcm")
    image.StudyDate, image.PatientName, image.PatientID = "Miller", "Miller^" * 60, "Miller" * 40
    image.save_as(site.storage / "a.dcm")
    (site.storage / "b.dcm").unlink()
    for kind in ("sr", "hl7", "fhir"):
        done = site.dlr("export", site.study_id, "--format", kind, "--output", site.storage / "out")
        assert done.returncode == 0, done.stderr
        assert b"Miller" not in done.stderr + done.stdout
