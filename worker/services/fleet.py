"""``dlr worker --devices``: a worker for each device, as a process of its own that is kept running."""

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from threading import Event

from worker.services.signals import Stopped, stopped_by_signals
from worker.services.supervisor import Child, Supervisor

LOOK_S = 0.25


def run_fleet(devices: Sequence[str], arguments: Sequence[str], say: Callable[[str], None], grace_s: float) -> int:
    """Run a worker on each device until SIGINT or SIGTERM; return the exit status 0. A second signal does not wait.

    Args:
        devices: such as ``cuda:0``; one that is there twice gets two workers.
        arguments: of ``dlr worker``, for each of them; its device and name apart.
        say: is given a sentence for each worker that ends.
        grace_s: how long a worker may take to end, in seconds.
    """
    hurry = Event()
    supervisor = Supervisor(None, say, grace_s)
    supervisor.hurry = hurry
    try:
        with stopped_by_signals(hurry), supervisor:
            for name, device in named(devices):
                supervisor.start(_worker(name, device, arguments))
            while True:
                time.sleep(LOOK_S)
                supervisor.look()
    except Stopped:
        return 0


def named(devices: Sequence[str]) -> list[tuple[str, str]]:
    """Give each worker a name of its own: ``inference-cuda-0``; a second one there is ``inference-cuda-0-2``."""
    seen: Counter[str] = Counter()
    names = []
    for device in devices:
        seen[device] += 1
        name = name_of(device)
        names.append((name if seen[device] == 1 else f"{name}-{seen[device]}", device))
    return names


def name_of(device: str) -> str:
    """Return the name, before its host's, of the worker on a device."""
    return f"inference-{device.replace(':', '-')}"


def _worker(name: str, device: str, arguments: Sequence[str]) -> Child:
    command = (sys.executable, "-P", "-m", "worker.cli.main", "worker", "--device", device, "--name", name)
    return Child(name, (*command, *arguments), dict(os.environ))
