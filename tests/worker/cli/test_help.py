"""`dlr --help`: every command under one heading, and plain text on a dumb terminal."""

import re
from collections import Counter

import pytest

from tests.command_line import dlr_process
from tests.commands import dlr
from worker.cli.main import app

HEADINGS = [
    "Run the service",
    "Submit studies",
    "Read and send results",
    "Watch the advice",
    "Models",
    "Administer",
]
NAMES = [name for places in app.info.cls.panels.values() for name, *_ in places]


def test_every_command_is_under_one_heading() -> None:
    assert set(Counter(NAMES).values()) == {1}
    assert sorted(NAMES) == sorted(dlr().commands)
    assert [command.rich_help_panel in HEADINGS for command in dlr().commands.values()] == [True] * len(NAMES)


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_the_list_of_commands_fits_80_columns_a_line_each_under_its_heading(term: str) -> None:
    lines = dlr_process("--help", COLUMNS=80, TERM=term).stdout.splitlines()
    listed = [found[1] for line in lines if (found := re.match(r"(?:│|  ?) ?([a-z][a-z-]*)  +\S", line))]
    assert listed == NAMES
    headed = [found[1] for line in lines if (found := re.match(r"(?:╭─ )?(\w[\w ]*)(?: ─+╮|:)$", line))]
    assert headed == ["Options", *HEADINGS]
    assert max(map(len, lines)) <= 80
    assert "".join(lines).isascii() == (term == "dumb")
    assert "\x1b" not in "".join(lines)


def test_a_dumb_terminal_gets_wrong_usage_in_plain_text() -> None:
    done = dlr_process("worklist", "--limit", "none", TERM="dumb")
    assert done.returncode == 2
    assert done.stderr.isascii()
