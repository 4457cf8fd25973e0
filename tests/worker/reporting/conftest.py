"""The validator that hospitals know: dciodvfy of David Clunie's dicom3tools."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import patience

Dciodvfy = Callable[[Path, str], list[str]]
"""Gives the errors of a file, which has to be of an object of this name."""

REQUIRED = os.environ.get("DLR_TEST_TOOLS") == "required"
"""Read at the start: no test sees a DLR_ variable of its environment."""


@pytest.fixture
def dciodvfy() -> Dciodvfy:
    program = shutil.which("dciodvfy")
    if program is None:
        if REQUIRED:
            pytest.fail("dciodvfy is not installed: apt-get install dicom3tools")
        pytest.skip("dciodvfy is not installed: apt-get install dicom3tools")

    def errors(path: Path, name: str) -> list[str]:
        done = subprocess.run(
            [program, "-new", path], capture_output=True, text=True, check=False, timeout=patience(30)
        )
        said = (done.stdout + done.stderr).splitlines()
        assert name in said, said
        return [line for line in said if line.startswith("Error")]

    return errors
