"""What `dlr api` refuses to serve, and what it serves: over TLS too."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import trustme
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from tests.certificates import write_certificate
from tests.waiting import patience, until
from tests.worker.api.test_jobs import a_job
from worker.api.serve import check
from worker.api.tokens import Scope, Tokens
from worker.errors import Code, SetupRefused
from worker.network.port import LOOPBACK, free_port
from worker.settings import Settings

CERTIFIED = {"api_certificate": Path("ours.pem"), "api_key": Path("ours.key")}
SEEN = {"api_address": "10.0.0.7"}
EVERYWHERE = {"api_address": "0.0.0.0"}  # noqa: S104
UNKNOWN_ISSUER, OTHER_HOST = 20, 62
"""OpenSSL's X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY and X509_V_ERR_HOSTNAME_MISMATCH."""

PROXY = {"api_behind_proxy": "10.0.0.1"}


@pytest.fixture(autouse=True)
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Who signed the certificate in the folder where each test here is; another's is there too."""
    monkeypatch.chdir(tmp_path)
    write_certificate(tmp_path, "other")
    return write_certificate(tmp_path)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file with one token."""
    Tokens(tmp_path / "tokens.json").create("ris", [Scope.JOBS_WRITE], None)
    return tmp_path / "tokens.json"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"api_tokens": Path("nobody.json")}, "dlr api token create"),
        ({"api_certificate": Path("ours.pem")}, "DLR_API_KEY"),
        ({"api_key": Path("ours.key")}, "DLR_API_CERTIFICATE"),
        (CERTIFIED | {"api_certificate": Path("away.pem")}, "DLR_API_CERTIFICATE"),
        (CERTIFIED | {"api_key": Path("away.key")}, "DLR_API_KEY"),
        (CERTIFIED | {"api_key": Path("other.key")}, "other.key are not a certificate and its key"),
        (CERTIFIED | {"api_certificate": Path("tokens.json")}, "tokens.json and DLR_API_KEY"),
        (SEEN, "DLR_API_BEHIND_PROXY"),
        (EVERYWHERE, "DLR_API_CERTIFICATE"),
        (EVERYWHERE | {"api_behind_proxy": " , "}, "DLR_API_BEHIND_PROXY"),
        ({"api_address": "dlr.hospital.example"}, "DLR_API_CERTIFICATE"),
    ],
    ids=str,
)
def test_it_is_not_served_with(values: dict[str, Any], named: str, tokens: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        check(Settings(**{"api_tokens": tokens, **values}))
    assert refused.value.code is Code.SETTING_INVALID
    assert named in refused.value.reason


@pytest.mark.parametrize(
    "values",
    [{}, {"api_address": "localhost"}, {"api_address": "::1"}, SEEN | CERTIFIED, EVERYWHERE | PROXY],
    ids=str,
)
def test_it_is_served_with(values: dict[str, Any], tokens: Path) -> None:
    check(Settings(api_tokens=tokens, **values))


# --- as a process


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """Serve the interface as a process; give its port."""
    port, log = free_port(folder / "port"), folder / "log"
    command = [sys.executable, "-m", "worker.cli.main", "api", "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(command, env=os.environ, stdout=output, stderr=output) as process:
        try:
            until(lambda: listens(port) or process.poll() is not None, 60, said=log.read_text)
            assert process.poll() is None, log.read_text()
            yield port
        finally:
            process.terminate()
            assert process.wait(patience(30)) in (0, -15)


def listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex((LOOPBACK, port)) == 0


def why_it_is_not_believed(port: int, context: ssl.SSLContext, name: str) -> int:
    """OpenSSL's code of what is wrong with the certificate (X509_V_ERR_...)."""
    with socket.create_connection((LOOPBACK, port), patience(30)) as caller:
        with pytest.raises(ssl.SSLCertVerificationError) as wrong:
            context.wrap_socket(caller, server_hostname=name)
        return wrong.value.verify_code


@pytest.mark.slow
def test_it_takes_jobs_over_tls_by_its_certificate_and_nothing_without_tls(
    settings: Settings,
    sessions: sessionmaker[Session],
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable, value in CERTIFIED.items():
        monkeypatch.setenv(f"DLR_{variable.upper()}", str(value))
    token = Tokens(settings.api_tokens).create("ris", [Scope.JOBS_WRITE], None)
    asked = {"json": a_job(), "headers": {"Authorization": f"Bearer {token}"}, "timeout": patience(30)}
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with running(tmp_path) as port:
        with pytest.raises(httpx2.TransportError):
            httpx2.post(f"http://{LOOPBACK}:{port}/v1/jobs", **asked)
        assert why_it_is_not_believed(port, ssl.create_default_context(), LOOPBACK) == UNKNOWN_ISSUER
        assert why_it_is_not_believed(port, trusting, "dlr.hospital.example") == OTHER_HOST
        answer = httpx2.post(f"https://{LOOPBACK}:{port}/v1/jobs", verify=trusting, **asked)
    assert answer.status_code == 202
    with sessions() as session:
        assert [str(one) for one in session.scalars(text("SELECT id FROM study"))] == [answer.json()["study_id"]]
