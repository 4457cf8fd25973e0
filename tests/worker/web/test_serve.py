"""What `dlr web` refuses to serve, and that it serves: over TLS, behind a proxy, and as the role dlr_web alone."""

import os
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
import trustme

from tests.worker.web.conftest import PASSWORD
from worker.errors import Code, SetupRefused
from worker.services.port import free_port
from worker.settings import Settings, get_settings
from worker.web.connections import CONNECTIONS
from worker.web.serve import check, hosts_of, is_loopback, page_url

CERTIFIED = {"web_certificate": Path(__file__), "web_key": Path(__file__)}
SEEN = {"web_address": "10.0.0.7"}
EVERYWHERE = {"web_address": "0.0.0.0"}  # noqa: S104
PROXY = {"web_behind_proxy": "10.0.0.1"}
NAMED = {"web_hosts": "worklist.hospital.example"}


def of(accounts_file: Path, **values: Any) -> Settings:
    return Settings(web_accounts=accounts_file, **values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"web_accounts": Path("nobody.json")}, "dlr web user add NAME"),
        ({"web_certificate": Path(__file__)}, "DLR_WEB_KEY"),
        ({"web_key": Path(__file__)}, "DLR_WEB_CERTIFICATE"),
        (CERTIFIED | {"web_key": Path("away.pem")}, "DLR_WEB_KEY"),
        (SEEN, "DLR_WEB_CERTIFICATE"),
        (EVERYWHERE, "DLR_WEB_CERTIFICATE"),
        (EVERYWHERE | NAMED, "DLR_WEB_BEHIND_PROXY"),
        (EVERYWHERE | CERTIFIED, "DLR_WEB_HOSTS"),
        (PROXY, "DLR_WEB_HOSTS"),
        ({"web_address": "worklist.hospital.example"}, "DLR_WEB_CERTIFICATE"),
    ],
    ids=str,
)
def test_it_is_not_served_with(values: dict[str, Any], named: str, accounts_file: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        check(of(**{"accounts_file": accounts_file, **values}) if "web_accounts" not in values else Settings(**values))
    assert refused.value.code is Code.SETTING_INVALID
    assert named in refused.value.reason


@pytest.mark.parametrize(
    "values",
    [{}, {"web_address": "localhost"}, {"web_address": "::1"}, SEEN | CERTIFIED, EVERYWHERE | CERTIFIED | NAMED,
     EVERYWHERE | PROXY | NAMED, PROXY | NAMED],
    ids=str,
)  # fmt: skip
def test_it_is_served_with(values: dict[str, Any], accounts_file: Path) -> None:
    check(of(accounts_file, **values))


@pytest.mark.parametrize(
    ("address", "loopback"),
    [("127.0.0.1", True), ("127.8.9.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False),  # noqa: S104
     ("::", False), ("10.0.0.7", False), ("example.org", False)],
)  # fmt: skip
def test_an_address_of_this_machine_alone(address: str, loopback: bool) -> None:
    assert is_loopback(address) is loopback


def test_the_hosts_are_the_names_that_are_set_and_this_machines() -> None:
    settings = Settings(web_hosts=" a.example, b.example ,", web_address="10.0.0.7")
    assert hosts_of(settings) == ["a.example", "b.example", "10.0.0.7", "localhost", "127.0.0.1", "[::1]"]


def test_its_address() -> None:
    assert page_url(Settings(web_port=81)) == "http://127.0.0.1:81"
    assert page_url(Settings(web_address="::1", **CERTIFIED), 82) == "https://[::1]:82"


# --- as a process


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "worker.cli.main", "web", *arguments]


def test_without_an_account_the_command_says_how_to_make_one() -> None:
    done = subprocess.run(command(), env=dict(os.environ), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "dlr web user add NAME" in done.stderr
    assert "Traceback" not in done.stderr


def test_accounts_are_added_listed_and_removed_by_a_script() -> None:
    def dlr(*arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            command("user", *arguments), env=dict(os.environ), input=text, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip

    assert dlr("add", "anna", text=f"{PASSWORD}\n").returncode == 0
    short = dlr("add", "bea", text="short\n")
    assert (short.returncode, "short" in short.stderr.replace("shorter", "")) == (1, False)
    assert dlr("add", "chief", "--role", "administrator", text=f"{PASSWORD}\n").returncode == 0
    assert dlr("list", "--format", "csv").stdout.split() == ["name,role", "anna,reader", "chief,administrator"]
    assert dlr("remove", "anna").returncode == 0
    assert dlr("remove", "anna").returncode == 1
    assert PASSWORD not in get_settings().web_accounts.read_text()


@contextmanager
def running(tmp_path: Path, scheme: str, context: ssl.SSLContext | None = None, **variables: str) -> Iterator[str]:
    port = free_port(tmp_path / "port")
    url = f"{scheme}://127.0.0.1:{port}"
    environment = {**os.environ, "DLR_WEB_PORT": str(port), **variables}
    with (
        (tmp_path / "log").open("wb") as log,
        subprocess.Popen(command(), env=environment, cwd=tmp_path, stdout=log, stderr=log) as process,
    ):
        try:
            limit = time.monotonic() + 60
            while not answers(f"{url}/healthz", context):
                assert process.poll() is None, (tmp_path / "log").read_text()
                assert time.monotonic() < limit
                time.sleep(0.1)
            yield url
        finally:
            process.terminate()
            assert process.wait(30) in (0, -15)


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    try:
        return httpx2.get(url, timeout=5, verify=context or True).status_code < 500
    except httpx2.HTTPError:
        return False


def test_it_speaks_tls_with_its_certificate_and_nothing_else(settings: Settings, tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "page.pem"))
    certificate.private_key_pem.write_to_path(str(tmp_path / "page.key"))
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = {"DLR_WEB_CERTIFICATE": str(tmp_path / "page.pem"), "DLR_WEB_KEY": str(tmp_path / "page.key")}
    with running(tmp_path, "https", context, **files) as url:
        assert not answers(url.replace("https", "http") + "/healthz")
        headers = httpx2.get(f"{url}/sign-in", verify=context).headers
    assert "Secure" in headers["set-cookie"]
    assert headers["strict-transport-security"]


def test_a_proxy_is_believed_about_who_asks_and_nobody_else_is(settings: Settings, tmp_path: Path) -> None:
    def refused_from(url: str) -> str:
        with httpx2.Client(base_url=url, headers={"X-Forwarded-For": "10.9.8.7"}) as client:
            page = client.get("/sign-in")
            # Its cookies are for TLS alone, which the proxy would speak.
            client.headers["Cookie"] = page.headers["set-cookie"].split(";")[0]
            token = page.text.split('name="token" value="')[1].split('"')[0]
            assert client.post("/sign-in", data={"token": token, "name": "reader", "password": "x"}).status_code == 401
        return (tmp_path / "log").read_text()

    hosts = {"DLR_WEB_HOSTS": "worklist.hospital.example"}
    with running(tmp_path, "http", DLR_WEB_BEHIND_PROXY="127.0.0.1", **hosts) as url:
        assert "sign-in refused from 10.9.8.7: reader" in refused_from(url)
    with running(tmp_path, "http", DLR_WEB_BEHIND_PROXY="10.0.0.1", **hosts) as url:
        assert "sign-in refused from 127.0.0.1: reader" in refused_from(url)


def test_an_address_that_somebody_made_up_is_not_in_the_log(settings: Settings, tmp_path: Path) -> None:
    with running(tmp_path, "http") as url:
        for address in ("/?accession_number=ACC4711", "/ACC4711", "/studies/ACC4711"):
            answers(url + address)
    assert "ACC4711" not in (tmp_path / "log").read_text()


def connected(url: str, address: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), 30, source_address=(address, 0))


def status_for(peer: socket.socket) -> bytes:
    peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    return peer.makefile("rb").readline()


def test_one_address_that_takes_all_connections_keeps_no_other_address_out(settings: Settings, tmp_path: Path) -> None:
    with running(tmp_path, "http") as url, ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(connected(url))
        neighbour = stack.enter_context(connected(url, "127.0.0.2"))
        assert status_for(neighbour) == b"HTTP/1.1 204 No Content\r\n"


def test_a_request_with_a_head_of_megabytes_is_refused_before_it_is_all_there(
    settings: Settings, tmp_path: Path
) -> None:
    with running(tmp_path, "http") as url, socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), 30) as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: ")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            peer.sendall(bytes([65]) * (64 << 20))
