"""A proxy that speaks TLS, as a hospital's PostgreSQL and Redis do and the embedded ones do not."""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import trustme

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
"""What a PostgreSQL client sends first (PostgreSQL, message formats, SSLRequest)."""


@contextmanager
def tls_in_front_of(
    port: int, authority: trustme.CA, name: str, *, postgres: bool = False, client_ca: trustme.CA | None = None
) -> Iterator[int]:
    """Give the port of a proxy whose certificate is for ``name``; with a client CA it asks for a certificate too."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if client_ca is not None:
        client_ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=[listener, context, port, postgres], daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket, context: ssl.SSLContext, port: int, postgres: bool) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_connect, args=[client, context, port, postgres], daemon=True).start()


def _connect(client: socket.socket, context: ssl.SSLContext, port: int, postgres: bool) -> None:
    with suppress(OSError), client:
        if postgres:
            if client.recv(8) != SSL_REQUEST:
                return
            client.sendall(b"S")
        with (
            context.wrap_socket(client, server_side=True) as secure,
            socket.create_connection(("127.0.0.1", port)) as server,
        ):
            while all(_moved(source, secure, server) for source in _ready(secure, server)):
                pass


def _ready(secure: ssl.SSLSocket, server: socket.socket) -> list[socket.socket]:
    """Wait until at least one of both has something to say."""
    return [secure] if secure.pending() else select.select([secure, server], [], [])[0]


def _moved(source: socket.socket, *both: socket.socket) -> bool:
    data = source.recv(1 << 16)
    for target in both:
        if target is not source:
            target.sendall(data)
    return bool(data)
