"""The layers of the house are held by `lint-imports`, which `make lint` runs; an import that runs up fails it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("worker", "db", "migrations", "benchmarks", "tests")

UPWARD = {
    "worker/clinical/reading_order/outcome_class.py": "import worker.errors",
    "worker/errors.py": "from worker.clinical import categories",
    "worker/imaging/pixels.py": "from worker.inference.model_card import ModelCard",
    "worker/broker/queues.py": "from worker.app import app",
    "worker/scoring/worklist_place.py": "from worker.intake.accept_study import Intake",
    "worker/evaluation/lesions.py": "from worker.training.held_out import judge",
    "worker/dataset/manifest.py": "from worker.training.config import TrainingConfig",
    "worker/web/accounts.py": "from worker.services.home import Home",
    "worker/study.py": "from worker.telemetry.measures import Measures",
    "db/schema/tables.py": "from db.reads import study_queries",
    "db/reads/study_queries.py": "from db.writes import ledger",
    "db/session.py": "from worker.errors import Code",
    "db/writes/history.py": "import migrations",
}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the house, to break."""
    house = tmp_path_factory.mktemp("house")
    for room in ROOMS:
        shutil.copytree(ROOT / room, house / room, ignore=lambda _, names: [n for n in names if n == "__pycache__"])
    shutil.copy(ROOT / "pyproject.toml", house)
    return house


def lint(house: Path) -> "subprocess.CompletedProcess[str]":
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    environment = {**os.environ, "PYTHONPATH": str(house)}
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True, check=False)


def test_the_house_as_it_is_keeps_them(house: Path) -> None:
    assert lint(house).returncode == 0
    assert "lint-imports" in (ROOT / "Makefile").read_text("utf-8").split("\nlint:")[1].split("\n\n")[0]


@pytest.mark.parametrize("module", UPWARD)
def test_an_import_that_runs_up_fails(house: Path, module: str) -> None:
    file = house / module
    kept = file.read_text("utf-8")
    file.write_text(f"{kept}\n\ndef _upward() -> None:\n    {UPWARD[module]}\n")
    try:
        done = lint(house)
    finally:
        file.write_text(kept)
    assert done.returncode == 1
    assert f"{module.removesuffix('.py').replace('/', '.')} -> " in done.stdout


def test_a_new_module_that_has_no_place_fails(house: Path) -> None:
    stray = house / "worker" / "stray.py"
    stray.write_text('"""A module that no layer names."""\n')
    try:
        done = lint(house)
    finally:
        stray.unlink()
    assert done.returncode == 1
    assert "stray" in done.stdout


def test_the_hall_stays_small() -> None:
    assert len([file for file in (ROOT / "worker").glob("*.py") if file.name != "__init__.py"]) <= 15
    rooms = [room for room in (ROOT / "db").iterdir() if room.is_dir() and room.name != "__pycache__"]
    assert len(rooms) <= 4


@pytest.mark.parametrize("package", ["worker", "db"])
def test_no_module_is_too_long_to_be_read_at_once(package: str) -> None:
    lines = {file: len(file.read_text("utf-8").splitlines()) for file in (ROOT / package).rglob("*.py")}
    assert {str(file.relative_to(ROOT)) for file, count in lines.items() if count > 350} == set()
