"""Commands that are imported when they are asked for: ``dlr --help`` lists them all, and imports none."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, ClassVar, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Place(NamedTuple):
    """Where a command is, and what a list of commands says of it."""

    name: str
    module: str
    attribute: str
    """A function, or a `typer.Typer` with commands of its own."""
    short_help: str


class OnDemand(TyperCommand):
    """A command's place in a list; the command itself takes over when its words are parsed."""

    def __init__(self, place: Place) -> None:
        super().__init__(place.name, short_help=place.short_help)
        self._place = place

    def loaded(self) -> Any:
        """Import the command, and return what Typer makes of it."""
        name, module, attribute, short_help = self._place
        with _for_good():
            found = getattr(import_module(module), attribute)
        holder = typer.Typer()
        if isinstance(found, typer.Typer):
            holder.add_typer(found, name=name, help=short_help)
        else:
            holder.command(name, short_help=short_help)(found)
        return typer.main.get_group(holder).commands[name]

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the command's words, as the command itself does."""
        return self.loaded().make_context(*arguments, **options)


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


class OnDemandGroup(TyperGroup):
    """A group with the commands of ``places`` after those that are registered with it."""

    places: ClassVar[Sequence[Place]] = ()

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for place in self.places:
            self.add_command(OnDemand(place))
