"""What a figure was measured on: the commit, the processor, the versions."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("torch", "openvino", "onnxruntime", "litserve", "celery", "redis", "sqlalchemy", "pydicom")


@lru_cache(maxsize=1)
def machine() -> dict[str, str]:
    """Describe this machine and this checkout."""
    found = {
        "commit": commit(),
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory_gib": str(round(psutil.virtual_memory().total / 2**30)),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }
    return {"summary": f"{found['commit']} on {found['cores']} cores of {found['processor']}"} | found


def commit() -> str:
    """Name this checkout."""
    here = Path(__file__).parent
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True, check=False
    )
    return said.stdout.strip() or "no commit"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
