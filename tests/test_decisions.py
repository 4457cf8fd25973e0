"""The decision records: each is in the index once, and is linked from a place where it matters."""

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.places import ROOT, files

FOLDER = ROOT / "docs" / "decisions"
RECORDS = sorted(path.name for path in FOLDER.glob("[0-9]*.md"))
INDEX = (FOLDER / "README.md").read_text("utf-8")
PLACES = [
    path
    for path in files()
    if Path(path).suffix in {".py", ".md", ".sql", ".yml", ".toml", ".html", ".js"}
    and not path.startswith(("tests/", "docs/decisions/"))
    and path != "CHANGELOG.md"
]


def test_numbers_are_unique_and_without_a_gap() -> None:
    assert [int(name[:4]) for name in RECORDS] == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_begins_with_its_number(name: str) -> None:
    assert (FOLDER / name).read_text("utf-8").startswith(f"# {int(name[:4])}. ")


def test_each_record_is_in_the_index_once_under_its_number() -> None:
    lines = re.findall(r"^- \[(\d+)\]\((\d{4}-[\w-]+\.md)\): [^.]+$", INDEX, re.MULTILINE)
    assert Counter(name for _, name in lines) == Counter(RECORDS)
    assert all(int(number) == int(name[:4]) for number, name in lines)
    assert INDEX.count("\n- ") == len(lines)
    for theme in INDEX.split("\n## ")[1:]:
        numbers = [int(number) for number in re.findall(r"^- \[(\d+)\]", theme, re.MULTILINE)]
        assert numbers == sorted(numbers), theme.splitlines()[0]


def test_each_record_is_linked_from_a_place_where_it_matters() -> None:
    linked = {
        name
        for path in PLACES
        for name in re.findall(r"decisions/(\d{4}-[\w-]+\.md)", (ROOT / path).read_text("utf-8"))
    }
    assert set(RECORDS) - linked == set()
    assert linked - set(RECORDS) == set()
