"""By what a person looks for something that cannot be a study: the identifiers in it that are valid in themselves."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from worker.clinical.categories import Priority
from worker.contract import ShortText, Uid


@dataclass(frozen=True, slots=True)
class Named:
    """What a refused message says of its study; ``None``: nothing that is valid, or more than one thing.

    Attributes:
        priority: a word of `worker.clinical.categories.Priority`.
    """

    study_instance_uid: str | None = None
    accession_number: str | None = None
    priority: str | None = None

    def said(self) -> dict[str, str]:
        """Return what there is, by its field of a job."""
        return {field: value for field, value in asdict(self).items() if value is not None}


_FIELDS: Final[dict[str, TypeAdapter[Any]]] = {
    "study_instance_uid": TypeAdapter(Uid),
    "accession_number": TypeAdapter(ShortText),
    "priority": TypeAdapter(Priority),
}
# A field and its text as JSON has them; with backslashes before the quotes where that JSON is a text of another. None
# are looked for before the first quote: many of them that no quote follows would be looked at again from each.
_IN_TEXT: Final = {
    field: re.compile(rf'"{field}\\*"\s*:\s*\\*"((?:[^"\\]|\\u[0-9a-fA-F]{{4}})*)\\*"') for field in _FIELDS
}
_BODY: Final = re.compile(r'"body"\s*:\s*"([A-Za-z0-9+/]+)')
_BASE64_UNIT: Final = 4
_ESCAPED: Final = "backslashreplace"
"""What is not UTF-8 becomes what no identifier has: replaced by one character, different ones would become alike."""


def named_in(raw: object) -> Named:
    """Find the identifiers of what was refused. What is said twice, and not alike, is of no one study.

    Args:
        raw: JSON of any kind: a job, more or less; or a text, in which the fields of a job are looked for.
    """
    return Named(**{field: _only(_values(raw, field), adapter) for field, adapter in _FIELDS.items()})


def named_in_message(item: bytes) -> Named:
    """Find the identifiers in a queue's element that could not be read, of any content."""
    text = item.decode("utf-8", _ESCAPED)
    return named_in([text, *map(_decoded, _BODY.findall(text))])


def valid_named(field: str, value: object) -> bool:
    """Tell whether a value may stand for a field of `Named`."""
    return field in _FIELDS and _valid(value, _FIELDS[field]) == value


def _only(values: Iterator[object], adapter: TypeAdapter[Any]) -> str | None:
    found = {valid for value in values if (valid := _valid(value, adapter)) is not None}
    return found.pop() if len(found) == 1 else None


def _valid(value: object, adapter: TypeAdapter[Any]) -> str | None:
    try:
        return str(adapter.validate_python(value)) if isinstance(value, str) else None
    except ValidationError:
        return None


def _values(raw: object, field: str) -> Iterator[object]:
    """Give what is said under a field: that of the whole where it has one, else those of its parts."""
    waiting = [raw]
    while waiting:
        match waiting.pop():
            case dict() as whole if field in whole:
                yield whole[field]
            case dict() as whole:
                waiting.extend(whole.values())
            case list() as parts:
                waiting.extend(parts)
            case str() as text:
                yield from (json.loads(f'"{found}"', strict=False) for found in _IN_TEXT[field].findall(text))


def _decoded(body: str) -> str:
    """Decode base64 that may be cut off."""
    return base64.b64decode(body[: len(body) // _BASE64_UNIT * _BASE64_UNIT]).decode("utf-8", _ESCAPED)
