"""What `dlr web` refuses to serve, and that it serves: over TLS and behind a proxy."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
import pytest
import trustme
from pydantic import HttpUrl

from tests.certificates import write_certificate
from tests.command_line import clean_environment, dlr
from tests.conftest import Database
from tests.waiting import patience, until
from tests.worker.web.conftest import PASSWORD
from worker.errors import Code, SetupRefused
from worker.network.addresses import is_loopback
from worker.network.http_connections import CONNECTIONS
from worker.network.port import free_port
from worker.settings import Settings, get_settings
from worker.web.serve import check, hosts_of, page_url

pytestmark = pytest.mark.slow

CERTIFIED = {"web_certificate": Path("ours.pem"), "web_key": Path("ours.key")}
SEEN = {"web_address": "10.0.0.7"}
EVERYWHERE = {"web_address": "0.0.0.0"}  # noqa: S104
PROXY = {"web_behind_proxy": "10.0.0.1"}
NAMED = {"web_hosts": "worklist.hospital.example"}
ROLES = {"web_roles": "radiology=radiologist"}
OPENID = {"web_oidc_issuer": HttpUrl("https://sso.example"), "web_oidc_client_id": "dlr-web", **ROLES}
BY_PROXY = {"web_proxy_user_header": "X-Remote-User", **ROLES}


@pytest.fixture(autouse=True)
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Who signed the certificate in the folder where each test here is; another's is there too."""
    monkeypatch.chdir(tmp_path)
    write_certificate(tmp_path, "other")
    return write_certificate(tmp_path)


def of(accounts_file: Path, **values: Any) -> Settings:
    return Settings(web_accounts=accounts_file, **values)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        (OPENID | {"web_oidc_client_id": None}, "DLR_WEB_OIDC_CLIENT_ID"),
        (OPENID | {"web_roles": ""}, "DLR_WEB_ROLES"),
        (OPENID | {"web_roles": "radiology=chief"}, "DLR_WEB_ROLES"),
        (OPENID | BY_PROXY, "two ways to sign in"),
        (BY_PROXY, "DLR_WEB_BEHIND_PROXY"),
        ({"web_accounts": Path("nobody.json")}, "dlr web user add NAME"),
        ({"web_certificate": Path("ours.pem")}, "DLR_WEB_KEY"),
        ({"web_key": Path("ours.key")}, "DLR_WEB_CERTIFICATE"),
        (CERTIFIED | {"web_key": Path("away.key")}, "DLR_WEB_KEY"),
        (CERTIFIED | {"web_key": Path("other.key")}, "other.key are not a certificate and its key"),
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


@pytest.mark.parametrize("values", [OPENID, BY_PROXY | PROXY | NAMED], ids=str)
def test_who_signs_in_elsewhere_needs_no_account_here(values: dict[str, Any], tmp_path: Path) -> None:
    check(of(tmp_path / "none.json", **values))


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


def test_without_an_account_the_command_says_how_to_make_one() -> None:
    done = dlr("web")
    assert done.returncode == 1
    assert "dlr web user add NAME" in done.stderr
    assert "Traceback" not in done.stderr


def test_accounts_are_added_listed_and_removed_by_a_script() -> None:
    assert dlr("web", "user", "add", "anna", stdin=f"{PASSWORD}\n").returncode == 0
    short = dlr("web", "user", "add", "bea", stdin="short\n")
    assert (short.returncode, "short" in short.stderr.replace("shorter", "")) == (1, False)
    for name, role in (("chief", "administrator"), ("dora", "radiologist")):
        assert dlr("web", "user", "add", name, "--role", role, stdin=f"{PASSWORD}\n").returncode == 0
    listed = dlr("web", "user", "list", "--format", "csv").stdout
    assert listed.split() == ["name,role", "anna,reader", "chief,administrator", "dora,radiologist"]
    assert dlr("web", "user", "remove", "anna").returncode == 0
    assert dlr("web", "user", "remove", "anna").returncode == 1
    assert PASSWORD not in get_settings().web_accounts.read_text()


@dataclass(frozen=True)
class Page:
    """A page that is served, and what it has said."""

    url: str
    log: Path
    process: int


@contextmanager
def running(
    folder: Path, accounts_file: Path, scheme: str, context: ssl.SSLContext | None = None, **variables: str
) -> Iterator[Page]:
    """Serve the page as a process; nothing that is asked of it here needs the database."""
    url = f"{scheme}://127.0.0.1:{(port := free_port(folder / 'port'))}"
    environment = {
        **clean_environment(),
        "DLR_HOME": str(folder / "home"),
        "DLR_WEB_PORT": str(port),
        "DLR_WEB_ACCOUNTS": str(accounts_file),
        "DLR_WEB_DATABASE_URL": "postgresql://dlr_web@127.0.0.1:9/dlr",
        **variables,
    }
    command = [sys.executable, "-m", "worker.cli.main", "web"]
    log_file = folder / "log"
    with (
        log_file.open("wb") as log,
        subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            until(lambda: answers(f"{url}/healthz", context) or process.poll() is not None, 60, said=log_file.read_text)
            assert process.poll() is None, log_file.read_text()
            yield Page(url, log_file, process.pid)
        finally:
            process.terminate()
            assert process.wait(patience(30)) in (0, -15)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, accounts_file: Path) -> Iterator[Page]:
    """The page as `dlr up` serves it, to this machine alone."""
    with running(tmp_path_factory.mktemp("page"), accounts_file, "http") as page:
        yield page


def answers(url: str, context: ssl.SSLContext | None = None) -> bool:
    try:
        return httpx2.get(url, timeout=patience(5), verify=context or True).status_code < 500
    except httpx2.HTTPError:
        return False


def test_it_speaks_tls_with_its_certificate_and_nothing_else(
    tmp_path: Path, accounts_file: Path, authority: trustme.CA
) -> None:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    files = {f"DLR_{variable.upper()}": str(tmp_path / file) for variable, file in CERTIFIED.items()}
    with running(tmp_path, accounts_file, "https", context, **files) as page:
        assert not answers(page.url.replace("https", "http") + "/healthz")
        headers = httpx2.get(f"{page.url}/sign-in", verify=context).headers
    assert "Secure" in headers["set-cookie"]
    assert headers["strict-transport-security"]


def test_a_proxy_is_believed_about_who_asks_and_nobody_else_is(tmp_path: Path, accounts_file: Path) -> None:
    settings = {"DLR_WEB_BEHIND_PROXY": "127.0.0.2", "DLR_WEB_HOSTS": "worklist.hospital.example"}
    with running(tmp_path, accounts_file, "http", **settings) as page:
        for caller, believed in (("127.0.0.2", "10.9.8.7"), ("127.0.0.1", "127.0.0.1")):
            transport = httpx2.HTTPTransport(local_address=caller)
            with httpx2.Client(
                base_url=page.url, transport=transport, headers={"X-Forwarded-For": "10.9.8.7"}
            ) as client:
                form = client.get("/sign-in")
                # Its cookies are for TLS alone, which the proxy would speak.
                client.headers["Cookie"] = form.headers["set-cookie"].split(";")[0]
                token = form.text.split('name="token" value="')[1].split('"')[0]
                answer = client.post("/sign-in", data={"token": token, "name": "reader", "password": "x"})
            assert answer.status_code == 401
            assert page.log.read_text().count(f"sign-in refused from {believed}: reader") == 1
        assert page.log.read_text().count("sign-in refused") == 2


def test_an_address_that_somebody_made_up_is_not_in_the_log(page: Page) -> None:
    for address in ("/?accession_number=ACC4711", "/ACC4711", "/studies/ACC4711"):
        assert answers(page.url + address)
    assert "ACC4711" not in page.log.read_text()


def signed_in(page: Page) -> httpx2.Client:
    """Sign in, over a connection a request: any of the page's processes may answer each of them."""
    client = httpx2.Client(base_url=page.url, limits=httpx2.Limits(max_keepalive_connections=0), timeout=patience(30))
    token = client.get("/sign-in").text.split('name="token" value="')[1].split('"')[0]
    answer = client.post("/sign-in", data={"token": token, "name": "reader", "password": PASSWORD})
    assert answer.status_code == 303
    return client


def processes_of(parent: int) -> set[int]:
    alive = (child for child in psutil.Process(parent).children() if child.status() != psutil.STATUS_ZOMBIE)
    return {child.pid for child in alive if "spawn_main" in " ".join(child.cmdline())}


def test_several_processes_know_who_signed_in_and_one_that_is_killed_is_replaced(
    tmp_path: Path, accounts_file: Path, database: Database
) -> None:
    several = {"DLR_WEB_WORKERS": "2", "DLR_WEB_DATABASE_URL": database.web_url}
    with running(tmp_path, accounts_file, "http", **several) as page, closing(signed_in(page)) as client:
        until(lambda: len(processes_of(page.process)) == 2, 60, said=page.log.read_text)
        assert {client.get("/").status_code for _ in range(12)} == {200}
        killed = min(processes_of(page.process))
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(processes_of(page.process) - {killed}) == 2, 60, said=page.log.read_text)
        until(lambda: answers(f"{page.url}/healthz"), 30)
        assert {client.get("/").status_code for _ in range(12)} == {200}
        token = client.get("/").text.split('name="token" value="')[1].split('"')[0]
        assert client.post("/sign-out", data={"token": token}).status_code == 303
        assert {client.get("/").status_code for _ in range(6)} == {303}


def connected(page: Page, address: str = "127.0.0.1") -> socket.socket:
    port = urlsplit(page.url).port or 0
    return socket.create_connection(("127.0.0.1", port), patience(30), source_address=(address, 0))


def status_for(peer: socket.socket) -> bytes:
    peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
    return peer.makefile("rb").readline()


def test_one_address_that_takes_all_connections_keeps_no_other_address_out(page: Page) -> None:
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(connected(page))
        neighbour = stack.enter_context(connected(page, "127.0.0.2"))
        assert status_for(neighbour) == b"HTTP/1.1 204 No Content\r\n"


def test_a_request_with_a_head_of_megabytes_is_refused_before_it_is_all_there(page: Page) -> None:
    with connected(page, "127.0.0.3") as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Filler: ")
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            peer.sendall(bytes([65]) * (64 << 20))
