"""The simulator against the FDA's QuCAD, which is not part of this repository: `run_qucad` made its figures here.

QuCAD interrupts a reader for a patient of a class before, and resumes. Without a device there are two classes, those
who interrupt and all others; with one the others are two, positive and negative. Both are simulated on the very
patients that QuCAD drew.
"""

import json
import os
import subprocess
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.worker.waiting_times import run_qucad
from tests.worker.waiting_times.patients_of_qucad import Patients, patients_of, rates_of
from worker.waiting_times import closed_form
from worker.waiting_times.simulator import preemptive_waits

WITHIN = 0.02
SCENARIOS = {"without_device": 1, "with_device": 2}
"""The last class of each, from 0."""

FOLDER, PYTHON = "TESTS_QUCAD", "TESTS_QUCAD_PYTHON"
"""A checkout of QuCAD, and an interpreter that has its packages."""

RECORD = json.loads(Path(__file__).with_name("qucad.json").read_text("utf-8"))
FIGURES = {f"{one['setting']['readers']} readers": one for one in RECORD["figures"]}


@lru_cache
def drawn(setting: str) -> Patients:
    return patients_of(json.loads(setting))


def simulated(setting: dict[str, Any], scenario: str) -> dict[str, float]:
    patients = drawn(json.dumps(setting))
    classes = np.minimum(patients.classes, SCENARIOS[scenario])
    return patients.means(preemptive_waits(patients.arrived, patients.reading, classes, setting["readers"]))


@pytest.mark.parametrize("scenario", SCENARIOS)
@pytest.mark.parametrize("figures", FIGURES.values(), ids=FIGURES)
def test_mean_waits_are_those_that_qucad_simulated(figures: dict[str, Any], scenario: str) -> None:
    expected = figures[scenario]["simulated"]
    assert len(expected) >= 2
    assert simulated(figures["setting"], scenario) == pytest.approx(expected, rel=WITHIN)


def test_with_one_reader_the_closed_form_is_what_qucad_calculates() -> None:
    figures = FIGURES["1 readers"]
    shares, rate = rates_of(figures["setting"])
    minutes = figures["setting"]["other_minutes"]
    assert figures["setting"]["diseased_minutes"] == minutes
    positive, negative = closed_form.one_reader_interrupted(shares[1:] * rate, [minutes] * 2, [2 * minutes**2] * 2)
    calculated = figures["with_device"]["calculated"]
    assert (positive, negative) == pytest.approx((calculated["positive"], calculated["negative"]))


@pytest.mark.long
def test_qucad_itself_simulates_what_is_on_record_here(tmp_path: Path) -> None:
    if FOLDER not in os.environ:
        pytest.skip(f"{FOLDER} names no checkout of https://github.com/DIDSR/QuCAD; {PYTHON} its interpreter")
    settings = [one["setting"] | {"patients": 4000, "seed": 5} for one in RECORD["figures"]]
    (tmp_path / "settings.json").write_text(json.dumps(settings), "utf-8")
    command = [os.environ[PYTHON], run_qucad.__file__, os.environ[FOLDER], str(tmp_path / "settings.json")]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["commit"] == RECORD["commit"]
    for one in found["figures"]:
        for scenario in SCENARIOS:
            expected = one[scenario]["simulated"]
            assert simulated(one["setting"], scenario) == pytest.approx(expected, rel=WITHIN), one["setting"]
