"""What is wrong with a value that a schema refuses, in words for a person, and without the value.

pydantic's own messages are for who writes the schema ("Input should be a valid dictionary or instance of ...").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core.core_schema import ErrorType

_SENTENCES: Final[Mapping[str, str]] = {
    "missing": "is missing",
    "extra_forbidden": "there is no such name",
    "json_invalid": "is not JSON",
    "json_type": "is not JSON",
    "recursion_loop": "is nested too deeply",
    "recursion_depth_exceeded": "is nested too deeply",
    "invalid_key": "a name in it is no text",
    "model_type": "has to be an object",
    "model_attributes_type": "has to be an object",
    "dataclass_type": "has to be an object",
    "dict_type": "has to be an object",
    "mapping_type": "has to be an object",
    "list_type": "has to be a list",
    "tuple_type": "has to be a list",
    "set_type": "has to be a list",
    "frozen_set_type": "has to be a list",
    "iterable_type": "has to be a list",
    "none_required": "has to be left out",
    "greater_than": "has to be greater than {gt}",
    "greater_than_equal": "has to be {ge} or more",
    "less_than": "has to be less than {lt}",
    "less_than_equal": "has to be {le} or less",
    "multiple_of": "has to be a multiple of {multiple_of}",
    "finite_number": "has to be a finite number",
    "too_short": "has {actual_length} entries, and needs {min_length} or more",
    "too_long": "has more than {max_length} entries",
    "string_type": "has to be text",
    "string_unicode": "has to be text in UTF-8",
    "string_too_short": "is too short: it needs {min_length} characters or more",
    "string_too_long": "is too long: it may have {max_length} characters",
    "string_pattern_mismatch": "has to be in the form {pattern}",
    "string_not_ascii": "has to be in ASCII",
    "enum": "has to be {expected}",
    "literal_error": "has to be {expected}",
    "bool_type": "has to be true or false",
    "bool_parsing": "has to be true or false",
    "int_type": "has to be a whole number",
    "int_parsing": "has to be a whole number",
    "int_parsing_size": "is too large a number",
    "int_from_float": "has to be a whole number",
    "float_type": "has to be a number",
    "float_parsing": "has to be a number",
    "decimal_type": "has to be a number",
    "decimal_parsing": "has to be a number",
    "date_type": "has to be a date, YYYY-MM-DD",
    "date_parsing": "has to be a date, YYYY-MM-DD",
    "date_from_datetime_parsing": "has to be a date, YYYY-MM-DD",
    "date_from_datetime_inexact": "has to be a date, YYYY-MM-DD, without a time",
    "date_past": "has to be a date of the past",
    "date_future": "has to be a date to come",
    "time_type": "has to be a time, HH:MM:SS",
    "time_parsing": "has to be a time, HH:MM:SS",
    "datetime_type": "has to be a date and time, ISO 8601",
    "datetime_parsing": "has to be a date and time, ISO 8601",
    "datetime_from_date_parsing": "has to be a date and time, ISO 8601",
    "timezone_aware": "has to have a time zone",
    "timezone_naive": "may have no time zone",
    "union_tag_invalid": "{discriminator} has to be one of {expected_tags}",
    "union_tag_not_found": "{discriminator} is missing",
    "url_type": "is not a URL, such as https://host/path",
    "url_parsing": "is not a URL, such as https://host/path",
    "url_syntax_violation": "is not a URL, such as https://host/path",
    "url_too_long": "is too long: it may have {max_length} characters",
    "url_scheme": "has to be a URL of {expected_schemes}",
    "uuid_type": "has to be a UUID",
    "uuid_parsing": "has to be a UUID",
    "value_error": "{error}",
    "assertion_error": "{error}",
}
"""By the name that pydantic has for an error; https://docs.pydantic.dev/latest/errors/validation_errors/."""

_OTHERS: Final = frozenset(get_args(ErrorType))


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong.

    Attributes:
        place: where, from the outside in; the names may be the sender's own.
        kind: pydantic's name for it, or that of a check of ours.
        sentence: what is wrong, to stand behind the name of the place.
    """

    place: tuple[int | str, ...]
    kind: str
    sentence: str


def flaws_of(invalid: ValidationError) -> Sequence[Flaw]:
    """Say what is wrong, one thing after the other; no sentence repeats a value."""
    return [
        Flaw(fault["loc"], fault["type"], sentence_of(fault["type"], fault["msg"], fault.get("ctx", {})))
        for fault in invalid.errors(include_url=False, include_input=False)
    ]


def sentence_of(kind: str, message: str, context: Mapping[str, Any]) -> str:
    """Say what is wrong, of an error as pydantic tells it: its ``type``, ``msg`` and ``ctx``."""
    if kind in _SENTENCES:
        shown = {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}
        return _SENTENCES[kind].format_map(shown)
    return "cannot be used" if kind in _OTHERS else message
