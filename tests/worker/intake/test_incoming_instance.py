"""What an instance is written into while it comes: whatever the disk answers, nobody is told before it is asked for."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from worker.intake.incoming_instance import IncomingInstance

FAULTS = ("ENOSPC", "EDQUOT", "EROFS", "ENOENT", "EACCES", "EIO", "ESTALE", "EMFILE", "EFBIG")


def test_what_comes_is_in_the_file_and_for_its_owner_alone(tmp_path: Path) -> None:
    file = IncomingInstance(tmp_path)
    assert file.write(b"one") + file.write(b" two") == 7
    file.file.flush()
    file.close()
    assert (Path(file.name).read_bytes(), file.fault) == (b"one two", None)
    assert file.path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("when", ["open", "write", "flush", "close"])
def test_a_fault_is_kept_and_the_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, when: str
) -> None:
    number = getattr(errno, name)

    def fault(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    if when == "open":
        monkeypatch.setattr(os, "open", fault)
    file = IncomingInstance(tmp_path)
    if when != "open":
        held = file._file

        class Faulty:
            """A file that does all but one thing."""

            def __getattr__(self, wanted: str) -> Any:
                return fault if wanted == when else getattr(held, wanted)

        file._file = Faulty()  # type: ignore[assignment]
    for _ in range(3):
        assert file.write(b"more") == 4
        file.flush()
    file.close()
    assert file.fault is not None
    assert file.fault.errno == number
    assert list(tmp_path.iterdir()) == []


def test_what_is_discarded_is_gone_and_what_was_moved_away_stays(tmp_path: Path) -> None:
    file = IncomingInstance(tmp_path)
    file.discard()
    file.discard()
    assert list(tmp_path.iterdir()) == []
    moved = IncomingInstance(tmp_path)
    moved.close()
    moved.path.rename(tmp_path / "kept")
    moved.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
