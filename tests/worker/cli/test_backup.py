"""`dlr backup` from end to end: made, listed, verified and restored, by what a person types and a program reads."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import command_line
from tests.worker.backup.conftest import PATHS, Installation, empty, full, write_private_in

__all__ = ["empty", "full"]


def backup(machine: Installation, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return command_line.dlr("backup", *arguments, **machine.variables)


def told(machine: Installation, *arguments: object, status: int = 0) -> Any:
    done = backup(machine, *arguments, "--format", "json")
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def test_what_is_created_is_listed_verified_and_restored_on_an_empty_machine(
    full: Installation, empty: Installation
) -> None:
    [made] = told(full, "create")
    assert told(full, "list") == [made]
    assert (made["studies"], made["open"], made["accounts"], made["files"], made["code"]) == (5, 2, 1, 2, None)
    assert told(full, "verify", "latest", "--storage") == {"backup": made, "findings": []}
    restored = told(empty, "restore", made["path"], status=3)
    assert restored["restored"] == {"studies": 5, "open": 2, "models": 0, "accounts": 1}
    assert [(one["name"], one["state"]) for one in restored["findings"]] == [
        (path, "missing") for path in sorted(PATHS)
    ]
    assert empty.everything()["worklist"] == full.everything()["worklist"]


def test_a_restore_onto_a_whole_storage_has_nothing_to_tell(full: Installation, empty: Installation) -> None:
    [made] = told(full, "create")
    for path in PATHS:
        write_private_in(empty.home / "storage" / path, (full.home / "storage" / path).read_bytes())
    done = backup(empty, "restore", made["path"])
    assert done.returncode == 0, done.stderr
    assert "workers take up 2 studies that were on their way" in done.stderr


def test_a_database_with_studies_is_refused_by_its_code(full: Installation) -> None:
    told(full, "create")
    done = backup(full, "restore", "latest")
    assert (done.returncode, done.stderr.count("error: database_not_empty: ")) == (1, 1)


def test_nobody_is_there_to_be_asked_and_yes_was_not_said(full: Installation) -> None:
    told(full, "create")
    done = backup(full, "restore", "latest", "--replace")
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert told(full, "restore", "latest", "--replace", "--yes")["restored"]["studies"] == 5


def test_a_damaged_archive_is_listed_with_its_code_and_refused(full: Installation) -> None:
    [made] = told(full, "create")
    archive = Path(made["path"])
    archive.write_bytes(archive.read_bytes()[:1000])
    [row] = told(full, "list", status=3)
    assert (row["name"], row["code"]) == (archive.name, "backup_invalid")
    done = backup(full, "verify", "latest")
    assert (done.returncode, "error: backup_invalid: " in done.stderr) == (1, True)


def test_the_latest_are_kept(full: Installation) -> None:
    write_private_in(full.home / "backups" / "dlr-backup-20260101T000000Z.zip", b"an old one")
    done = backup(full, "create", "--keep", 1)
    assert "removed" in done.stderr
    assert len(told(full, "list")) == 1


@pytest.mark.parametrize("arguments", [("verify", "latest"), ("restore", "none.zip")])
def test_an_archive_that_is_not_there_is_refused_by_its_code(empty: Installation, arguments: tuple[str, ...]) -> None:
    done = backup(empty, *arguments)
    assert (done.returncode, "error: backup_invalid: " in done.stderr) == (1, True)
