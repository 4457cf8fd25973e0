"""pg_dump and pg_restore: the version that fits is found among several, or a person is told what to install."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conftest import Database
from worker.backup.postgres_tools import contents, dump, find_tools, known_folders, major_of
from worker.errors import Code, SetupRefused, Unavailable


def programs(folder: Path, version: str) -> Path:
    folder.mkdir()
    for name in ("pg_dump", "pg_restore"):
        (folder / name).write_text(f"#!/bin/sh\necho '{name} (PostgreSQL) {version}'\n")
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("there", "server", "taken"),
    [
        (["18.4"], 18, "18.4"),
        (["18.4", "15.13"], 15, "15.13"),
        (["15.13", "18.4"], 16, "18.4"),
        (["17.2", "18.4"], 17, "17.2"),
        (["19beta1"], 18, "19beta1"),
    ],
)
def test_the_nearest_version_that_reads_the_server_is_taken(
    tmp_path: Path, there: Sequence[str], server: int, taken: str
) -> None:
    folders = [programs(tmp_path / version, version) for version in there]
    assert find_tools(server, folders).version == taken


def test_without_a_version_that_reads_the_server_what_there_is_and_what_to_install_is_told(tmp_path: Path) -> None:
    folder = programs(tmp_path / "15", "15.13 (Debian 15.13-1)")
    with pytest.raises(SetupRefused) as refused:
        find_tools(18, [folder, tmp_path / "none"])
    assert refused.value.code is Code.POSTGRES_TOOLS_MISSING
    assert f"15.13 in {folder}" in refused.value.reason
    assert "postgresql-client-18" in refused.value.reason


def test_a_folder_with_one_of_the_two_programs_does_not_do(tmp_path: Path) -> None:
    folder = programs(tmp_path / "18", "18.4")
    (folder / "pg_restore").unlink()
    with pytest.raises(SetupRefused):
        find_tools(18, [folder])


def test_those_beside_the_embedded_server_are_found() -> None:
    assert find_tools(18).major == 18
    assert any("pginstall18" in str(folder) for folder in known_folders())


@pytest.mark.parametrize(("version", "major"), [("18.4", 18), ("9.6.24", 9), ("19beta1", 19), ("15.13 (Debian)", 15)])
def test_the_first_number_of_a_version(version: str, major: int) -> None:
    assert major_of(version) == major


def test_what_pg_dump_refuses_is_told_in_its_words_and_without_the_password(database: Database) -> None:
    with pytest.raises(SetupRefused) as refused:
        dump(find_tools(18), database.writer_url, "00000003-0000001B-1", lambda _: None)
    assert refused.value.code is Code.BACKUP_FAILED
    assert refused.value.reason.startswith("pg_dump: ")


def test_a_server_that_has_gone_is_an_outage_and_no_refusal() -> None:
    with pytest.raises(Unavailable) as away:
        dump(find_tools(18), "postgresql://dlr_owner:secret@127.0.0.1:1/dlr", "1-1-1", lambda _: None)
    assert away.value.code is Code.SERVICE_UNAVAILABLE
    assert "secret" not in away.value.reason


def test_what_is_no_archive_of_pg_dump_is_refused() -> None:
    with pytest.raises(SetupRefused) as refused:
        contents(find_tools(18), [b"PGDMP", b"\0" * 100])
    assert refused.value.code is Code.BACKUP_FAILED
