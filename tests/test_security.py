"""SECURITY.md: each row names tests, and each of them exists."""

import ast
import re
import tomllib

import pytest

from benchmarks.faults.__main__ import ROWS
from tests.test_compose import ROOT

THREATS = (ROOT / "SECURITY.md").read_text("utf-8").split("## Threats")[1]
TABLE = [line.strip("| ").split(" | ") for line in THREATS.splitlines() if line.startswith("| ")][2:]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0][:60])
def test_a_threat_says_what_stops_it_and_names_tests_that_exist(row: list[str]) -> None:
    threat, defence, tests = row
    named = re.findall(r"`(tests/[^`]+)`", tests)
    assert threat
    assert defence
    assert named
    for name in named:
        path, function = name.split("::")
        case = re.fullmatch(r"(\w+)(?:\[(\w+)\])?", function)
        assert case is not None, name
        module = ast.parse((ROOT / path).read_text("utf-8"))
        assert case[1] in {node.name for node in module.body if isinstance(node, ast.FunctionDef)}, name
        assert case[2] is None or case[2] in ROWS, name


def test_every_fault_that_is_done_is_a_threat_that_is_named() -> None:
    assert [fault for fault in ROWS if f"[{fault}]" not in THREATS] == []


def test_the_page_of_faults_has_a_figure_for_each_and_says_of_which_commit() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text("utf-8")
    rows = page.partition("| fault | done |")[2].partition("\n\n")[0].splitlines()[2:]
    assert len(rows) == len(ROWS)
    assert all(row.endswith("| yes |") for row in rows)
    assert re.search(r"commit `[0-9a-f]{7,40}`", page)


def test_every_dependency_has_a_lower_bound() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    assert [one for one in wanted if not re.search(r">=|==", one) and not one.startswith("dlr-worker[")] == []
