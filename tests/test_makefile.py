"""What `make` does for a user and for a developer: what it would run, by `make --dry-run`."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PRODUCT, TOOLS = "deploy/locked.py install all\n", "deploy/locked.py install dev"
OF_A_DEVELOPER = ["test", "test-fast", "faults", "test-long", "bench", "lint", "types"]


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """A checkout in which nothing is installed."""
    for name in ("Makefile", "pyproject.toml", "uv.lock"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def would_run(checkout: Path, target: str, *variables: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "TORCH_INDEX"))}
    command = ["make", "--dry-run", target, *variables]
    return subprocess.run(command, cwd=checkout, env=clean, capture_output=True, text=True, check=True).stdout


def finish(checkout: Path, stamp: str, age_s: float = 0) -> None:
    """Leave behind what an installation that came to its end leaves."""
    path = checkout / ".venv" / stamp
    path.parent.mkdir(exist_ok=True)
    path.touch()
    then = time.time() + 60 - age_s
    os.utime(path, (then, then))


@pytest.mark.parametrize("target", ["install", "demo"])
def test_a_user_installs_the_product_alone(fresh: Path, target: str) -> None:
    commands = would_run(fresh, target)
    assert PRODUCT in commands
    assert TOOLS not in commands


@pytest.mark.parametrize("target", ["dev", *OF_A_DEVELOPER])
def test_a_developer_installs_the_tools_after_the_product(fresh: Path, target: str) -> None:
    commands = would_run(fresh, target)
    assert 0 < commands.index(PRODUCT) < commands.index(TOOLS)


@pytest.mark.parametrize("target", OF_A_DEVELOPER)
def test_after_the_demo_only_the_tools_are_missing(fresh: Path, target: str) -> None:
    finish(fresh, ".installed", age_s=1)
    commands = would_run(fresh, target)
    assert PRODUCT not in commands
    assert TOOLS in commands
    finish(fresh, ".installed-dev")
    assert TOOLS not in would_run(fresh, target)


def test_an_installation_that_was_cut_short_or_is_of_another_pyproject_is_none(fresh: Path) -> None:
    (fresh / ".venv" / "bin").mkdir(parents=True)
    assert PRODUCT in would_run(fresh, "demo")
    finish(fresh, ".installed", age_s=3600)
    finish(fresh, ".installed-dev", age_s=3600)
    commands = would_run(fresh, "test")
    assert PRODUCT in commands
    assert TOOLS in commands


def test_torch_is_chosen_before_the_product_is_installed_and_a_user_may_say_from_where(fresh: Path) -> None:
    commands = would_run(fresh, "install", "TORCH_INDEX=default")
    assert 0 < commands.index("deploy/install_torch.py default\n") < commands.index(PRODUCT)
    assert re.search(r"install_torch\.py *\n", would_run(fresh, "install"))


def test_every_target_says_how_long_it_takes() -> None:
    [phony] = re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    helped = dict(re.findall(r"^make (\S+) +(.+)$", shown, re.MULTILINE))
    assert set(helped) == set(phony.split())
    timeless = {"help", "clean"}
    assert {name for name, text in helped.items() if not re.search(r"\(.*(s|minutes?|hours?)\b.*\)$", text)} == timeless
