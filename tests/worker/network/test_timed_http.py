"""An answer has one time for all of it, however slowly a server sends it: over real sockets, with and without TLS."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests
import trustme

from tests.waiting import pace, patience
from worker.network.timed_http import TimedAnswers

TRICKLE_S = 0.02
ENDS_S = patience(20.0)
"""When a server that nobody gives up stops by itself."""

HEAD = b"HTTP/1.1 200 OK\r\n"
SLOW_S = pace(0.3)
"""What a slow server takes to answer: one call is well within its time, and four of them are longer."""

TRICKLES = {
    "status": b"",
    "header": HEAD + b"X-Slow: ",
    "interim answers": b"",
    "body": HEAD + b"Content-Length: 100000\r\n\r\n",
    "size of a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;",
    "trailer": HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Slow: ",
}


@contextmanager
def trickling(kind: str, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer each call at once with the beginning, and then with a byte now and then."""
    each = b"HTTP/1.1 100 Continue\r\n\r\n" if kind == "interim answers" else b"a"

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            peer = connection if context is None else context.wrap_socket(connection, server_side=True)
            peer.recv(1 << 16)
            peer.sendall(TRICKLES[kind])
            limit = time.monotonic() + ENDS_S
            while time.monotonic() < limit:
                peer.sendall(each)
                time.sleep(TRICKLE_S)  # which is what such a server does
            peer.close()

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield f"http{'s' if context else ''}://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


def given_up_after(url: str, timeout_s: float, silent_s: float = 60.0, ca: Path | None = None) -> float:
    started = time.monotonic()
    with requests.Session() as session:
        session.trust_env = False
        session.mount(url, TimedAnswers(silent_s))
        verify = True if ca is None else str(ca)
        with pytest.raises(requests.RequestException):
            session.get(url, timeout=(patience(2), timeout_s), verify=verify).raise_for_status()
    return time.monotonic() - started


@pytest.mark.parametrize("kind", TRICKLES)
def test_a_server_that_sends_a_byte_now_and_then_is_given_up_in_time(kind: str) -> None:
    with trickling(kind) as url:
        assert 0.2 < given_up_after(url, 0.3) < ENDS_S / 2


def test_over_tls_it_is_given_up_as_well(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    with trickling("header", context) as url:
        assert 0.2 < given_up_after(url, 0.3, ca=tmp_path / "ca.pem") < ENDS_S / 2


def test_a_server_that_is_silent_is_given_up_before_its_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert 0.2 < given_up_after(f"http://127.0.0.1:{listener.getsockname()[1]}/", 30, silent_s=0.3) < ENDS_S


def test_each_answer_of_a_connection_has_its_own_time() -> None:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            for _ in range(4):
                connection.recv(1 << 16)
                time.sleep(SLOW_S)
                connection.sendall(HEAD + b"Content-Length: 2\r\n\r\nok")

    with socket.create_server(("127.0.0.1", 0)) as listener, requests.Session() as session:
        session.trust_env = False
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        session.mount(url, TimedAnswers())
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert [session.get(url, timeout=(patience(2), 3 * SLOW_S)).text for _ in range(4)] == ["ok"] * 4
    thread.join()
