"""What a person hears of a study that was handed in by `dlr submit`."""

import json
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tests import command_line
from tests.conftest import Database
from tests.worker.imaging.dicom_files import picture, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of one study, STAT by its own lesions.json, with two files that are not DICOM."""
    write(tmp_path / "cd" / "a.dcm", picture())
    (tmp_path / "cd" / "lesions.json").write_text(json.dumps({"lesions": [{"birads": "4A"}], "priority": "stat"}))
    for name in ("notes.txt", "index.html"):
        (tmp_path / "cd" / name).touch()
    return tmp_path / "cd"


def submit(database: Database, redis_url: str, folder: Path, *options: object) -> "CompletedProcess[str]":
    return command_line.dlr(
        "submit",
        folder,
        *options,
        "--format",
        "json",
        DLR_DATABASE_URL=database.writer_url,
        DLR_REDIS_URL=redis_url,
        DLR_STORAGE_ROOT=folder.parent / "storage",
    )


def told(done: "CompletedProcess[str]") -> tuple[str, str]:
    [row] = json.loads(done.stdout)
    return row["priority"], row["note"]


def test_a_folder_s_own_file_says_how_urgent_it_is_and_nothing_after_that_lowers_it_silently(
    database: Database, redis_url: str, folder: Path
) -> None:
    first = submit(database, redis_url, folder)
    assert told(first) == ("stat", "2 files that are not DICOM were left out")
    assert first.stderr.count("left out") == 1
    (folder / "lesions.json").write_text('[{"birads": "4A"}]')
    again = submit(database, redis_url, folder)
    kept = "its priority stays stat, not routine: submitting a study again never lowers it"
    assert told(again) == ("stat", f"2 files that are not DICOM were left out; {kept}")
    assert kept in again.stderr
    (folder / "lesions.json").write_text('[{"birads": "5"}]')
    revised = submit(database, redis_url, folder, "--priority", "urgent")
    assert told(revised)[0] == "stat"
    assert "its priority stays stat, not urgent" in revised.stderr


def test_a_priority_that_the_command_line_lowers_is_told(database: Database, redis_url: str, folder: Path) -> None:
    done = submit(database, redis_url, folder, "--priority", "routine")
    assert told(done)[0] == "routine"
    assert "its priority is routine, as the command line says; its file says stat" in done.stderr
