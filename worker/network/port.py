"""A server's TCP port on the loopback interface."""

import socket
from pathlib import Path

from worker.errors import Code, SetupRefused

LOOPBACK = "127.0.0.1"


def is_free(port: int, address: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on ``port`` of an interface now."""
    return _why_not(port, address) is None


def require_free(setting: str, port: int, address: str) -> None:
    """Refuse a port that a server could not listen on now; 0, any free one, is none.

    Raises:
        SetupRefused: ``setting_invalid``, naming ``setting``.
    """
    why = _why_not(port, address) if port else None
    if why is not None:
        reason = f"{setting}: {address}:{port} cannot be used: {why}"
        raise SetupRefused(Code.SETTING_INVALID, reason)


def _why_not(port: int, address: str) -> str | None:
    try:
        family, *_, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return error.strerror
    return None


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
