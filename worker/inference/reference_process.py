"""The process in which PyTorch scores what a CPU's scores are compared with; started before it is known what to score.

To import PyTorch takes it longer than to score, so a worker that has nothing kept of an earlier start
(`worker.inference.kept_reference`) begins it before its own imports. Nothing is imported here that takes long. What the
process does: `worker.inference.reference`.
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


def begin(device: str, kept_in: Path) -> None:
    """Start the process ahead, where the device will need it: the next one to score asks this one.

    It ends with this process, whether or not anybody asks it.

    Args:
        device: as `worker.inference.loading.load_engine` takes it.
        kept_in: the folder of what was scored before; where there is anything, there is most likely no need to.
    """
    is_kept = any(kept_in.glob("*.npy"))
    if not is_kept and needs_no_pytorch(device) and "torch" not in sys.modules and not _begun:
        _begun.append(_started())


def give_up() -> None:
    """End a process that was begun and that nobody will ask."""
    while _begun:
        begun = _begun.pop()
        begun.kill()
        begun.communicate()


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
