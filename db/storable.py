"""What PostgreSQL can hold of a text or a JSON value from outside."""

import json
from typing import Any
from unicodedata import normalize

_DEEPEST = 200


def storable_text(text: str) -> str:
    """Return the text with what PostgreSQL cannot hold, NUL and lone surrogates, written as escapes."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")


def looked_for(text: str) -> str:
    """Return a text from outside in the form in which names of studies are stored: storable, and in Unicode's NFC."""
    return normalize("NFC", storable_text(text))


def storable_json(value: object) -> Any:
    """Return a JSON value as it is where ``jsonb`` can hold it, else its JSON text, escaped as far as needed.

    ``jsonb`` holds no NUL, no lone surrogate, no NaN or infinity, and no nesting without end.
    """
    if isinstance(value, str):
        return storable_text(value)
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False)
        fits = storable_text(written) == written and "\\u0000" not in written and not is_deeper(value, _DEEPEST)
    except (ValueError, TypeError, RecursionError):
        fits = False
    return value if fits else storable_text(_text(value))


def is_deeper(value: object, levels: int) -> bool:
    """Say whether a JSON value is nested more than so many levels deep; one that holds no other has one level."""
    level = [value]
    for _ in range(levels):
        if not level:
            return False
        level = [
            part
            for whole in level
            if isinstance(whole, dict | list | tuple)
            for part in (whole.values() if isinstance(whole, dict) else whole)
        ]
    return bool(level)


def _text(value: object) -> str:
    try:
        return json.dumps(value, default=repr)
    except (ValueError, TypeError, RecursionError):
        return f"a {type(value).__name__} that JSON cannot write"
