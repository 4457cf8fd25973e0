"""A person's name, taken apart: component groups and their components (PS3.5, 6.2.1)."""

from enum import StrEnum
from typing import NamedTuple

from worker.reporting.conforming import conforms


class Writing(StrEnum):
    """How a component group is written, in the order of the groups."""

    ALPHABETIC = "alphabetic"
    IDEOGRAPHIC = "ideographic"
    PHONETIC = "phonetic"


class Name(NamedTuple):
    """One component group; components that a name has not are empty."""

    writing: Writing
    family: str
    given: str
    middle: str
    prefix: str
    suffix: str


def names_of(person: str) -> tuple[Name, ...]:
    """Return the groups of a Person Name that say something; none where it is no Person Name."""
    if not conforms("PN", person):
        return ()
    groups = [[part.strip() for part in group.split("^")] for group in person.split("=")]
    whole = [(*parts, *[""] * (len(Name._fields) - 1 - len(parts))) for parts in groups]
    return tuple(Name(writing, *parts) for writing, parts in zip(Writing, whole, strict=False) if any(parts))
