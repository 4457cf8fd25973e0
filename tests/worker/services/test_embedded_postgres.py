import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg2
import pytest

from db.schema.roles import OWNER, READER, ROLES, WEB, WRITER
from tests.conftest import Database
from tests.waiting import patience
from worker.errors import Code, SetupRefused
from worker.network.port import LOOPBACK
from worker.services.embedded_postgres import EmbeddedPostgres
from worker.services.home import Home
from worker.services.launch import Account, wrapped

pytestmark = pytest.mark.slow

CAP_DAC_READ_SEARCH = 2
NOBODY = 65534


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """A server as `dlr up` has it; the run's own is not set up to keep anything."""
    server = EmbeddedPostgres(Home(tmp_path_factory.mktemp("installation") / "a home, später"))
    yield server
    server.stop()


@pytest.fixture
def server(installation: EmbeddedPostgres) -> EmbeddedPostgres:
    """The installation's server, which runs whatever the last test did to it."""
    if not installation.is_running:
        installation.start()
    ask(installation.url(OWNER), "DROP TABLE IF EXISTS kept")
    return installation


def ask(url: str, query: str) -> object:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(query)
            row = cursor.fetchone() if cursor.description else None
            return row[0] if row else None
    finally:
        connection.close()


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    pid_file = server.home.path / "postgres" / "data" / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text().split()[0]))


def test_what_was_stored_is_there_after_a_stop_and_a_start_on_the_same_port(server: EmbeddedPostgres) -> None:
    port, url = server.port, server.url(OWNER)
    ask(url, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert not server.is_running
    server.start()
    assert server.port == port
    assert ask(server.url(OWNER), "SELECT answer FROM kept") == 42


@pytest.mark.parametrize("pid_now_belongs_to_somebody_else", [False, True])
def test_it_starts_after_it_was_killed(server: EmbeddedPostgres, pid_now_belongs_to_somebody_else: bool) -> None:
    ask(server.url(OWNER), "CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster(server).kill()
    pid_file = server.home.path / "postgres" / "data" / "postmaster.pid"
    if pid_now_belongs_to_somebody_else:
        pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().split()[0], str(os.getpid()), 1))
    server.start()
    assert ask(server.url(OWNER), "SELECT answer FROM kept") == 42


def test_a_server_that_an_earlier_run_left_behind_is_stopped_first(server: EmbeddedPostgres) -> None:
    ask(server.url(OWNER), "CREATE TABLE kept AS SELECT 42 AS answer")
    orphan = postmaster(server)
    later = EmbeddedPostgres(server.home)
    later.start()
    try:
        assert not server.is_running
        assert postmaster(later).pid != orphan.pid
        assert ask(later.url(OWNER), "SELECT answer FROM kept") == 42
    finally:
        later.stop()


def test_it_does_not_outlive_the_process_that_started_it(server: EmbeddedPostgres) -> None:
    program = (
        "import signal, sys; from pathlib import Path; from worker.services.home import Home; "
        "from worker.services.embedded_postgres import EmbeddedPostgres; "
        "server = EmbeddedPostgres(Home(Path(sys.argv[1]))); server.start(); print('up', flush=True); signal.pause()"
    )
    server.stop()
    starter = subprocess.Popen([sys.executable, "-c", program, str(server.home.path)], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    left = postmaster(server)
    starter.send_signal(signal.SIGKILL)
    starter.communicate()
    assert psutil.wait_procs([left], timeout=patience(20))[1] == [] or left.status() == psutil.STATUS_ZOMBIE


def test_it_listens_on_the_loopback_interface_alone_and_on_no_unix_socket(server: EmbeddedPostgres) -> None:
    listening = [item for item in postmaster(server).net_connections("all") if item.status == psutil.CONN_LISTEN]
    assert [(item.laddr.ip, item.laddr.port) for item in listening] == [(LOOPBACK, server.port)]
    assert postmaster(server).net_connections("unix") == []


@pytest.mark.parametrize("user", [*ROLES, "postgres"])
def test_a_wrong_password_is_refused(server: EmbeddedPostgres, user: str) -> None:
    wrong = server.url(user).replace(server.home.secret(user), "wrong")
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(wrong)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("data_checksums", "on"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_it_is_set_up_to_keep_data(server: EmbeddedPostgres, setting: str, value: str) -> None:
    assert ask(server.url(OWNER), f"SHOW {setting}") == value


def test_no_role_is_a_superuser_or_may_make_roles_and_the_owner_owns_the_database(server: EmbeddedPostgres) -> None:
    powers = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'dlr%' AND (rolsuper OR rolcreaterole OR rolcreatedb)"
    assert ask(server.url(READER), powers) == 0
    owner = "SELECT pg_get_userbyid(datdba)::text FROM pg_database WHERE datname = 'dlr'"
    assert ask(server.url(READER), owner) == OWNER


def test_the_owner_can_create_tables_and_the_others_can_not(empty_database: Database) -> None:
    ask(empty_database.owner_url, "CREATE TABLE mine ()")
    for url in (empty_database.writer_url, empty_database.reader_url):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(url, "CREATE TABLE theirs ()")


def test_a_migrated_database_is_a_copy_of_its_own(database: Database) -> None:
    assert ask(database.reader_url, "SELECT count(*) FROM worklist") == 0
    assert ask(database.writer_url, "SELECT current_user::text") == WRITER


def test_a_role_that_is_newer_than_the_database_is_let_in_at_the_next_start(server: EmbeddedPostgres) -> None:
    with server.as_superuser() as cursor:
        cursor.execute("REVOKE ALL ON DATABASE dlr FROM dlr_web; DROP ROLE dlr_web")
    server.stop()
    server.start()
    assert ask(server.url(WEB), "SELECT current_user::text") == WEB


def test_a_value_of_a_failed_statement_does_not_reach_the_log(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg2.DataError):
        ask(server.url(WRITER), "SELECT 'Doe^Jane'::integer")
    assert "Doe^Jane" not in (server.home.path / "logs" / "postgres.log").read_text()


def test_a_password_is_in_a_file_of_its_user_alone_and_not_in_the_process_list(server: EmbeddedPostgres) -> None:
    secrets = list((server.home.path / "secrets").iterdir())
    assert {file.name for file in secrets} >= {*ROLES, "postgres"}
    shown = " ".join(postmaster(server).cmdline())
    for file in secrets:
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.read_text() not in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test shows an ordinary user's server")
def test_roots_server_runs_as_another_user_below_folders_that_only_root_may_enter(server: EmbeddedPostgres) -> None:
    assert server.home.path.parent.stat().st_mode & 0o077 == 0
    assert postmaster(server).uids().real != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test shows an ordinary user's server")
def test_an_ordinary_user_can_run_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    os.chown(home, NOBODY, NOBODY)
    program = (
        "import os, sys; from pathlib import Path; from worker.services.home import Home; "
        "from worker.services.embedded_postgres import EmbeddedPostgres; "
        "from worker.services.embedded_redis import EmbeddedRedis; "
        "home = Home(Path(sys.argv[1])); servers = EmbeddedPostgres(home), EmbeddedRedis(home)\n"
        "for server in (*servers, *servers): server.start(); server.stop()\n"
        "print('as user', os.geteuid())"
    )
    # The capability lets the test read a Python below /root; the program itself sees an ordinary user.
    account = Account(NOBODY, NOBODY, CAP_DAC_READ_SEARCH)
    argv = wrapped([sys.executable, "-c", program, str(home)], death_signal=signal.SIGKILL, account=account)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=patience(60), check=False, cwd=Path.cwd())
    assert done.stdout == f"as user {NOBODY}\n", done.stderr
    assert (home / "postgres" / "data").stat().st_uid == NOBODY


def test_a_cluster_of_another_major_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(SetupRefused) as refused:
        EmbeddedPostgres(Home(tmp_path)).start()
    assert refused.value.code is Code.SETTING_INVALID
    assert "16" in refused.value.reason
    assert (data / "PG_VERSION").read_text() == "16\n"
