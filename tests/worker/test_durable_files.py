"""Files that are there whole or not at all."""

import os
import stat
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.faults.disks import FAULTS, MountingNotAllowed, small_disk
from worker.durable_files import replacing, write_private


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_replaced_whole_and_is_private_even_where_an_open_one_was(tmp_path: Path) -> None:
    file = tmp_path / "services.json"
    file.write_text("old")
    file.chmod(0o644)
    write_private(file, b"new")
    assert file.read_text() == "new"
    assert mode(file) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("fault", ["full", "without inodes", "read-only"])
def test_a_private_file_that_can_not_be_written_leaves_the_one_before_and_nothing_else(
    tmp_path: Path, fault: str
) -> None:
    try:
        with small_disk(tmp_path / "disk") as disk:
            write_private(disk / "secret", b"old")
            with FAULTS[fault](disk), pytest.raises(OSError, match=r"No space|Read-only"):
                write_private(disk / "secret", b"new")
            assert [path.name for path in disk.iterdir()] == ["secret"]
            assert (disk / "secret").read_text() == "old"
    except MountingNotAllowed:
        pytest.skip("no disk can be mounted here")


class Stopped(BaseException):
    """As a signal that ends the process in the middle of its work."""


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), Stopped()], ids=["full", "stopped"])
@pytest.mark.parametrize("alone", [True, False])
def test_a_draft_that_was_not_finished_goes_away(tmp_path: Path, error: BaseException, *, alone: bool) -> None:
    (tmp_path / "file").write_bytes(b"old")
    draft = ExitStack()
    draft.enter_context(replacing(tmp_path / "file", alone=alone)).write_bytes(b"ne")
    with pytest.raises(type(error)), draft:
        raise error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


def test_what_a_killed_process_left_of_a_draft_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".file.part").write_bytes(b"a longer one")
    with replacing(tmp_path / "file") as draft:
        draft.write_bytes(b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"new"}


def test_several_may_write_one_file_at_once(tmp_path: Path) -> None:
    with replacing(tmp_path / "file", alone=False) as one, replacing(tmp_path / "file", alone=False) as other:
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"one"}


def test_the_mode_is_that_of_any_file_less_the_umask_unless_it_is_given(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        for name, wanted in (("shared", 0o666), ("private", 0o600)):
            with replacing(tmp_path / name, mode=wanted) as draft:
                draft.write_bytes(b"")
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("shared", "private")] == [0o640, 0o600]


def test_the_draft_of_another_writer_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = tmp_path / ".file.part"

    def taken(*_: object) -> int:
        others.write_text("another's")
        raise FileExistsError

    monkeypatch.setattr("worker.durable_files.os.open", taken)
    with pytest.raises(FileExistsError), replacing(tmp_path / "file"):
        pass
    assert others.read_bytes() == b"another's"
