"""The validators that hospitals know: dciodvfy of David Clunie's dicom3tools, and his DicomSRValidator of PixelMed."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.waiting import patience

Dciodvfy = Callable[[Path, str], list[str]]
"""Gives the errors of a file, which has to be of an object of this name."""

PixelMed = Callable[[Path], list[str]]
"""Gives the errors of a structured report, which has to be of TID 1500."""

PIXELMED = Path("/usr/share/java/pixelmed.jar")
"""Where Debian has it; what it needs lies beside it."""

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


@pytest.fixture
def pixelmed() -> PixelMed:
    program = shutil.which("java")
    if program is None or not PIXELMED.exists():
        if REQUIRED:
            pytest.fail("PixelMed is not installed: apt-get install libpixelmed-java default-jre-headless")
        pytest.skip("PixelMed is not installed: apt-get install libpixelmed-java default-jre-headless")
    # Its style sheets have more operators than newer versions of Java allow in one.
    limits = [f"-Djdk.xml.xpath{limit}=0" for limit in ("ExprGrpLimit", "ExprOpLimit", "TotalOpLimit")]
    jars = ":".join(map(str, sorted(PIXELMED.parent.glob("*.jar"))))

    def errors(path: Path) -> list[str]:
        done = subprocess.run(
            [program, *limits, "-Djava.awt.headless=true", "-cp", jars, "com.pixelmed.validate.DicomSRValidator", path],
            capture_output=True, text=True, check=False, timeout=patience(120),
        )  # fmt: skip
        said = done.stdout.splitlines()
        assert {"Found Root Template TID_1500 (MeasurementReport)", "IOD validation complete"} <= set(said), said
        return [line for line in said if line.startswith("Error")]

    return errors
