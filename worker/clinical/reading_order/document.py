"""Reading a table of a TOML document key by key, noting everything that is wrong with it."""

from collections.abc import Collection
from math import isfinite
from typing import Any

LONGEST_SENTENCE = 200
_LONGEST_QUOTED = 40


class Table:
    """A table whose keys are asked for one by one; `close` refuses those that nobody asked for.

    Attributes:
        problems: of the whole document, one sentence each, beginning with the path of the key.
    """

    def __init__(self, content: dict[str, Any], problems: list[str], path: str = "") -> None:
        self._content = content
        self._path = path
        self._asked: dict[str, None] = {}
        self.problems = problems

    def problem(self, key: str, sentence: str) -> None:
        """Note what is wrong with a key."""
        self.problems.append(f"{self._path}{key}: {sentence}")

    def has(self, key: str) -> bool:
        """Say whether the key is there."""
        return key in self._content

    def sentence(self, key: str) -> str:
        """Return a text of one line; it has to be there."""
        value = self._required(key)
        if isinstance(value, str) and len(value.strip()) > 0 and len(value) <= LONGEST_SENTENCE and value.isprintable():
            return value.strip()
        if value is not None:
            self.problem(key, f"is no text of one line, of 1 to {LONGEST_SENTENCE} characters")
        return "?"

    def number(self, key: str, lowest: int, highest: int) -> int:
        """Return a whole number; it has to be there."""
        value = self._required(key)
        if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest:
            return value
        if value is not None:
            self.problem(key, f"is no whole number from {lowest} to {highest}")
        return lowest

    def word(self, key: str, allowed: Collection[str]) -> str | None:
        """Return one word of those that are allowed; it has to be there. ``None`` where it is not."""
        value = self._required(key)
        return None if value is None else self._allowed(key, value, allowed)

    def words(self, key: str, allowed: Collection[str], *, may_be_empty: bool = False) -> tuple[str, ...]:
        """Return a list of words of those that are allowed, none of them twice; it has to be there."""
        value = self._required(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.problem(key, f'is no list, such as ["{next(iter(allowed))}"]')
            return ()
        if not value and not may_be_empty:
            self.problem(key, "is an empty list; leave the key out where anything will do")
        words = [word for one in value if (word := self._allowed(key, one, allowed)) is not None]
        if len(set(words)) < len(words):
            self.problem(key, "has a word twice")
        return tuple(words)

    def boolean(self, key: str) -> bool | None:
        """Return true or false; ``None`` where the key is not there."""
        value = self.optional(key)
        if value is None or isinstance(value, bool):
            return value
        self.problem(key, "is neither true nor false")
        return None

    def probability(self, key: str) -> float | None:
        """Return a number from 0 to 1; ``None`` where the key is not there."""
        value = self.optional(key)
        if value is None:
            return None
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and 0 <= value <= 1:
            return float(value)
        self.problem(key, "is no number from 0 to 1")
        return None

    def tables(self, key: str, most: int) -> "list[Table]":
        """Return the tables of an array; there is at least one."""
        value = self._required(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value) or not value:
            self.problem(key, f"is no array of tables; each begins with [[{self._header(key)}]]")
            return []
        if len(value) > most:
            self.problem(key, f"there are {len(value)}, and at most {most} are allowed")
            return []
        return [Table(one, self.problems, f"{self._path}{key}[{number}].") for number, one in enumerate(value, start=1)]

    def close(self) -> None:
        """Refuse the keys that nobody asked for: a slip must not silently change who is read first."""
        for key in self._content:
            if key not in self._asked:
                self.problem(_shortened(key), f"is unknown here; allowed: {', '.join(self._asked)}")

    def _header(self, key: str) -> str:
        return "tier.rule" if self._path else key

    def _required(self, key: str) -> Any:
        value = self.optional(key)
        if value is None:
            self.problem(key, "is missing")
        return value

    def optional(self, key: str) -> Any:
        """Return what the key holds, whatever it is; ``None`` where it is not there."""
        self._asked[key] = None
        return self._content.get(key)

    def _allowed(self, key: str, value: object, allowed: Collection[str]) -> str | None:
        if isinstance(value, str) and value in allowed:
            return value
        self.problem(key, f"{_quoted(value)} is unknown; allowed: {', '.join(allowed)}")
        return None


def _quoted(value: object) -> str:
    return _shortened(repr(value))


def _shortened(text: str) -> str:
    printable = text if text.isprintable() else repr(text)
    return printable if len(printable) <= _LONGEST_QUOTED else f"{printable[:_LONGEST_QUOTED]}..."
