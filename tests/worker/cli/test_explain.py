"""`dlr explain` as a user types it: what it refuses before a model is looked at. The rest: tests/end_to_end."""

import subprocess
from pathlib import Path

import pytest

from db.session import make_engine, session_factory
from db.writes import ledger
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, lesion, refused, register, scored, study
from tests.worker.reporting.samples import STUDY_UID, write_image
from worker.cli.explain import NOT_COMPARED, WHOLE_IMAGE, _notes
from worker.contract import parse_job
from worker.intake.content_digest import content_digest


def dlr(
    database: Database, storage: Path, *arguments: object, **variables: object
) -> "subprocess.CompletedProcess[str]":
    servers = {"DLR_DATABASE_URL": database.writer_url, "DLR_STORAGE_ROOT": storage}
    return command_line.dlr("explain", *arguments, **servers, **variables)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


@pytest.fixture
def study_id(database: Database, storage: Path) -> str:
    """A study that ended `partial`: L1 was scored, by versions that no registry has, and L2 was not."""
    sop = write_image(storage / "a.dcm")
    marked = {"sop_instance_uid": sop, "frame": 1, "birads": "4A"}
    job = parse_job(
        {
            "schema_version": 1,
            "study_instance_uid": STUDY_UID,
            "images": {"kind": "files", "paths": ["a.dcm"]},
            "lesions": [{"lesion_id": name, **marked} for name in ("L1", "L2")],
        }
    )
    lesions = (lesion("L1", sop_instance_uid=sop), lesion("L2", sop_instance_uid=sop))
    record = study(STUDY_UID, lesions=lesions, job=job.model_dump(mode="json"),
                   content_digest=content_digest(job, storage))  # fmt: skip
    with session_factory(make_engine(database.writer_url)).begin() as session:
        register(session)
        ended(session, record, scored("L1"), refused("L2", "pixels_uniform"))
        ledger.record_study(session, study("1.2.8", "waiting", accession_number="A8"))
        return str(ledger.record_study(session, record).study_id)


def test_it_is_said_what_nobody_can_compare_and_what_may_have_a_name_on_it() -> None:
    sound = {"file_unchanged": True, "region_source": "job"}
    assert list(_notes([sound])) == list(_notes([])) == []
    assert list(_notes([sound, sound | {"file_unchanged": None}])) == [NOT_COMPARED]
    assert list(_notes([sound | {"region_source": "whole_image"}])) == [WHOLE_IMAGE]


def test_what_can_not_be_shown_is_one_sentence_and_an_exit_status(
    database: Database, storage: Path, study_id: str, tmp_path: Path
) -> None:
    for arguments, status, said in (
        (("none",), 1, "study_not_found"),
        (("A8",), 1, "study_not_ended"),
        ((STUDY_UID, "L9"), 1, "lesion_not_found"),
        ((study_id, "L2"), 1, "result_missing: the image was not scored: pixels_uniform"),
        ((study_id, "L1"), 1, "model_not_found: the registry has no DLR_LH 1.0: restore its card"),
        ((study_id, "L1", "--model", "DLR_XY"), 2, "DLR_XY"),
    ):
        done = dlr(database, storage, *arguments, "--output", tmp_path / "out")
        assert (done.returncode, said in done.stderr) == (status, True), done.stderr
        assert "Traceback" not in done.stderr
        assert done.stdout == ""
    assert not (tmp_path / "out").exists()
    nowhere = dlr(database, storage, study_id)
    assert (nowhere.returncode, "--output" in nowhere.stderr) == (2, True)


def test_a_file_that_is_not_the_one_that_was_scored_is_refused_before_any_model(
    database: Database, storage: Path, study_id: str, tmp_path: Path
) -> None:
    path = storage / "a.dcm"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    changed = dlr(database, storage, study_id, "--output", tmp_path / "out")
    assert (changed.returncode, "image_changed: a file of the study is gone or is not" in changed.stderr) == (1, True)
    path.unlink()
    gone = dlr(database, storage, study_id, "--output", tmp_path / "out")
    assert (gone.returncode, "file_not_found" in gone.stderr) == (1, True)
