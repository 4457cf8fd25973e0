"""Where a study's images are for a while, and that nothing of them stays."""

import errno
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian

from benchmarks.faults.disks import FAULTS, MountingNotAllowed, small_disk
from tests.dicomweb_server import DicomwebPeer, serving
from worker.clinical.categories import Birads, Priority
from worker.demo.dicom import Header, write_ultrasound
from worker.errors import StudyRefused, Unavailable
from worker.image_access import Dicomweb, Server
from worker.imaging.image_source import FETCHED, ImageSource, remove_abandoned
from worker.study import Lesion, MarkedImage, OnDicomweb, Study

STUDY = "1.2.826.0.1.3680043.10.1"

HOLDER = """
import signal, sys
from tests.worker.imaging.test_image_source import source_of, study_of
with source_of(sys.argv[1]).folder(study_of(sys.argv[2])) as folder:
    print(folder.root, flush=True)
    signal.pause()
"""


@pytest.fixture(autouse=True)
def tmpdir_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder := tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def source_of(url: str) -> ImageSource:
    return ImageSource(Path("/nowhere"), Dicomweb({"pacs": Server(url, {})}, 1 << 20, timeout_s=10))


def study_of(sop_instance_uid: str, server: str = "pacs") -> Study:
    lesion = Lesion("L1", (MarkedImage(sop_instance_uid, None, None),), Birads.LOW_SUSPICION)
    return Study(uuid4(), STUDY, Priority.ROUTINE, None, OnDicomweb(server), (lesion,))


def image(peer: DicomwebPeer) -> str:
    header = Header(STUDY, "Doe^Jane", "P1", "A1", "20261123")
    frame = np.arange(60 * 100, dtype=np.uint8).reshape(60, 100)
    return write_ultrasound(peer.folder / "a.dcm", header, [frame], ExplicitVRLittleEndian)


def test_what_was_fetched_is_there_for_its_owner_alone_and_gone_afterwards(
    tmp_path: Path, tmpdir_of_its_own: Path
) -> None:
    with serving(tmp_path / "pacs") as peer:
        peer.folder.mkdir()
        with source_of(peer.url).folder(study_of(image(peer))) as folder:
            assert [(folder.root / path).read_bytes() for path in folder.paths] == [
                (peer.folder / "a.dcm").read_bytes()
            ]
            assert folder.root.stat().st_mode & 0o077 == 0
    assert list(tmpdir_of_its_own.iterdir()) == []


def test_a_study_that_is_refused_leaves_nothing(tmpdir_of_its_own: Path) -> None:
    with pytest.raises(StudyRefused), source_of("http://127.0.0.1:9").folder(study_of("1.2", "elsewhere")):
        pass
    assert list(tmpdir_of_its_own.iterdir()) == []


def test_a_process_that_is_killed_leaves_images_to_the_next_one_which_removes_them(
    tmp_path: Path, tmpdir_of_its_own: Path
) -> None:
    with serving(tmp_path / "pacs") as peer:
        peer.folder.mkdir()
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, peer.url, image(peer)], stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout is not None
        held = Path(holder.stdout.readline().strip())
        assert (held.parent, held.name.startswith(FETCHED)) == (tmpdir_of_its_own, True)
        remove_abandoned()
        assert len(list(held.iterdir())) == 1, "a folder that a process needs is left alone"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        holder.stdout.close()
    assert len(list(held.iterdir())) == 1
    remove_abandoned()
    assert list(tmpdir_of_its_own.iterdir()) == []


@pytest.mark.parametrize("fault", ["full", "without inodes", "read-only"])
def test_a_disk_that_takes_no_image_is_away_for_now_and_nothing_stays_on_it(
    tmp_path: Path, tmpdir_of_its_own: Path, fault: str
) -> None:
    try:
        with small_disk(tmpdir_of_its_own) as disk, serving(tmp_path / "pacs") as peer:
            peer.folder.mkdir()
            wanted = study_of(image(peer))
            with FAULTS[fault](disk):
                with pytest.raises(Unavailable, match="storage_unavailable"), source_of(peer.url).folder(wanted):
                    pass
                assert [path.name for path in disk.iterdir() if path.name != ".filler"] == []
            with source_of(peer.url).folder(wanted) as folder:
                assert len(folder.paths) == 1
    except MountingNotAllowed:
        pytest.skip("no disk can be mounted here")


def test_where_no_disk_can_be_written_a_worker_starts_and_its_studies_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_usable() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("tempfile._get_default_tempdir", none_usable)
    remove_abandoned()
    with (
        pytest.raises(Unavailable, match="storage_unavailable"),
        source_of("http://127.0.0.1:9").folder(study_of("1.2")),
    ):
        pass


def test_a_link_that_is_named_like_such_a_folder_is_not_followed(tmp_path: Path, tmpdir_of_its_own: Path) -> None:
    (kept := tmp_path / "kept").mkdir()
    (kept / "a.dcm").touch()
    (tmpdir_of_its_own / f"{FETCHED}x").symlink_to(kept)
    remove_abandoned()
    assert [path.name for path in kept.iterdir()] == ["a.dcm"]
