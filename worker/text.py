r"""Text as it is compared, looked for and shown: one form of each character, and nothing that breaks a line."""

from typing import Final
from unicodedata import category, normalize

_BREAKS: Final = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of controls, lone surrogates and separators of lines and paragraphs."""

_LAST_OCTAL: Final = 0o377

_LONGEST: Final = 1024
"""Characters beyond which a text stays as it is: sorting marks takes Python time that grows with their square."""


def composed(text: str) -> str:
    """Return the form in which texts are compared (Unicode's NFC): an é is one, however it was typed."""
    return normalize("NFC", text) if len(text) <= _LONGEST else text


def in_plain_letters(text: str) -> str:
    """Return a text in the letters that it has in other widths and shapes (Unicode's NFKC)."""
    return normalize("NFKC", text) if len(text) <= _LONGEST else text


def is_one_line(text: str) -> bool:
    """Say whether a text stands on one line as it is. Spaces of any width do, and characters newer than Python."""
    return not any(category(character) in _BREAKS for character in text)


def on_one_line(text: str) -> str:
    r"""Return a text on one line: what would break it is written as PS3.5 (6.1.2.3) shows a byte, such as ``\012``."""
    return "".join(_shown(character) if category(character) in _BREAKS else character for character in text)


def octal(byte: int) -> str:
    """Return a byte as a backslash and three octal digits."""
    return f"\\{byte:03o}"


def _shown(character: str) -> str:
    number = ord(character)
    return octal(number) if number <= _LAST_OCTAL else f"\\u{number:04x}"
