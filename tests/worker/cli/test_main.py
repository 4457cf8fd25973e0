"""The command `dlr` as a whole: what its help says."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from tests.commands import commands_of, dlr


def commands(command: Any, name: str = "dlr") -> Iterator[tuple[str, Any]]:
    within = commands_of(command)
    for word, one in within.items():
        yield from commands(one, f"{name} {word}")
    if not within:
        yield name, command


COMMANDS = dict(commands(dlr()))


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_help_of_a_command_is_all_that_is_said_of_it(command: Any) -> None:
    said = inspect.cleandoc(inspect.unwrap(command.callback).__doc__)
    assert command.help == "\n\n".join(" ".join(part.splitlines()) for part in said.split("\n\n"))
    assert "\n" not in command.get_short_help_str(limit=200)
