"""A folder into which studies are dropped: each is handed in once, by one watcher, and ends where a person finds it."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from benchmarks.faults.disks import FAULTS, MountingNotAllowed, full, small_disk
from db.outages import DatabaseAway
from tests.conftest import Database
from tests.outages import A_REFUSAL, DEFECT, OUTAGES, away
from tests.waiting import until
from tests.worker.imaging.dicom_files import LIMITS, STUDY_UID, picture, write
from tests.worker.intake.reports import Finding, rectangle, write_report
from worker.errors import SetupRefused, Unavailable
from worker.intake import quarantine, watch
from worker.intake.accept_study import Intake
from worker.intake.watch import DropFolder, Watcher


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    (tmp_path / "drop").mkdir()
    (tmp_path / "storage").mkdir()
    return tmp_path / "drop"


Made = Callable[[], Watcher]


@pytest.fixture
def watcher(sessions: sessionmaker[Session], drop: Path) -> Iterator[Made]:
    storage = drop.parent / "storage"
    with ExitStack() as stack:

        def made() -> Watcher:
            folder = stack.enter_context(DropFolder.watched(drop, storage))
            return Watcher(folder, Intake(sessions, storage, lambda *_: None), LIMITS, 0, lambda work: work())

        yield made


def look(watcher: Watcher) -> int:
    count = 0
    while (claimed := watcher.folder.claim(settle_s=0)) is not None:
        watcher.take(claimed)
        count += 1
    return count


def studies(sessions: sessionmaker[Session]) -> list[tuple[Any, ...]]:
    with sessions() as session:
        rows = session.execute(text("SELECT state, source, error_code FROM study ORDER BY received_at"))
        return [tuple(row) for row in rows]


def study(folder: Path, uid: str = STUDY_UID) -> Path:
    folder.mkdir()
    image = write(folder / "a.dcm", picture(), StudyInstanceUID=uid)
    write_report(folder / "sr.dcm", [Finding(image, rectangle(3, 4, 20, 10))])
    return folder


def test_a_study_with_its_report_is_handed_in_and_put_aside(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    study(drop / "one")
    assert look(watcher()) == 1
    assert studies(sessions) == [("queued", "watch", None)]
    assert [path.name for path in drop.iterdir()] == [".dlr"]
    assert sorted(path.name for path in (drop / ".dlr" / "done" / "one").iterdir()) == ["a.dcm", "sr.dcm"]


def test_lesions_come_from_a_file_beside_the_images_or_in_a_job_file(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    (drop / "one").mkdir()
    write(drop / "one" / "a.dcm", picture())
    (drop / "one" / "lesions.json").write_text(json.dumps([{"birads": "4A", "frame": 1}]))
    job = {
        "schema_version": 1,
        "study_instance_uid": "1.2.3",
        "images": {"kind": "files", "paths": ["x.dcm"]},
        "lesions": [{"lesion_id": "L1", "sop_instance_uid": "1.2.3.4", "birads": "4A"}],
    }
    (drop / "job.json").write_text(json.dumps(job))
    assert look(watcher()) == 2
    assert studies(sessions) == [("queued", "watch", None)] * 2


def test_a_folder_is_as_urgent_as_its_own_file_says_and_stays_so_when_it_comes_again_without(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    for fields in ({"priority": "stat"}, {}, {"age_years": 51.0}):
        (drop / "one").mkdir()
        write(drop / "one" / "a.dcm", picture())
        (drop / "one" / "lesions.json").write_text(json.dumps({"lesions": [{"birads": "4A"}], **fields}))
        assert look(watcher()) == 1
    with sessions() as session:
        rows = session.execute(text("SELECT revision, priority::text, is_current FROM study ORDER BY revision"))
        assert [tuple(row) for row in rows] == [(1, "stat", False), (2, "stat", True)]


def test_what_can_not_be_a_study_is_on_record_and_lies_beside_its_reason(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    (drop / "images alone").mkdir()
    write(drop / "images alone" / "a.dcm", picture())
    (drop / "notes.txt").write_text("no DICOM")
    (drop / "job.json").write_text("{")
    assert look(watcher()) == 3
    assert [state for state, *_ in studies(sessions)] == ["failed"] * 3
    refused = {path.name for path in (drop / ".dlr" / "refused").iterdir()}
    assert {"images alone", "images alone.txt", "notes.txt", "notes.txt.txt", "job.json", "job.json.txt"} == refused
    said = (drop / ".dlr" / "refused" / "images alone.txt").read_text()
    assert said.startswith("lesions_missing: images alone: ")
    assert "job_invalid" in (drop / ".dlr" / "refused" / "job.json.txt").read_text()


@pytest.mark.parametrize("name", [".one", "one.part", "one.tmp"])
def test_an_entry_that_is_still_written_is_left_alone(watcher: Made, drop: Path, name: str) -> None:
    study(drop / name)
    assert look(watcher()) == 0
    (drop / name).rename(drop / "one")
    assert look(watcher()) == 1


def test_an_entry_that_has_just_changed_is_left_alone_whatever_time_its_files_bear(watcher: Made, drop: Path) -> None:
    folder = study(drop / "one")
    for path in (folder, *folder.iterdir()):
        os.utime(path, (0, 0))
    assert watcher().folder.claim(settle_s=60) is None


def test_a_name_that_was_there_before_takes_no_other_s_place(watcher: Made, drop: Path) -> None:
    there = watcher()
    for uid in (STUDY_UID, STUDY_UID + ".2"):
        study(drop / "one", uid)
        look(there)
    assert len(list((drop / ".dlr" / "done").iterdir())) == 2


def test_watchers_that_share_a_folder_take_each_entry_once(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    for number in range(12):
        study(drop / f"{number}", f"{STUDY_UID}.{number}")
    watchers = [watcher() for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(look, watchers)) == 12
    assert len(studies(sessions)) == 12


KILLED = """
import signal, sys
from pathlib import Path
from worker.intake.watch import DropFolder
with DropFolder.watched(Path(sys.argv[1]), Path(sys.argv[2])) as folder:
    print(folder.claim(0), flush=True)
    signal.pause()
"""


def test_what_a_killed_watcher_had_at_hand_goes_back_and_that_of_a_living_one_does_not(
    watcher: Made, drop: Path, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "BORN_S", 0.0)
    study(drop / "one")
    there = watcher()
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(drop), str(drop.parent / "storage")], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert b"one" in process.stdout.readline()
    assert there.folder.give_back_of_the_dead() == 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert there.folder.give_back_of_the_dead() == 1
    assert look(there) == 1
    assert studies(sessions) == [("queued", "watch", None)]


def test_what_goes_back_takes_no_place_of_what_has_come_under_its_name_since(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    first, second = watcher(), watcher()
    (drop / "job.json").write_text("{")
    assert first.folder.claim(settle_s=0) is not None
    (drop / "job.json").write_text("[")
    assert first.folder.give_back(first.folder.claims) == 1
    first.folder.claims.mkdir()
    assert look(second) == 2
    assert len(studies(sessions)) == 2


def test_a_folder_in_the_storage_or_around_it_is_refused(drop: Path) -> None:
    storage = drop.parent / "storage"
    (storage / "inside").mkdir()
    for folder in (storage, storage / "inside", drop.parent, drop / "none"):
        with pytest.raises(SetupRefused, match="setting_invalid"), DropFolder.watched(folder, storage):
            pass


def test_a_folder_that_goes_away_is_waited_for(watcher: Made, drop: Path, sessions: sessionmaker[Session]) -> None:
    looks: list[str] = []
    stopped = threading.Event()

    def retry_while_away(work: Callable[[], None]) -> None:
        try:
            work()
            looks.append("looked")
        except Unavailable as error:
            looks.append(error.code)
            elsewhere.rename(drop)

    patient = replace(watcher(), retry_while_away=retry_while_away)
    elsewhere = drop.rename(drop.with_name("unmounted"))
    study(elsewhere / "one")
    thread = threading.Thread(target=patient.run, args=[stopped])
    thread.start()
    try:
        until(lambda: studies(sessions))
    finally:
        stopped.set()
        thread.join()
    assert looks[0] == "storage_unavailable"
    assert studies(sessions) == [("queued", "watch", None)]


def test_an_entry_that_is_taken_away_while_it_is_at_hand_ends_nothing(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    here = watcher()
    study(drop / "one")
    claimed = here.folder.claim(settle_s=0)
    assert claimed is not None
    shutil.rmtree(claimed)
    here.take(claimed)
    study(drop / "two")
    assert look(here) == 1


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "\udcff", "\udcff" * 255], ids=ascii)
def test_a_name_that_is_long_or_no_text_ends_no_watch(
    watcher: Made, drop: Path, sessions: sessionmaker[Session], name: str
) -> None:
    (drop / name).write_text("no DICOM")
    study(drop / "\U0001fa7b")
    assert look(watcher()) == 2
    assert studies(sessions) == [("failed", "watch", "lesions_missing"), ("queued", "watch", None)]
    entry, said = sorted((drop / ".dlr" / "refused").iterdir(), key=lambda path: len(path.name))
    assert said.name == f"{entry.name}.txt"
    assert said.read_text().startswith("lesions_missing: ")


UNREADABLE = Path("/proc/self/mem")
"""A regular file whose first byte cannot be read: EIO, as of a bad block."""


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set aside is tried again at the next look."""
    monkeypatch.setattr(quarantine, "backoff_s", lambda *_: 0.0)


def take_next(watcher: Watcher) -> Path:
    claimed = watcher._next()
    assert claimed is not None
    watcher.take(claimed)
    return claimed


def unreadable(path: Path) -> None:
    with pytest.raises(OSError, match="Input/output error"):
        UNREADABLE.read_bytes()
    path.unlink(missing_ok=True)
    path.symlink_to(UNREADABLE)


@pytest.mark.parametrize("name", ["first/a.dcm", "first/sr.dcm", "first/lesions.json", "first.json"])
def test_an_entry_that_can_not_be_read_holds_up_no_other_and_is_tried_again(
    watcher: Made, drop: Path, sessions: sessionmaker[Session], caplog: pytest.LogCaptureFixture, name: str
) -> None:
    study(drop / "first")
    unreadable(drop / name)
    if name == "first.json":
        shutil.rmtree(drop / "first")
    study(drop / "second", f"{STUDY_UID}.2")
    here = watcher()
    assert look(here) == 2
    assert studies(sessions) == [("queued", "watch", None)]
    assert [path.name for path in (drop / ".dlr" / "done").iterdir()] == ["second"]
    assert not list((drop / ".dlr" / "refused").iterdir())
    assert "cannot be read: storage_unavailable; it is retried in 10 s" in caplog.text
    assert "first" not in caplog.text
    assert here._next() is None


@pytest.mark.usefixtures("at_once")
def test_an_entry_that_can_be_read_again_is_handed_in(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    image = study(drop / "one") / "a.dcm"
    kept = image.rename(drop.parent / "kept")
    unreadable(image)
    here = watcher()
    claimed = take_next(here)
    assert take_next(here) == claimed
    assert studies(sessions) == []
    (claimed / "a.dcm").unlink()
    kept.rename(claimed / "a.dcm")
    take_next(here)
    assert studies(sessions) == [("queued", "watch", None)]
    assert here._next() is None


@pytest.mark.usefixtures("at_once")
def test_what_is_set_aside_is_taken_by_no_other_of_its_name_and_goes_back_when_its_watcher_ends(drop: Path) -> None:
    storage = drop.parent / "storage"
    with DropFolder.watched(drop, storage) as folder:
        for text in ("[", "["):
            (drop / "job.json").write_text(text)
            claimed = folder.claim(settle_s=0)
            assert claimed is not None
    assert len(list(drop.glob("*job.json"))) == 2


def test_an_entry_that_can_not_even_be_looked_at_or_claimed_holds_up_no_other(
    watcher: Made, drop: Path, sessions: sessionmaker[Session], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for number, name in enumerate(("first", "second", "third")):
        study(drop / name, f"{STUDY_UID}.{number}")
    looked, moved = Path.lstat, Path.rename

    def lstat(path: Path) -> os.stat_result:
        if path == drop / "first":
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return looked(path)

    def rename(path: Path, target: Path) -> Path:
        if path == drop / "second":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return moved(path, target)

    monkeypatch.setattr(Path, "lstat", lstat)
    monkeypatch.setattr(Path, "rename", rename)
    here = watcher()
    assert look(here) == 1
    assert [path.name for path in (drop / ".dlr" / "done").iterdir()] == ["third"]
    assert caplog.text.count("cannot be read: storage_unavailable; it is retried in 10 s") == 2
    monkeypatch.undo()
    assert look(here) == 0
    monkeypatch.setattr(time, "monotonic", lambda: float("inf"))
    assert look(here) == 2
    assert studies(sessions) == [("queued", "watch", None)] * 3


def test_an_entry_that_a_dead_watcher_had_and_that_can_not_be_moved_keeps_no_other_from_going_back(
    watcher: Made, drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead, here = watcher(), watcher()
    for name in ("first", "second"):
        (dead.folder.claims / name).write_text("")
    moved = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.name == "first":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return moved(path, target)

    monkeypatch.setattr(Path, "rename", rename)
    assert here.folder.give_back(dead.folder.claims) == 1
    assert (drop / "second").exists()
    monkeypatch.setattr(Path, "rename", moved)
    assert here.folder.give_back(dead.folder.claims) == 1
    dead.folder.claims.mkdir()


def test_a_storage_that_is_away_is_waited_for_with_the_entry_at_hand(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    study(drop / "one")
    here = watcher()
    storage = drop.parent / "storage"
    storage.rmdir()
    storage.write_text("not mounted")
    claimed = here.folder.claim(settle_s=0)
    assert claimed is not None
    with pytest.raises(Unavailable, match="storage_unavailable"):
        here.take(claimed)
    storage.unlink()
    storage.mkdir()
    here.take(claimed)
    assert studies(sessions) == [("queued", "watch", None)]


def test_on_a_disk_that_is_full_an_entry_that_is_refused_is_moved_and_none_has_to_wait(
    watcher: Made, drop: Path, sessions: sessionmaker[Session]
) -> None:
    try:
        with small_disk(drop):
            (drop / "a.json").write_text("no job")
            study(drop / "b")
            with full(drop):
                assert look(watcher()) == 2
            assert {path.name for path in (drop / ".dlr").glob("*/*")} >= {"a.json", "b"}
            assert list((drop / ".dlr" / "refused").glob("*.txt")) == []
    except MountingNotAllowed:
        pytest.skip("no disk can be mounted here")
    assert studies(sessions) == [("failed", "watch", "job_invalid"), ("queued", "watch", None)]


@pytest.mark.parametrize("fault", ["without inodes", "read-only"])
def test_a_folder_that_can_not_be_joined_is_said_and_has_nothing_left_in_it(drop: Path, fault: str) -> None:
    try:
        with small_disk(drop):
            with DropFolder.watched(drop, drop.parent / "storage"):
                pass
            with FAULTS[fault](drop):
                for room in range(2):
                    if fault == "without inodes" and room:  # for the watcher's folder, and not for its lock
                        (drop / ".filler" / "1").unlink()
                    with pytest.raises(SetupRefused) as refused, DropFolder.watched(drop, drop.parent / "storage"):
                        pass
                    assert "cannot be written" in refused.value.reason
                    assert list((drop / ".dlr" / "claimed").iterdir()) == []
    except MountingNotAllowed:
        pytest.skip("no disk can be mounted here")


@pytest.mark.parametrize("fault", ["full", "without inodes", "read-only"])
def test_a_storage_into_which_nothing_can_be_copied_loses_no_entry(
    watcher: Made, drop: Path, sessions: sessionmaker[Session], fault: str
) -> None:
    try:
        with small_disk(drop.parent / "storage") as storage:
            here = watcher()
            study(drop / "one")
            claimed = here.folder.claim(settle_s=0)
            assert claimed is not None
            with FAULTS[fault](storage):
                with pytest.raises(Unavailable, match="storage_unavailable"):
                    here.take(claimed)
                assert not list(storage.rglob(".*.part"))
            here.take(claimed)
    except MountingNotAllowed:
        pytest.skip("no disk can be mounted here")
    assert studies(sessions) == [("queued", "watch", None)]


def test_a_defect_met_on_one_entry_is_on_record_and_the_entry_refused(
    watcher: Made, drop: Path, sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    study(drop / "one")

    def defect(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(watch, "plan", defect)
    assert look(watcher()) == 1
    assert studies(sessions) == [("failed", "watch", "internal_error")]
    assert (drop / ".dlr" / "refused" / "one.txt").read_text().startswith("internal_error: ")


@pytest.mark.parametrize("outage", ["read-only", "disk full"])
def test_an_entry_stays_at_hand_while_nothing_can_be_written(
    watcher: Made, drop: Path, database: Database, sessions: sessionmaker[Session], outage: str
) -> None:
    study(drop / "one")
    one = watcher()
    with away(database, OUTAGES[outage]), pytest.raises(DatabaseAway):
        look(one)
    (claimed,) = [path for path in one.folder.claims.iterdir() if path.name == "one"]
    one.take(claimed)
    assert studies(sessions) == [("queued", "watch", None)]


@pytest.mark.usefixtures("at_once")
def test_an_entry_whose_refusal_meets_a_defect_is_kept_and_the_others_go_on(
    watcher: Made, drop: Path, database: Database, sessions: sessionmaker[Session]
) -> None:
    (drop / "a job.json").write_text("{")
    study(drop / "one")
    one = watcher()
    with away(database, DEFECT, A_REFUSAL):
        assert look(one) == 2
    assert studies(sessions) == [("queued", "watch", None)]
    (claimed,) = [one.quarantine.due()]
    assert claimed is not None
    one.take(claimed)
    assert studies(sessions) == [("queued", "watch", None), ("failed", "watch", "job_invalid")]
