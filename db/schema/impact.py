"""What a migration means for those who are at work meanwhile: each says it of itself, and a test holds it to that."""

from dataclasses import dataclass
from enum import StrEnum

REVISION = "0025"
"""The schema that this software is made for: the latest migration."""


class Kind(StrEnum):
    """What a migration does to the programs that are made for the schema before it."""

    EXPAND = "expand"
    """Adds to the schema."""
    DATA = "data"
    """Adds to it, and rewrites rows."""
    CONTRACT = "contract"
    """Takes something away that they may use."""


@dataclass(frozen=True, slots=True)
class Impact:
    """What a migration does, and to whom.

    Attributes:
        kind: to the schema.
        locks: tables on record before it that nobody, or no writer, reaches until its transaction ends.
        workers_go_on: workers that are made for the schema before it work on.
        grows_with: what makes it take the longer, the more rows there are, and keeps its locks; empty: nothing.
    """

    kind: Kind
    locks: tuple[str, ...] = ()
    workers_go_on: bool = True
    grows_with: str = ""
