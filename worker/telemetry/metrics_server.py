"""Metrics over HTTP, for Prometheus: no password, and nothing but counts. It listens to this machine unless told."""

import errno

from prometheus_client import CollectorRegistry, start_http_server

from worker.errors import Code, SetupRefused

PORTS = 32
"""Workers of one machine that can be served: each takes the first free port of as many, from DLR_METRICS_PORT on."""


def serve(registry: CollectorRegistry, address: str, port: int, ports: int = 1) -> int:
    """Serve a registry from now on, in a thread of its own.

    Args:
        registry: what is served.
        address: to listen at.
        port: the first that is tried; 0: any free one.
        ports: how many are tried, one after the other.

    Returns:
        The port.

    Raises:
        SetupRefused: ``setting_invalid``; none of them is free, or the address is not one of this machine.
    """
    for candidate in range(port, min(port + ports, 1 << 16)):
        try:
            server, _ = start_http_server(candidate, address, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            reason = f"DLR_METRICS_ADDRESS {address}, port {candidate}: {error.strerror}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        return int(server.server_port)
    if ports == 1:
        reason = f"DLR_EXPORTER_PORT: {address}:{port} is taken"
    else:
        reason = f"DLR_METRICS_PORT: all ports from {port} to {port + ports - 1} are taken at {address}"
    raise SetupRefused(Code.SETTING_INVALID, reason)
