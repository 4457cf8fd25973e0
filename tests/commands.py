"""The `dlr` command, to hold documentation and compose files against."""

from collections.abc import Sequence

import typer


def command_fault(words: Sequence[str]) -> str | None:
    """Say what is wrong with a command line ``dlr ...``: no such command, or no such option; None when it exists."""
    from worker.cli.main import app

    command = typer.main.get_command(app)
    rest = list(words[1:])
    # By attribute and not by class: typer brings a click of its own.
    while (commands := getattr(command, "commands", None)) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in commands:
            return f"there is no command {name} in {' '.join(words)}"
        command = commands[name]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for word in rest:
        option = word.split("=", 1)[0]
        if option.startswith("-") and option not in known | {"--help", "-h"}:
            return f"there is no option {option} in {' '.join(words)}"
    return None
