"""Commands that are imported when they are asked for: ``dlr --help`` lists them all, and imports none."""

import gc
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar, Final, NamedTuple

import typer
from typer.core import MarkupMode, TyperCommand, TyperGroup

MARKUP: Final[MarkupMode] = None if os.environ.get("TERM") == "dumb" else "rich"
"""How help and wrong usage are printed: in panels, and on a dumb terminal as plain text."""

COMMANDS: Final = "Commands"
"""Typer's heading of commands that are given none."""


class Entry(NamedTuple):
    """Where a command is, and what a list of commands says of it."""

    name: str
    module: str
    attribute: str
    """A function, or a `typer.Typer` with commands of its own."""
    short_help: str


class CommandStub(TyperCommand):
    """A command's place in a list; the command itself takes over when its words are parsed."""

    def __init__(self, entry: Entry, panel: str) -> None:
        super().__init__(entry.name, short_help=entry.short_help, rich_help_panel=panel, rich_markup_mode=MARKUP)
        self._entry = entry

    def loaded(self) -> Any:
        """Import the command, and return what Typer makes of it."""
        name, module, attribute, short_help = self._entry
        with _for_good():
            found = getattr(import_module(module), attribute)
        holder = typer.Typer(rich_markup_mode=MARKUP)
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name, short_help=short_help)
            if found.registered_callback is None:
                holder.registered_groups[-1].help = short_help
        else:
            holder.command(name, short_help=short_help)(found)
        command = typer.main.get_group(holder).commands[name]
        _unwrap(command)
        return command

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the command's words, as the command itself does."""
        return self.loaded().make_context(*arguments, **options)


def _unwrap(command: Any) -> None:
    """Make a line of each paragraph of the help, so that it is wrapped for the terminal and not as in the source."""
    if command.help:
        command.help = re.sub(r"(?<!\n)\n(?!\n)", " ", command.help)
    for one in getattr(command, "commands", {}).values():
        _unwrap(one)


@contextmanager
def _for_good() -> Iterator[None]:
    """Look for no garbage meanwhile, nor ever among what was made: imports make a hundred thousand objects that stay.

    That is a quarter of the time that a command takes to start.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class LazyGroup(TyperGroup):
    """A group with the commands of ``panels``, by their headings, after those that are registered with it.

    Those have the heading `COMMANDS`.
    """

    panels: ClassVar[Mapping[str, Sequence[Entry]]] = {}

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for panel, entries in self.panels.items():
            for entry in entries:
                self.add_command(CommandStub(entry, panel))

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        """List the commands under their headings, as the panels do, in plain text."""
        by_panel: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            panel = getattr(command, "rich_help_panel", None) or COMMANDS
            by_panel.setdefault(panel, []).append((name, command.get_short_help_str(limit=formatter.width)))
        for panel, rows in by_panel.items():
            with formatter.section(panel):
                formatter.write_dl(rows)
