"""How long a connection may take, and how many of them one address may have: over real sockets."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.waiting import pace, until
from worker.network import http_connections as connections
from worker.network.http_connections import Connection

pytestmark = pytest.mark.slow

SHORT_S = min(pace(1.5), 6.0)
GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
LARGE = 32 << 20
BODY = bytes(2)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Take what comes, and answer; ``/large`` gives more than sockets hold."""
    while (await receive()).get("more_body"):
        pass
    body = bytes(LARGE) if scope["path"] == "/large" else BODY
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def served(*, proxies: tuple[str, ...] = ()) -> Iterator[uvicorn.Server]:
    config = uvicorn.Config(
        application, port=0, lifespan="off", log_config=None, http=Connection, forwarded_allow_ips=list(proxies)
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield server
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[uvicorn.Server]:
    monkeypatch.setattr(connections, "REQUEST_S", SHORT_S)
    monkeypatch.setattr(connections, "ANSWER_S", 2 * SHORT_S)
    with served() as server:
        yield server


def connected(server: uvicorn.Server, address: str = "127.0.0.1") -> socket.socket:
    port = server.servers[0].sockets[0].getsockname()[1]
    return socket.create_connection(("127.0.0.1", port), 20, source_address=(address, 0))


def is_ended(peer: socket.socket, every: bytes) -> bool:
    """Send a byte, where there is one, and say whether the connection was ended."""
    peer.settimeout(SHORT_S / 100)
    try:
        peer.sendall(every)
        return not peer.recv(1 << 16)
    except TimeoutError:
        return False
    except OSError:
        return True


def is_answered(peer: socket.socket) -> bool:
    """Ask, and take the whole answer, in however many parts it comes."""
    taken = b""
    peer.sendall(GET)
    while not taken.endswith(BODY):
        part = peer.recv(1 << 16)
        if not part:
            return False
        taken += part
    return taken.startswith(b"HTTP/1.1 200")


SLOW = [
    (b"", b""),
    (b"GET / HT", b""),
    (b"GET / HTTP/1.1\r\nX-Slow: ", b"x"),
    (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 999\r\n\r\n", b"x"),
]


def test_a_request_that_does_not_come_whole_in_time_is_ended(server: uvicorn.Server) -> None:
    started = time.monotonic()
    with ExitStack() as stack:
        slow = [(stack.enter_context(connected(server)), every) for _, every in SLOW]
        for (peer, _), (said, _) in zip(slow, SLOW, strict=True):
            peer.sendall(said)
        for peer, every in slow:
            until(lambda peer=peer, every=every: is_ended(peer, every))  # type: ignore[misc]
            assert time.monotonic() - started > SHORT_S / 2
        until(lambda: not server.server_state.connections)


def test_the_next_request_of_a_connection_has_its_time_too_and_no_more(server: uvicorn.Server) -> None:
    with connected(server) as peer:
        for _ in range(3):
            time.sleep(SHORT_S / 2)  # the pause: three of them are longer than one request may take
            assert is_answered(peer)
        started = time.monotonic()
        until(lambda: is_ended(peer, b"x"))
        assert time.monotonic() - started > SHORT_S / 2


def test_an_answer_that_nobody_takes_is_ended(server: uvicorn.Server) -> None:
    with connected(server) as peer:
        peer.sendall(GET.replace(b"/ ", b"/large "))
        until(lambda: server.server_state.total_requests and not server.server_state.connections)


def test_an_answer_that_is_taken_slowly_has_its_time(server: uvicorn.Server) -> None:
    with connected(server) as peer:
        peer.sendall(GET.replace(b"/ ", b"/large "))
        time.sleep(SHORT_S)  # the pause: longer than a request may take, and shorter than an answer
        taken = 0
        while taken < LARGE:
            part = peer.recv(1 << 20)
            assert part
            taken += len(part)


@pytest.mark.parametrize("proxy", [False, True], ids=["direct", "behind a proxy"])
def test_an_address_has_so_many_connections_and_a_proxy_as_many_as_it_needs(
    monkeypatch: pytest.MonkeyPatch, *, proxy: bool
) -> None:
    monkeypatch.setattr(connections, "OF_ONE_ADDRESS", 3)
    with served(proxies=("127.0.0.1",) if proxy else ()) as server, ExitStack() as stack:
        peers = [stack.enter_context(connected(server)) for _ in range(5)]
        neighbour = stack.enter_context(connected(server, "127.0.0.2"))
        answered = []
        for peer in (*peers, neighbour):
            try:
                answered.append(is_answered(peer))
            except OSError:
                answered.append(False)
    assert answered == [True, True, True, proxy, proxy, True]
