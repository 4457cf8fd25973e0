"""What arrives over a network: on the disk, once, by study, and still known after a kill."""

import os
import time
from pathlib import Path

import pytest

from benchmarks.faults.disks import FAULTS, MountingNotAllowed, small_disk
from worker.errors import SetupRefused
from worker.intake.inbox import Inbox, is_received


def arrive(inbox: Inbox, content: bytes = b"one", name: str = "x.dcm") -> Path:
    path = inbox.arriving / name
    path.write_bytes(content)
    return path


def kept(inbox: Inbox) -> list[bytes]:
    return sorted(path.read_bytes() for path in inbox.root.rglob("*.dcm"))


def test_an_instance_is_kept_under_no_name_of_its_sender_s_and_opens_its_study(tmp_path: Path) -> None:
    with Inbox.held(tmp_path) as inbox:
        key = inbox.keep(arrive(inbox), "1.2.3", "1.2.3.4")
        with inbox.study(key) as (path,):
            assert path.read_bytes() == b"one"
            assert is_received(str(path.relative_to(tmp_path)))
            assert "1.2.3" not in str(path)
        assert inbox.due(quiet_s=0) == [key]
        assert list(inbox.arriving.iterdir()) == []


@pytest.mark.parametrize("uid", ["../../outside", "/etc/passwd", "a" * 5000, "\0", "1.2\\3"])
def test_no_uid_leads_out_of_the_inbox(tmp_path: Path, uid: str) -> None:
    with Inbox.held(tmp_path / "root") as inbox:
        inbox.keep(arrive(inbox), uid, uid)
        assert kept(inbox) == [b"one"]
    assert [path.name for path in tmp_path.iterdir()] == ["root"]


def test_an_instance_that_is_sent_twice_is_one_and_opens_nothing_again(tmp_path: Path) -> None:
    with Inbox.held(tmp_path) as inbox:
        key = inbox.keep(arrive(inbox), "1.2.3", "1.2.3.4")
        inbox.close(key)
        inbox.keep(arrive(inbox), "1.2.3", "1.2.3.4")
        assert kept(inbox) == [b"one"]
        assert inbox.due(quiet_s=0) == []
        assert list(inbox.arriving.iterdir()) == []


def test_a_corrected_instance_takes_the_place_of_the_first_and_opens_its_study_again(tmp_path: Path) -> None:
    with Inbox.held(tmp_path) as inbox:
        key = inbox.keep(arrive(inbox), "1.2.3", "1.2.3.4")
        inbox.close(key)
        inbox.keep(arrive(inbox, b"other"), "1.2.3", "1.2.3.4")
        assert kept(inbox) == [b"other"]
        assert inbox.due(quiet_s=0) == [key]


def test_a_study_is_due_when_nothing_has_come_for_a_while_or_when_it_may_be_whole(tmp_path: Path) -> None:
    with Inbox.held(tmp_path) as inbox:
        key = inbox.keep(arrive(inbox), "1.2.3", "1.2.3.4")
        assert inbox.due(quiet_s=60) == []
        inbox.complete(key)
        assert inbox.due(quiet_s=60) == [key]
        with inbox.study(key):
            pass
        assert inbox.due(quiet_s=60) == []
        assert not inbox.is_quiet(key, quiet_s=60)
        assert inbox.is_quiet(key, quiet_s=0)


def test_a_study_that_may_be_whole_is_due_again_when_its_disk_was_away(tmp_path: Path) -> None:
    with Inbox.held(tmp_path) as inbox:
        key = inbox.keep(arrive(inbox), "1.2.3", "1.2.3.4")
        inbox.complete(key)
        (received := tmp_path / "received").rename(tmp_path / "away")
        with pytest.raises(FileNotFoundError), inbox.study(key):
            pass
        assert inbox.due(quiet_s=60) == [key]
        (tmp_path / "away").rename(received)
        with inbox.study(key) as files:
            assert len(files) == 1
        assert inbox.due(quiet_s=60) == []


def test_after_a_kill_open_studies_are_still_open_and_half_an_instance_is_gone(tmp_path: Path) -> None:
    with Inbox.held(tmp_path) as inbox:
        long_ago = inbox.keep(arrive(inbox), "1.2.3", "1.2.3.4")
        closed = inbox.keep(arrive(inbox), "1.2.4", "1.2.4.4")
        just_now = inbox.keep(arrive(inbox), "1.2.5", "1.2.5.4")
        inbox.close(closed)
        os.utime(tmp_path / "received" / "open" / long_ago, (time.time() - 100,) * 2)
        arrive(inbox, b"half of")
    with Inbox.held(tmp_path) as inbox:
        assert inbox.due(quiet_s=50) == [long_ago]
        assert set(inbox.due(quiet_s=0)) == {long_ago, just_now}
        assert list(inbox.arriving.iterdir()) == []


def test_an_inbox_has_one_receiver(tmp_path: Path) -> None:
    with Inbox.held(tmp_path), pytest.raises(SetupRefused, match="already_running"), Inbox.held(tmp_path):
        pass
    with Inbox.held(tmp_path):
        pass


def test_a_storage_that_can_not_be_written_is_said_before_anything_is_received(tmp_path: Path) -> None:
    (tmp_path / "received").write_text("a file is in the way")
    with pytest.raises(SetupRefused) as refused, Inbox.held(tmp_path):
        pass
    assert "DLR_STORAGE_ROOT" in refused.value.reason


def test_an_instance_that_can_not_be_written_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with Inbox.held(tmp_path) as inbox:
        path = arrive(inbox)
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            inbox.keep(path, "1.2.3", "1.2.3.4")
        assert kept(inbox) == []
        assert inbox.due(quiet_s=0) == []


def test_a_disk_on_which_no_inbox_can_be_made_or_opened_is_said(tmp_path: Path) -> None:
    try:
        with small_disk(tmp_path / "disk") as disk:
            for fault in ("without inodes", "read-only"):
                with FAULTS[fault](disk), pytest.raises(SetupRefused, match="setting_invalid"), Inbox.held(disk):
                    pass
            with Inbox.held(disk):
                pass
            with FAULTS["read-only"](disk), pytest.raises(SetupRefused, match="setting_invalid"), Inbox.held(disk):
                pass
            for fault in ("full", "without inodes"):  # where senders are told to wait
                with FAULTS[fault](disk), Inbox.held(disk):
                    pass
    except MountingNotAllowed:
        pytest.skip("no disk can be mounted here")
