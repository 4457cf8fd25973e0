"""A server's TCP port on the loopback interface."""

import socket
from pathlib import Path

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Tell whether a server could listen on ``port`` of the loopback interface now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_port(remembered: Path) -> int:
    """Return the port written in ``remembered`` if it is still free, else another one, and write it there.

    A port that stays the same from start to start lets a person keep a connection's settings in a tool.
    """
    try:
        port = int(remembered.read_text())
    except (FileNotFoundError, ValueError):
        port = 0
    if not (1024 <= port <= 65535 and is_free(port)):
        with socket.socket() as probe:
            probe.bind((LOOPBACK, 0))
            port = probe.getsockname()[1]
        remembered.write_text(f"{port}\n")
    return port
