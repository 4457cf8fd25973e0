"""`dlr purge` on a real database and a real storage."""

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from db.schema.audit import Audited
from db.session import make_engine, session_factory
from db.writes import audit, ledger
from tests import command_line
from tests.conftest import Database
from tests.db.samples import ended, register, scored, study
from worker.intake.inbox import Inbox
from worker.intake.storage_copy import is_copy, path_in_storage


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    (tmp_path / "storage").mkdir()
    return tmp_path / "storage"


def dlr_purge(database: Database, storage: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return command_line.dlr("purge", *arguments, DLR_DATABASE_URL=database.writer_url, DLR_STORAGE_ROOT=storage)


def submitted(tmp_path: Path, storage: Path, content: bytes) -> str:
    file = tmp_path / "from-a-cd.dcm"
    file.write_bytes(content)
    return path_in_storage(file, storage)


@pytest.fixture
def paths(database: Database, storage: Path, tmp_path: Path) -> list[str]:
    """A study of three files: a copy, a copy that another study names too, and a file of the hospital's own."""
    names = [submitted(tmp_path, storage, b"one"), submitted(tmp_path, storage, b"two"), "own.dcm"]
    (storage / "own.dcm").write_bytes(b"three")
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        register(session)
        ended(session, study("1.1", job={"images": {"kind": "files", "paths": names}}), scored())
        ledger.record_study(session, study("1.2", job={"images": {"kind": "files", "paths": names[1:2]}}))
    engine.dispose()
    return names


def test_a_purge_removes_the_copies_that_nobody_names_and_no_file_of_the_hospital_s(
    database: Database, storage: Path, paths: list[str]
) -> None:
    done = dlr_purge(database, storage, "--older-than", "0d", "--yes", "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert (row["studies"], row["purged"], row["files_removed"], row["files_left"]) == (1, 1, 1, 0)
    assert [(storage / path).exists() for path in paths] == [False, True, True]


def received(storage: Path, study_uid: str, *sop_uids: str) -> list[str]:
    with Inbox.held(storage) as inbox:
        for uid in sop_uids:
            arriving = inbox.arriving / "x"
            arriving.write_text(uid)
            key = inbox.keep(arriving, study_uid, uid)
        return [str(path.relative_to(storage)) for path in sorted(inbox.folder(key).iterdir())]


def test_all_that_was_received_with_a_study_goes_with_its_last_revision(database: Database, storage: Path) -> None:
    image, report = received(storage, "1.1", "1.1.1", "1.1.2")
    other, beside = received(storage, "1.2", "1.2.1", "1.2.2")
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        register(session)
        for uid, path in (("1.1", image), ("1.2", other)):
            ended(session, study(uid, job={"images": {"kind": "files", "paths": [path]}}), scored())
        ledger.record_study(session, study("1.2", "b", job={"images": {"kind": "files", "paths": [beside]}}))
    engine.dispose()
    done = dlr_purge(database, storage, "--older-than", "0d", "--yes", "--format", "json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)
    assert row["files_removed"] == 3
    assert [(storage / path).exists() for path in (image, report, other, beside)] == [False, False, False, True]


def test_a_rehearsal_and_a_purge_that_nobody_confirmed_change_nothing(
    database: Database, storage: Path, paths: list[str]
) -> None:
    (row,) = json.loads(dlr_purge(database, storage, "--older-than", "0d", "--dry-run", "--format", "json").stdout)
    assert (row["studies"], row["purged"]) == (1, 0)
    unsure = dlr_purge(database, storage, "--older-than", "0d")
    assert (unsure.returncode, "--yes" in unsure.stderr) == (2, True)
    assert all((storage / path).exists() for path in paths)


def test_what_is_younger_stays(database: Database, storage: Path, paths: list[str]) -> None:
    (row,) = json.loads(dlr_purge(database, storage, "--older-than", "365d", "--yes", "--format", "json").stdout)
    assert (row["studies"], row["purged"]) == (0, 0)
    assert (storage / paths[0]).exists()


def test_a_purge_removes_the_audit_events_of_that_age_whether_a_collector_was_sent_them_or_not(
    database: Database, storage: Path
) -> None:
    engine = make_engine(database.writer_url)
    with session_factory(engine).begin() as session:
        for actor in ("anna", "bea"):
            audit.note(session, Audited.SIGNED_IN, actor, address="10.0.0.7")
        audit.sent(session, [audit.not_sent(session, 1)[0].id])
    young = dlr_purge(database, storage, "--older-than", "1d", "--yes", "--format", "json")
    counted = dlr_purge(database, storage, "--older-than", "0d", "--dry-run", "--format", "json")
    old = dlr_purge(database, storage, "--older-than", "0d", "--yes", "--format", "json")
    rows = [json.loads(done.stdout)[0] for done in (young, counted, old)]
    assert [(row["audit_events"], row["audit_events_removed"]) for row in rows] == [(0, 0), (2, 0), (2, 2)], old.stderr
    with session_factory(engine)() as session:
        assert audit.waiting(session) == (0, None)
    engine.dispose()


@pytest.mark.parametrize("value", ["soon", "1", "0", "365", "1h", "-1d", "1y", ""])
def test_an_age_that_is_none_is_wrong_usage(value: str) -> None:
    assert command_line.dlr("purge", "--older-than", value, "--yes").returncode == 2


DIGEST = hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize(
    ("path", "copy"),
    [
        (f"submitted/{DIGEST[:2]}/{DIGEST}.dcm", True),
        (f"submitted/../{DIGEST}.dcm", False),
        (f"other/{DIGEST[:2]}/{DIGEST}.dcm", False),
        (f"/submitted/{DIGEST[:2]}/{DIGEST}.dcm", False),
        ("submitted/scan.dcm", False),
    ],
)
def test_only_what_submit_copied_counts_as_a_copy(path: str, copy: bool) -> None:
    assert is_copy(path) is copy
