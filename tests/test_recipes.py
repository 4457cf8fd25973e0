"""The recipes of CONTRIBUTING.md: each place that a recipe names is there, holds its example, and none is left out."""

import inspect
import re
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from db.reads.study_records import WorklistRow
from tests.places import ROOT, files, missing
from worker.cli.worklist import COLUMNS as WORKLIST_COLUMNS
from worker.clinical.restratify import restratify

PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SEARCHED = ("worker/", "db/", "migrations/", "deploy/", "docs/", "examples/", "docker-compose.yml", "pyproject.toml")


@dataclass(frozen=True)
class Example:
    """What a recipe's places hold for something that was once added as it says.

    Attributes:
        pattern: of it, in each place.
        whole: of it, in files that the recipe has to name; ``None``: the word has other uses too.
        but: files that ``whole`` finds, and that would not change.
    """

    pattern: str
    whole: str | None = None
    but: tuple[str, ...] = ()


QUEUE = r"""(?-i:["'](intake|inference)["'])|~intake|--queue,? (intake|inference)|queues? `+(intake|inference)`"""
JPEG_2000 = r"JPEG.?2000|HTJ2K|J2K"
EXAMPLES = {
    "Add a quality check": Example("roi_too_small", "roi_too_small", ("worker/settings/renamed.py",)),  # a former name
    "Add a destination": Example("webhook|send = "),
    "Accept a transfer syntax": Example(
        f"{JPEG_2000}|openjpeg",
        f"{JPEG_2000}|openjpeg",
        (
            "worker/demo/dicom.py",  # demo files are written in it
            "worker/demo/studies.py",
            "worker/logs.py",  # silences the decoder's logger
            "worker/imaging/decoder_process.py",  # how much memory decoding takes
            "docs/reliability.md",  # the bombs that were tried
        ),
    ),
    "Add a column to the worklist": Example("uncertain"),
    "Change the 4A threshold": Example("threshold"),
    "Change the default reading order": Example("suspicion|suspicious"),
    "Change which status C-STORE answers": Example("A700|OUT_OF_RESOURCES", "A700|OUT_OF_RESOURCES"),
    "Add or rename a queue": Example(
        QUEUE,
        QUEUE,
        (
            "worker/scoring/pipeline.py",  # a step of a trace
            "worker/intake/accept_study.py",
            "pyproject.toml",  # rooms
            "docs/openapi.json",  # the contract's own words, renewed by a test's module
        ),
    ),
    "Add a language": Example("Läsion|German|\\bde\\b"),
}
examples = pytest.mark.parametrize("recipe", EXAMPLES)


def text_of(recipe: str) -> str:
    [text] = re.findall(rf"^### {re.escape(recipe)}\n(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    return text


def places(recipe: str) -> list[str]:
    """The places where something changes: what each step names before its colon."""
    steps = re.findall(r"^\d+\. ([^:]+):", text_of(recipe), re.MULTILINE)
    return [place for step in steps for place in re.findall(r"`([^`]+)`", step)]


def files_at(place: str) -> list[str]:
    return [file for file in files() if file == place or (place.endswith("/") and file.startswith(place))]


def holds(pattern: str, file: str) -> bool:
    return re.search(pattern, Path(ROOT, file).read_text("utf-8"), re.IGNORECASE) is not None


def test_each_recipe_with_steps_has_its_example() -> None:
    recipes = re.findall(r"^### (.+)$", PAGE.split("\n## How to")[1].split("\n## ")[0], re.MULTILINE)
    assert {recipe for recipe in recipes if places(recipe)} == set(EXAMPLES)
    assert len(recipes) == len(set(recipes)) > 12


def test_whatever_the_page_names_is_there() -> None:
    assert missing(PAGE) == []


@examples
def test_each_place_of_a_recipe_holds_its_example(recipe: str) -> None:
    found = {
        place: [file for file in files_at(place) if holds(EXAMPLES[recipe].pattern, file)] for place in places(recipe)
    }
    assert [place for place, matching in found.items() if not matching] == []
    assert len(found) > 2


@pytest.mark.parametrize("recipe", [recipe for recipe, one in EXAMPLES.items() if one.whole is not None])
def test_no_place_that_holds_the_example_is_left_out(recipe: str) -> None:
    example = EXAMPLES[recipe]
    named = {file for place in places(recipe) for file in files_at(place)}
    searched = [
        file for file in files() if file.startswith(SEARCHED) and Path(file).suffix not in {".jpg", ".png", ".svg"}
    ]
    found = {file for file in searched if not file.startswith("docs/decisions/") and holds(str(example.whole), file)}
    assert found - named - set(example.but) == set()
    assert set(example.but) <= found, "no longer an exception"


def test_the_columns_of_the_worklist_are_one_list() -> None:
    sql = (ROOT / "db" / "views" / "worklist.sql").read_text("utf-8")
    columns = re.findall(r"^COMMENT ON COLUMN worklist\.(\w+)", sql, re.MULTILINE)
    assert columns == [field.name for field in fields(WorklistRow)]
    assert sorted(WORKLIST_COLUMNS) == sorted(columns)
    latest = max((ROOT / "migrations" / "views").glob("worklist.*.sql"))
    assert latest.read_text("utf-8") == sql
    result = (ROOT / "db" / "views" / "study_result.sql").read_text("utf-8")
    without_position = re.findall(r"^COMMENT ON COLUMN study_result\.(\w+)", result, re.MULTILINE)
    assert sorted(without_position) == sorted({*columns, "tier_number", "is_read"} - {"position"})


def test_the_rule_of_4a_is_asked_for_yes_or_no_and_knows_no_threshold() -> None:
    asked = inspect.signature(restratify).parameters
    assert {name: one.annotation for name, one in asked.items() if one.annotation is bool} == {
        "high_risk": bool,
        "malignant": bool,
    }
    assert float not in {one.annotation for one in asked.values()}
