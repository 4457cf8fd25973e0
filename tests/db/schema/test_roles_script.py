"""deploy/postgres/roles.sql without all of its secrets: it changes nothing, since it is run on live databases too."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest

from db.schema.roles import OWNER, READER, ROLES, SHADOW, WEB, WRITER
from worker.services.embedded_postgres import DATABASE, SUPERUSER, EmbeddedPostgres, _binaries
from worker.services.home import Home

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[3] / "deploy" / "postgres" / "roles.sql"
SECRETS = {
    OWNER: "dlr_database_owner_password",
    WRITER: "dlr_database_password",
    READER: "dlr_reader_password",
    WEB: "dlr_web_database_password",
    SHADOW: "dlr_shadow_database_password",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server of this file's own, whose roles' passwords are set anew."""
    server = EmbeddedPostgres(Home(tmp_path_factory.mktemp("server") / "home"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    folder = tmp_path / "secrets"
    folder.mkdir()
    for role, name in SECRETS.items():
        (folder / name).write_text(f"the new one of {role}\n")
    return folder


def run(server: EmbeddedPostgres, script: Path = SCRIPT, **variables: str) -> "subprocess.CompletedProcess[str]":
    command = [str(_binaries() / "psql"), "--no-psqlrc", "-d", server.url(SUPERUSER), "-f", str(script)]
    environment = {name: value for name, value in os.environ.items() if name != "SECRETS_DIR"} | variables
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def state(server: EmbeddedPostgres) -> list[tuple[object, ...]]:
    with server.as_superuser(DATABASE) as cursor:
        cursor.execute("SELECT rolname, rolpassword, rolcanlogin FROM pg_authid ORDER BY 1")
        roles = cursor.fetchall()
        cursor.execute("SELECT datname, datdba, datacl::text FROM pg_database ORDER BY 1")
        return [*roles, *cursor.fetchall()]


def _another_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


OF_A_FILE: dict[str, Callable[[Path], object]] = {
    "is missing": Path.unlink,
    "is empty": lambda file: file.write_text(""),
    "is blank": lambda file: file.write_text(" \n\t\n"),
    "is a folder": _a_folder,
}


@pytest.mark.parametrize("fault", OF_A_FILE)
@pytest.mark.parametrize("role", ROLES)
def test_one_password_that_is_not_there_changes_none(
    server: EmbeddedPostgres, secrets: Path, role: str, fault: str
) -> None:
    before = state(server)
    OF_A_FILE[fault](secrets / SECRETS[role])
    done = run(server, SECRETS_DIR=str(secrets))
    assert done.returncode == 3
    assert SECRETS[role] in done.stderr
    assert "nothing was changed" in done.stderr
    assert state(server) == before


def test_another_folder_changes_nothing(server: EmbeddedPostgres, secrets: Path) -> None:
    before = state(server)
    _another_folder(secrets)
    for variables in ({"SECRETS_DIR": str(secrets)}, {}):
        done = run(server, **variables)
        assert done.returncode == 3
        assert all(name in done.stderr for name in SECRETS.values())
        assert state(server) == before
    for role in ROLES:
        psycopg2.connect(server.url(role)).close()


def test_a_statement_that_fails_takes_the_others_back(server: EmbeddedPostgres, secrets: Path, tmp_path: Path) -> None:
    before = state(server)
    broken = tmp_path / "roles.sql"
    broken.write_text(SCRIPT.read_text().replace("\nREVOKE ALL", "\nSELECT 1 / 0;\nREVOKE ALL"))
    assert run(server, broken, SECRETS_DIR=str(secrets)).returncode == 3
    assert state(server) == before


def test_whole_it_sets_all_passwords_and_none_is_in_the_log(server: EmbeddedPostgres, secrets: Path) -> None:
    done = run(server, SECRETS_DIR=str(secrets))
    assert done.returncode == 0, done.stderr
    for role in ROLES:
        psycopg2.connect(server.url(role), password=f"the new one of {role}").close()
    assert "the new one of" not in (server.home.path / "logs" / "postgres.log").read_text()
