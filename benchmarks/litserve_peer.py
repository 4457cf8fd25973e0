"""LitServe (`benchmarks.litserve_server`) in a process of its own, and requests to it."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks import measuring
from benchmarks.samples import SIZE

ROOT = Path(__file__).resolve().parents[1]


@contextmanager
def running(kind: str) -> Iterator[int]:
    """Run the server in a process of its own; the port is yielded once it answers."""
    if find_spec("litserve") is None:
        raise ImportError("LitServe is not installed: pip install --editable '.[bench]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.litserve_server", kind, str(port)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        ends = time.monotonic() + 120
        while time.monotonic() < ends:
            try:
                ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), body())
                break
            except (OSError, AssertionError):
                time.sleep(0.3)
        else:
            raise TimeoutError("LitServe does not answer")
        yield port
    finally:
        # Its own processes stay behind when it is merely told to end, and go on taking processor time.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def body() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (1, SIZE, SIZE), np.uint8)
    return json.dumps({"pixels": base64.b64encode(pixels.tobytes()).decode(), "age": 47.0}).encode()


def ask(connection: http.client.HTTPConnection, content: bytes) -> None:
    connection.request("POST", "/predict", content, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    answer.read()
    assert answer.status == 200, answer.status


def loaded(port: int, in_flight: int, seconds: float) -> tuple[float, float]:
    """Keep so many requests in flight; return requests a second and the 99th percentile of seconds for one."""
    content = body()

    def client() -> Callable[[], None]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        return lambda: ask(connection, content)

    return measuring.loaded(client, in_flight, seconds)
