"""An image of the client stays small: what its distributions take on a disk, beside Python's own image.

Where there is no Docker, this is the measure: the files of each distribution that the lock has for the client, byte
code included, as they are installed here for the tests.
"""

import subprocess
import sys
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.test_compose import ROOT

PYTHON_MB = 125
"""Of ``python:3.12-slim``, unpacked: 124 MB by `docker image ls` (Docker Hub's 43 MB are its layers, compressed)."""

OWN_MB = 8
"""Of this software itself, with its byte code; it is installed here as a checkout."""

PUSHING = ("metrics",)
"""What takes jobs, migrates and exports, and shows no picture."""

IMAGE = ("flower", "dicom", "dicomweb", "listen", "api", "send", "web", "metrics", "tracing")


def locked(*extras: str) -> list[str]:
    """The distributions that the image installs."""
    command = [sys.executable, str(ROOT / "deploy" / "locked.py"), "export", *extras]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    found = [Requirement(line.rstrip(" \\")) for line in lines if line[:1].isalnum()]
    return [one.name for one in found if one.marker is None or one.marker.evaluate()]


def size_mb(name: str) -> float:
    found = distribution(name)
    assert isinstance(found, PathDistribution)
    files = {Path(str(file.locate())).resolve() for file in found.files or ()}
    compiled = {cached for file in files if file.suffix == ".py" for cached in [_byte_code(file)] if cached.exists()}
    return sum(file.stat().st_size for file in files | compiled if file.is_file()) / 1e6


def _byte_code(file: Path) -> Path:
    return file.parent / "__pycache__" / f"{file.stem}.{sys.implementation.cache_tag}.pyc"


def test_the_test_measures_what_the_image_installs() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    assert f"export {' '.join(IMAGE)} > /wheels/client.txt" in dockerfile


@pytest.mark.parametrize(
    ("extras", "most_mb"), [(PUSHING, 250), (IMAGE, 575)], ids=["pushing", "with page, HTTP and DICOM"]
)
def test_an_image_of_the_client_stays_small(extras: tuple[str, ...], most_mb: int) -> None:
    sizes = {name: size_mb(name) for name in locked(*extras)}
    assert len(sizes) > 20
    assert sizes["sqlalchemy"] > 10
    largest = sorted(sizes.items(), key=lambda item: -item[1])[:8]
    assert PYTHON_MB + OWN_MB + sum(sizes.values()) < most_mb, largest


@pytest.mark.parametrize("name", ["torch", "openvino", "scipy", "pyarrow"])
def test_nothing_large_that_only_inference_or_training_needs_is_in_it(name: str) -> None:
    assert name not in locked(*IMAGE)
