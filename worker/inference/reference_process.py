"""The process in which PyTorch scores what a CPU's scores are compared with; started before it is known what to score.

To import PyTorch takes it longer than to score, so a worker begins it first of all, beside its own imports. Nothing is
imported here that takes long. What the process does: `worker.inference.reference`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple

_MODULE: Final = "worker.inference.reference"
_KEPT_ENVIRONMENT: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
_GPU_DRIVERS: Final = (Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""One of them is there wherever CUDA is; where none is, the CPU is what ``auto`` will mean."""

_begun: list[subprocess.Popen[bytes]] = []


class Ended(NamedTuple):
    """How the process ended, and what it wrote."""

    status: int
    output: bytes


def begin(device: str | None) -> None:
    """Start the process ahead, where the device will need it: the next one to score asks this one.

    It ends with this process, whether or not anybody asks it.

    Args:
        device: as `worker.inference.loading.load_engine` takes it; ``None``: not known yet.
    """
    if needs_no_pytorch(device or "auto") and "torch" not in sys.modules and not _begun:
        _begun.append(_started())


def give_up() -> None:
    """Let a process end that was begun and that nobody will ask."""
    while _begun:
        _begun.pop().communicate()


def needs_no_pytorch(device: str) -> bool:
    """Whether a device can be nothing but a CPU on which OpenVINO scores; nothing is imported to find out."""
    is_cpu = device == "cpu" or (device == "auto" and not any(driver.exists() for driver in _GPU_DRIVERS))
    return is_cpu and find_spec("openvino") is not None


def score(folders: Sequence[Path]) -> Ended:
    """Have the versions in these folders score, by the process that was begun or by another one; wait for its end."""
    asked = json.dumps([str(folder.resolve()) for folder in folders]).encode()
    with _begun.pop() if _begun else _started() as process:
        output, _ = process.communicate(asked)
    return Ended(process.returncode, output)


def _started() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", _MODULE],
        env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
