"""What is on record goes to a collector, over each transport, in its order, and none of it is missed."""

import os
import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
import trustme
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.audit import Audited
from db.writes import audit
from tests.conftest import Database
from tests.db.samples import writing
from tests.waiting import until
from worker.audit.forwarder import Forwarder, collector_of
from worker.audit.message import Source
from worker.audit.syslog import parse_collector, syslog_message
from worker.errors import Code, SetupRefused
from worker.network.port import free_port
from worker.settings import Settings

pytestmark = pytest.mark.slow

Sessions = sessionmaker[Session]
HEAD = re.compile(
    rb"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [!-~]+ dlr \d+ DICOM\+RFC3881 - \xef\xbb\xbf<AuditMessage>"
)


@dataclass
class Repository:
    """A collector: keeps each message; ``breaks``: it resets the connection instead of reading to its end."""

    port: int = 0
    breaks: bool = False
    heard: list[bytes] = field(default_factory=list)

    @property
    def actors(self) -> list[str]:
        return [re.findall(rb'UserID="([^"]*)"', one)[0].decode() for one in self.heard]

    def read(self, stream: bytes) -> None:
        """Read frames, each with its length before it (RFC 6587, 3.4.1)."""
        while stream:
            length, _, rest = stream.partition(b" ")
            self.heard.append(rest[: int(length)])
            stream = rest[int(length) :]


@contextmanager
def listening(repository: Repository, tls: ssl.SSLContext | None = None) -> Iterator[Repository]:
    server = socket.create_server(("127.0.0.1", repository.port))
    repository.port = server.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                if repository.breaks:
                    connection.recv(10)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    continue
                spoken = connection if tls is None else tls.wrap_socket(connection, server_side=True)
                with spoken, spoken.makefile("rb") as stream:
                    repository.read(stream.read())

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield repository
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()


@pytest.fixture
def sessions(database: Database) -> Iterator[Sessions]:
    with writing(database) as sessions:
        yield sessions


def forwarder(sessions: Sessions, url: str, ca: Path | None = None, timeout_s: float = 5) -> Forwarder:
    collector = collector_of(Settings(audit_collector=url, audit_ca=ca, audit_timeout_s=timeout_s))
    assert collector is not None
    return Forwarder(collector, sessions, Source("dlr"), 0.1, lambda work: work())


def noted(sessions: Sessions, *names: str) -> None:
    for name in names:
        with sessions.begin() as session:
            audit.note(session, Audited.SIGNED_IN, name, role="reader", address="10.0.0.7")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[trustme.CA, Path]:
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return authority, path


def test_messages_go_by_tls_each_with_its_length_and_each_once(
    sessions: Sessions, authority: tuple[trustme.CA, Path]
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert("localhost").configure_cert(tls)
    noted(sessions, "anna", "bea", "Zoë")
    with listening(Repository(), tls) as repository:
        sending = forwarder(sessions, f"tls://localhost:{repository.port}", authority[1])
        assert sending.work().sent == 3
        assert sending.work().sent == 0
        until(lambda: len(repository.heard) == 3)
    assert repository.actors == ["anna", "bea", "Zoë"]
    assert all(HEAD.match(one) for one in repository.heard)


def test_a_collector_that_is_not_who_it_says_is_told_nothing(
    sessions: Sessions, authority: tuple[trustme.CA, Path]
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority[0].issue_cert("elsewhere.example").configure_cert(tls)
    noted(sessions, "anna")
    server = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = server.accept()
        with connection, pytest.raises(OSError):
            tls.wrap_socket(connection, server_side=True).recv(1)

    thread = threading.Thread(target=answer)
    thread.start()
    away = forwarder(sessions, f"tls://localhost:{server.getsockname()[1]}", authority[1]).work().away
    thread.join()
    server.close()
    assert away is not None
    assert away.code is Code.COLLECTOR_UNAVAILABLE


def test_what_was_noted_while_the_collector_was_away_is_sent_in_its_order_once_it_is_back(
    sessions: Sessions, tmp_path: Path
) -> None:
    names = [f"reader-{number:03}" for number in range(130)]
    with sessions.begin() as session:
        for name in names:
            audit.note(session, Audited.SIGNED_IN, name)
    port = free_port(tmp_path / "port")
    sending = forwarder(sessions, f"tcp://127.0.0.1:{port}")
    assert sending.work().away is not None
    with listening(Repository(port)) as repository:
        assert [sending.work().sent for _ in range(3)] == [100, 30, 0]
        until(lambda: len(repository.heard) == len(names))
    assert repository.actors == names


def test_where_the_connection_breaks_nothing_counts_as_sent(sessions: Sessions) -> None:
    noted(sessions, *(f"reader-{number}" for number in range(20)))
    with listening(Repository(breaks=True)) as repository:
        sending = forwarder(sessions, f"tcp://127.0.0.1:{repository.port}")
        assert sending.work().away is not None
        repository.breaks = False
        assert sending.work().sent == 20
        until(lambda: len(repository.heard) == 20)


def test_a_collector_that_never_ends_its_side_is_believed_once_its_time_is_over(sessions: Sessions) -> None:
    noted(sessions, "anna")
    with socket.create_server(("127.0.0.1", 0)) as server:
        sending = forwarder(sessions, f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout_s=0.2)
        assert [sending.work().sent for _ in range(2)] == [1, 0]


def test_a_defect_ends_no_process_and_what_a_later_version_noted_waits_for_one_that_knows_it(
    sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    noted(sessions, "anna")
    with sessions.begin() as session:
        session.execute(text("INSERT INTO audit_event (event, actor) VALUES ('not yet known', 'bea')"))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        sending = forwarder(sessions, f"udp://127.0.0.1:{server.getsockname()[1]}")
        assert [sending.work().sent for _ in range(2)] == [1, 0]
    broken = replace(forwarder(sessions, "udp://127.0.0.1:9"), sessions=cast("Sessions", None))
    thread = threading.Thread(target=broken.run)
    thread.start()
    until(lambda: "because of a defect" in caplog.text)
    broken.stopped.set()
    thread.join()


def test_two_forwarders_at_once_send_nothing_twice(sessions: Sessions) -> None:
    noted(sessions, "anna", "bea")
    with sessions.begin() as other:
        [taken] = audit.not_sent(other, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            assert forwarder(sessions, f"udp://127.0.0.1:{server.getsockname()[1]}").work().sent == 1
            assert b'UserID="bea"' in server.recv(65536)
    assert taken.actor == "anna"


def test_a_datagram_has_one_message(sessions: Sessions) -> None:
    noted(sessions, "anna")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        assert forwarder(sessions, f"udp://127.0.0.1:{server.getsockname()[1]}").work().sent == 1
        assert HEAD.match(server.recv(65536))


@pytest.mark.parametrize(
    "url", ["http://host:1", "host:6514", "tls://", "tls://user@host", "tls://host:x", "tls://h/x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SetupRefused, match="setting_invalid"):
        parse_collector(url, 1, ssl.create_default_context())


def test_ports_are_those_of_the_transports() -> None:
    tls = ssl.create_default_context()
    assert [parse_collector(f"{way}://h", 1, tls).port for way in ("tls", "tcp", "udp")] == [6514, 6514, 514]


RSYSLOG = """
module(load="imtcp")
input(type="imtcp" port="{port}" address="127.0.0.1")
global(workDirectory="{folder}" maxMessageSize="64k")
template(name="whole" type="string" string="%syslogfacility-text% %syslogseverity-text% %app-name% %msgid% %msg%\\n")
action(type="omfile" file="{folder}/heard" template="whole")
"""


def test_rsyslog_takes_them(sessions: Sessions, tmp_path: Path) -> None:
    rsyslogd = shutil.which("rsyslogd") or shutil.which("rsyslogd", path="/usr/sbin")
    if rsyslogd is None:
        assert os.environ.get("DLR_TEST_TOOLS") != "required", "rsyslog is not installed"
        pytest.skip("rsyslog is not installed")
    port = free_port(tmp_path / "port")
    config = tmp_path / "rsyslog.conf"
    config.write_text(RSYSLOG.format(port=port, folder=tmp_path))
    command = [rsyslogd, "-n", "-f", str(config), "-i", str(tmp_path / "pid")]
    program = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        noted(sessions, "anna", "Zoë")
        sending = forwarder(sessions, f"tcp://127.0.0.1:{port}")
        until(lambda: sending.work().sent == 2, 30)
        heard = tmp_path / "heard"
        until(lambda: heard.exists() and heard.read_text().count("</AuditMessage>") == 2, 30)
        first, second = heard.read_text().splitlines()
        assert first.startswith("authpriv notice dlr DICOM+RFC3881")
        assert 'UserID="anna"' in first
        assert 'UserID="Zoë"' in second
    finally:
        program.terminate()
        program.wait(20)


def test_a_host_without_a_name_has_the_nil_value() -> None:
    from datetime import UTC, datetime

    assert b" - dlr " in syslog_message("x", datetime.now(UTC), "  ")
