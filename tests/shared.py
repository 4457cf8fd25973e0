"""What all processes of a test run share: a folder of things that are made once, and how slow this machine is."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

FOLDER = "TESTS_SHARED"
SLOWNESS = "TESTS_SLOWNESS"
"""Environment variables that the process that starts a run hands to those that run its tests."""

REAL_SETS = Path(__file__).parents[2] / "shared" / "data"
"""Where a checkout may have openly licensed sets beside it: ``breast`` (BrEaST) and ``bus-bra`` (a part of BUS-BRA)."""

FAST_S = 0.030
"""What `_work` takes on a fast machine that has nothing else to do."""


def begin() -> None:
    """Begin a run: make the folder, and measure the machine once."""
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="dlr-tests-")
    os.environ[SLOWNESS] = str(max(1.0, _measured_s() / FAST_S))


def end() -> None:
    """End a run, and leave nothing of it."""
    shutil.rmtree(os.environ.pop(FOLDER), ignore_errors=True)


def folder() -> Path:
    """The folder of this run."""
    return Path(os.environ[FOLDER])


def slowness() -> float:
    """How many times longer than on a fast machine something takes here, at least 1."""
    return float(os.environ[SLOWNESS])


def made_once(name: str, make: Callable[[Path], object]) -> Path:
    """Return a folder that the first test to ask for it makes; nobody writes into it afterwards.

    Args:
        name: of what it holds, with what it depends on.
        make: fills the folder.
    """
    place = folder() / name
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            if not place.exists():
                draft = Path(tempfile.mkdtemp(dir=place.parent))
                make(draft)
                draft.rename(place)
    return place


def real_set(name: str) -> Path:
    """Return the folder of a real data set, as its importer takes it; skips the test where it is not there."""
    place = REAL_SETS / name
    if not place.is_dir():
        pytest.skip(f"the data set {name} is not beside the checkout")
    return place


def _measured_s() -> float:
    return min(_timed(_work) for _ in range(3))


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _work() -> int:
    total = 0
    for number in range(400_000):
        total += number & 7
    return total
