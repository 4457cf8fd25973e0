"""What `dlr --version --verbose` says of an installation."""

import hashlib
import json
import platform
from pathlib import Path

import pytest

import worker
from tests.command_line import dlr
from worker.contract import VERSIONS
from worker.doctor import versions as versions_module
from worker.doctor.versions import Version, versions

ROOT = Path(worker.__file__).parents[1]


def test_it_says_the_product_its_contracts_its_schema_and_its_main_distributions() -> None:
    rows = {row.component: row for row in versions()}
    assert rows["dlr-worker"].version == worker.__version__
    assert rows["Python"].version == platform.python_version()
    assert rows["contracts"].version == ", ".join(map(str, sorted(VERSIONS)))
    newest = max(file.name.partition("_")[0] for file in (ROOT / "migrations" / "versions").glob("0*.py"))
    assert rows["schema"].version == newest
    assert {"celery", "kombu", "redis", "pydicom", "sqlalchemy", "torch"} <= rows.keys()


def of_lock(text: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> tuple[Version, dict[str, str]]:
    lock = tmp_path / "uv.lock"
    lock.write_text(text)
    monkeypatch.setattr(versions_module, "_lock", lambda: lock)
    rows = {row.component: row for row in versions()}
    return rows["lock"], {name: row.detail for name, row in rows.items()}


def test_the_lock_is_said_by_its_hash_and_what_is_not_its_version_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    redis = versions_module.metadata.version("redis")
    text = f'[[package]]\nname = "redis"\nversion = "{redis}"\n[[package]]\nname = "kombu"\nversion = "0.1"\n'
    lock, details = of_lock(text, monkeypatch, tmp_path)
    assert lock.version == f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
    assert lock.detail == "1 distributions are in the versions of uv.lock; in others: kombu"
    assert details["kombu"] == "uv.lock has 0.1"
    assert details["redis"] == ""


def test_a_build_of_another_index_is_told_and_two_versions_are_one_or_the_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "".join(f'[[package]]\nname = "numpy"\nversion = "{version}"\n' for version in ("2.4", "2.5"))
    text += '[[package]]\nname = "torch"\nversion = "2.14.1"\n'
    found = {"numpy": "2.3", "torch": "2.14.1+cpu"}
    real = versions_module.metadata.version
    monkeypatch.setattr(versions_module.metadata, "version", lambda name: found.get(name) or real(name))
    _, details = of_lock(text, monkeypatch, tmp_path)
    assert details["torch"] == "the build cpu of another index"
    assert details["numpy"] == "uv.lock has 2.4 or 2.5"


def test_without_its_lock_an_installation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions_module, "_lock", lambda: None)
    [lock] = [row for row in versions() if row.component == "lock"]
    assert (lock.version, lock.detail) == ("none", "uv.lock is not part of this installation")


@pytest.mark.parametrize("words", [("--version", "--verbose"), ("--verbose", "--version")], ids=" ".join)
def test_the_command_prints_it_for_programs_too_whatever_comes_first(words: tuple[str, ...]) -> None:
    done = dlr(*words, "--format", "json")
    assert done.returncode == 0
    rows = json.loads(done.stdout)
    assert [row["component"] for row in rows[:5]] == ["dlr-worker", "Python", "contracts", "schema", "lock"]


def test_version_alone_is_one_line_as_ever() -> None:
    assert dlr("--version").stdout == f"dlr-worker {worker.__version__}\n"


@pytest.mark.parametrize("words", [("--verbose", "settings"), ("--format", "json", "settings")], ids=" ".join)
def test_the_options_go_with_version_alone(words: tuple[str, ...]) -> None:
    done = dlr(*words)
    assert done.returncode == 2
    assert "go with --version" in done.stderr


def test_another_format_is_wrong_usage() -> None:
    done = dlr("--version", "--verbose", "--format", "xml")
    assert done.returncode == 2
    assert "json" in done.stderr
