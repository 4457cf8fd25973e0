"""The shell that people copy from the documentation: a command that fails in it is not passed over in silence."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.conftest import Database
from tests.test_docs import ADMINISTRATOR, INSTALL, PAGES, blocks
from worker.services.embedded_postgres import EmbeddedPostgres, _binaries

LOUD = re.compile(
    r"^\w+=\$\("  # an assignment fails as its command does
    r"|^(until|while|if) \[ .*\]; (do|then)"  # nothing is done with what is compared
    r"|\$\((date|jobs|pwd|nproc)\b"
)
INTO_A_FILE = re.compile(r"(?<!\|)\|(?!\|)[^|&;]*>[^&]")


def shell(page: Path) -> list[str]:
    """Each line of shell of a page, those that go on put together."""
    found = "\n".join(blocks(page, "sh") + blocks(page, "bash") + re.findall(r"^    (.*)", page.read_text(), re.M))
    return [line.strip() for line in found.replace("\\\n", " ").splitlines()]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_no_command_is_given_what_a_failed_one_did_not_say(page: Path) -> None:
    lines = shell(page)
    assert [line for line in lines if "$(" in line and not LOUD.search(line)] == []
    assert [line for line in lines if INTO_A_FILE.search(line)] == []


def test_a_swallowed_failure_is_found() -> None:
    assert not LOUD.search('pg_dump "$(dlr db url)"')
    assert LOUD.search('URL=$(dlr db url) && pg_dump "$URL"')
    assert INTO_A_FILE.search("pg_dump dlr | gzip > dlr.gz")
    assert not INTO_A_FILE.search("test -s a || date > a")


def the_block(page: Path, word: str) -> str:
    (found,) = [block for block in blocks(page, "sh") if word in block]
    return found


def run(script: str, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join([str(Path(sys.executable).parent), str(_binaries()), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PATH": path, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def nearest(postgres: EmbeddedPostgres) -> dict[str, str]:
    """What libpq takes for the server of an empty address: one with another database."""
    url = make_url(postgres.url("postgres", "postgres"))
    return {
        "PGHOST": str(url.host),
        "PGPORT": str(url.port),
        "PGUSER": str(url.username),
        "PGPASSWORD": str(url.password),
        "PGDATABASE": "postgres",
    }


def test_a_backup_of_a_database_whose_owner_is_not_known_fails_and_leaves_nothing(
    database: Database, nearest: dict[str, str], tmp_path: Path
) -> None:
    done = run(the_block(ADMINISTRATOR, "pg_dump --format=custom --file"), tmp_path, **nearest,
               DLR_DATABASE_URL=database.writer_url)  # fmt: skip
    assert done.returncode != 0
    assert "DLR_DATABASE_OWNER_URL" in done.stderr
    assert list(tmp_path.glob("*.dump")) == []


def test_a_backup_of_a_sites_own_database_holds_its_studies(
    database: Database, nearest: dict[str, str], tmp_path: Path
) -> None:
    done = run(the_block(ADMINISTRATOR, "pg_dump --format=custom --file"), tmp_path, **nearest,
               DLR_DATABASE_URL=database.writer_url, DLR_DATABASE_OWNER_URL=database.owner_url)  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = run("pg_restore --list dlr.dump", tmp_path).stdout
    assert "TABLE DATA public study " in listed


def test_the_commands_for_the_passwords_make_what_is_missing_or_empty_and_keep_the_others(tmp_path: Path) -> None:
    commands = the_block(INSTALL, "openssl rand")
    assert run(commands, tmp_path).returncode == 0
    files = sorted((tmp_path / "secrets").iterdir())
    kept = {file: file.read_text() for file in files[1:]}
    files[0].chmod(0o600)
    files[0].write_text("")
    assert run(commands, tmp_path).returncode == 0
    assert len(files[0].read_text().strip()) == 64
    assert {file: file.read_text() for file in files[1:]} == kept
