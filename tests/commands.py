"""The `dlr` command, to hold documentation and compose files against."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import typer

from worker.cli.lazy_commands import CommandStub


@cache
def dlr() -> Any:
    """The command ``dlr``, as Typer makes it."""
    from worker.cli.main import app

    return typer.main.get_command(app)


def commands_of(command: Any) -> dict[str, Any]:
    """The commands of a group, imported; none of a command."""
    within = getattr(command, "commands", {})
    return {name: _loaded(one) for name, one in within.items()}


@cache
def _loaded(command: Any) -> Any:
    return command.loaded() if isinstance(command, CommandStub) else command


def command_fault(words: Sequence[str]) -> str | None:
    """Say what is wrong with a command line ``dlr ...``: no such command, or no such option; None when it exists."""
    command = dlr()
    rest = list(words[1:])
    while (commands := commands_of(command)) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in commands:
            if command.invoke_without_command:  # what follows belongs to it, such as the next command of a pipe
                break
            return f"there is no command {name} in {' '.join(words)}"
        command = commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        option = word.split("=", 1)[0]
        if option.startswith("-") and option not in known | {"--help", "-h"}:
            return f"there is no option {option} in {' '.join(words)}"
    return None
