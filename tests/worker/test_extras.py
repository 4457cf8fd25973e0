"""What a person is told where a part of this software is not installed: for every command, which extra it needs."""

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.commands import commands_of, dlr
from tests.conftest import Database
from worker import extras
from worker.cli.sentences import sentence_of
from worker.errors import SetupRefused
from worker.extras import PACKAGES, extra_with, is_installed, require_extra

ROOT = Path(__file__).resolve().parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
EVERY = sorted({package.partition(".")[0] for packages in PACKAGES.values() for package in packages})

NEEDS = {
    "up": "embedded",
    "worker": "worker",
    "worker --devices all": "worker",
    "flower": "flower",
    "metrics": "metrics",
    "demo": "worker",
    "demo-studies OUT": "worker",
    "demo-models": "worker",
    "receive": "dicom",
    "listen": "listen",
    "perform": "send",
    "perform list": "send",
    "perform check": "send",
    "perform forget CLAIM": "send",
    "perform health": "send",
    "submit JOB": None,
    "worklist": None,
    "worklist policy show": None,
    "worklist policy check outcome/1": None,
    "worklist policy diff outcome/1": None,
    "worklist policy apply outcome/1 --yes": None,
    "show nothing": None,
    "export nothing --format fhir": None,
    "explain nothing --output OUT": None,
    "explain --new --output OUT": None,
    "health": None,
    "doctor": None,
    "doctor --drill --staging dlr": "worker",
    "settings": None,
    "monitor": None,
    "replay --policy POLICY": None,
    "evaluate --scores CSV": "train",
    "evaluate --manifest CSV": "train",
    "train bm --phantom 20 --output OUT": "worker",
    "train bm --manifest CSV --output OUT": "worker",
    "purge --older-than 7d": None,
    "api": "api",
    "api token create ris --scope jobs:write": "api",
    "api token list": "api",
    "api token revoke ris": "api",
    "web": "web",
    "web user add anna": "web",
    "web user remove anna": "web",
    "web user list": "web",
    "web opened": None,
    "failed list": None,
    "failed show nothing": None,
    "failed requeue nothing": None,
    "failed discard nothing --reason none": None,
    "pathology import CSV": None,
    "pathology list": None,
    "verdict import CSV": None,
    "verdict list": None,
    "report cohort": None,
    "report reading-order --scores CSV": "train",
    "report reading-order --manifest CSV": "train",
    "report reading-order --from-database": "train",
    "report restratification": None,
    "dataset import dicom FOLDER --table CSV --key KEY --output OUT": "worker",
    "dataset import busi FOLDER --output OUT": "worker",
    "dataset validate CSV": "worker",
    "dataset flow CSV": "worker",
    "dataset split CSV --output OUT": "worker",
    "dataset join CSV CSV --output OUT": "worker",
    "dataset schema": None,
    "models add JSON JSON": None,
    "models list": None,
    "models show 1": None,
    "models ensemble FOLDER FOLDER --version 1 --output OUT": "worker",
    "models activate DLR_BM 1": None,
    "models rollback": None,
    "models shadow DLR_BM 1": None,
    "models unshadow DLR_BM 1": None,
    "models history": None,
    "models check": None,
    "models calibrate JSON --scores CSV --version 2 --temperature --output OUT": "train",
    "models compare DLR_BM:1 DLR_BM:2": None,
    "shadow": "worker",
    "shadow health": None,
    "backfill --model DLR_BM:1": "worker",
    "send": "send",
    "send list": None,
    "send retry": None,
    "send health": "send",
    "send show": "send",
    "send test": "send",
    "send check": None,
    "db upgrade": None,
    "db check": None,
    "db url": None,
    "backup create": None,
    "backup list": None,
    "backup verify latest": None,
    "backup restore latest --yes": None,
    "redis url": None,
    "schema": None,
}
"""Command lines, and the extra that each has to ask for. ``None``: it does without, or ends before."""

ENDLESS = {"watch"}
"""Commands that need no extra, and do not end."""


def all_commands() -> set[str]:
    """Name every command, and every command within one."""

    def within(command: object, words: tuple[str, ...]) -> set[str]:
        found = {" ".join(words)} if words else set()
        for name, one in commands_of(command).items():
            found |= within(one, (*words, name))
        return found

    return within(dlr(), ())


def told(hidden: list[str], commands: list[list[str]], environment: dict[str, str]) -> list[tuple[object, str]]:
    """Run commands where packages are hidden: the exit status and the words of each."""
    arguments = [sys.executable, "-m", "tests.hiding", json.dumps(hidden), json.dumps(commands)]
    done = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    return [(status, words) for status, words in json.loads(done.stdout)]


@pytest.fixture
def environment(database: Database, redis_url: str, tmp_path: Path) -> dict[str, str]:
    servers = {
        "DLR_DATABASE_URL": database.writer_url,
        "DLR_REDIS_URL": redis_url,
        "DLR_HOME": str(tmp_path / "home"),
        "DLR_FLOWER_PASSWORD": "secret",
        "DLR_SEND_PACS": "PACS@127.0.0.1:104",
    }
    return {**os.environ, **servers}


@pytest.fixture
def filled(tmp_path: Path) -> Callable[[str], list[str]]:
    """Give files to a command line's words in capitals."""
    named = {"OUT": tmp_path / "out", "FOLDER": tmp_path / "folder"}
    named["FOLDER"].mkdir()
    policy = '{"schema_version": 1, "DLR_BM": {"threshold": 0.5}}'
    contents = {"JOB": "{}", "JSON": "{}", "CSV": "a,b\n1,2\n", "POLICY": policy}
    for name, content in contents.items():
        named[name] = tmp_path / f"{name.lower()}.{'csv' if name == 'CSV' else 'json'}"
        named[name].write_text(content)
    return lambda line: [str(named.get(word, word)) for word in line.split()]


def test_no_command_is_left_out_here() -> None:
    groups = {words for words in all_commands() if any(other.startswith(f"{words} ") for other in all_commands())}
    spoken = set(NEEDS)
    assert {
        words
        for words in all_commands() - groups - ENDLESS
        if not any(line == words or line.startswith(f"{words} ") for line in spoken)
    } == set()


@pytest.mark.slow
def test_every_command_without_its_extra_says_which_that_is_and_none_ends_in_a_traceback(
    environment: dict[str, str], filled: Callable[[str], list[str]]
) -> None:
    without_servers = {name: value for name, value in environment.items() if "_URL" not in name}
    lines = [line for line in NEEDS if line != "up"]
    said = dict(zip(lines, told(EVERY, [filled(line) for line in lines], environment), strict=True))
    said["up"] = told(EVERY, [["up"]], without_servers)[0]
    wrong = {}
    for line, extra in NEEDS.items():
        status, words = said[line]
        asks = extra is None or (status == 1 and f"'dlr-worker[{extra}]'" in words)
        if status not in (0, 1, 3) or "Traceback" in words or not asks:
            wrong[line] = (status, " ".join(words.split())[-300:])
    assert wrong == {}


def bare(distribution: str) -> str:
    """A distribution's name without versions, as PyPI compares names."""
    return re.sub(r"[-_.]+", "-", re.split(r"[>=<\[]", distribution)[0]).lower()


@pytest.mark.parametrize("extra", sorted(PACKAGES))
def test_the_packages_of_an_extra_are_those_that_it_installs(extra: str) -> None:
    brought_by = packages_distributions()
    known = {bare(name) for one in PACKAGES[extra] for name in brought_by[one.partition(".")[0]]}
    assert {bare(line) for line in EXTRAS[extra]} <= known


def test_every_extra_is_known() -> None:
    assert set(EXTRAS) - {"all", "dev", "bench", "audit"} == set(PACKAGES)


def test_all_is_every_extra_of_the_product_and_dev_is_that_with_the_tools() -> None:
    [every] = EXTRAS["all"]
    assert set(every.removeprefix("dlr-worker[").removesuffix("]").split(",")) == set(PACKAGES)
    assert EXTRAS["dev"][0] == "dlr-worker[all]"


@pytest.mark.parametrize("tool", ["playwright", "pytest", "mypy", "ruff", "hypothesis", "import-linter"])
def test_no_developers_tool_is_of_the_product(tool: str) -> None:
    assert {extra for extra, lines in EXTRAS.items() if tool in map(bare, lines)} == {"dev"}


@pytest.mark.parametrize(("extra", "package"), [(extra, package) for extra in PACKAGES for package in PACKAGES[extra]])
def test_an_extra_of_which_one_package_is_missing_is_not_installed(
    monkeypatch: pytest.MonkeyPatch, extra: str, package: str
) -> None:
    assert is_installed(extra)
    find = extras.find_spec
    monkeypatch.setattr(extras, "find_spec", lambda name: None if name == package else find(name))
    assert not is_installed(extra)
    with pytest.raises(SetupRefused) as refused:
        require_extra(extra, "this")
    assert refused.value.reason == f"this needs the extra `{extra}`: pip install 'dlr-worker[{extra}]'"
    assert package.partition(".")[0] in " ".join(PACKAGES[str(extra_with(package))])


def test_a_module_that_no_extra_brings_is_a_defect() -> None:
    assert sentence_of(ModuleNotFoundError("no", name="worker.nothing")) is None
