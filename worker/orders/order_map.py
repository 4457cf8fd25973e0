"""What of an HL7 message means what: a TOML file of a site, and the default."""

import re
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from worker.errors import Code, SetupRefused
from worker.validation_errors import flaws_of

_PLACE: Final = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9][0-9]{0,2})(?:\.([1-9][0-9]?))?")

MESSAGES: Final = ("ORM^O01", "OMI^O23", "ORU^R01")
"""The messages that are read."""


class Place(NamedTuple):
    """A field of a segment, or a component of one; both count from 1."""

    segment: str
    field: int
    component: int | None = None


def _place(text: object) -> object:
    found = _PLACE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError("has to be SEGMENT-FIELD or SEGMENT-FIELD.COMPONENT, such as OBR-18 or OBR-3.1")
    segment, number, component = found.groups()
    return Place(segment, int(number), None if component is None else int(component))


def _known(message: str) -> str:
    if message not in MESSAGES:
        raise ValueError(f"has to be one of {', '.join(MESSAGES)}")
    return message


PlaceOf = Annotated[Place, BeforeValidator(_place)]
_Words = Annotated[list[str], Field(max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Ready(_Part):
    """A message asks for its study where a field has one of these values."""

    message: Annotated[str, BeforeValidator(_known)]
    field: PlaceOf
    values: list[str] = Field(min_length=1)


class Named(_Part):
    """Where a message names its study; of several places the first that has a value counts."""

    accession_number: list[PlaceOf] = Field(default_factory=list)
    study_instance_uid: list[PlaceOf] = Field(default_factory=list)


class Urgency(_Part):
    """Where a message says how urgent it is, and in which words; any other word, or none, is routine."""

    fields: list[PlaceOf] = Field(default_factory=list)
    stat: _Words = Field(default_factory=list)
    urgent: _Words = Field(default_factory=list)


class OrderMap(_Part):
    """What of a message means what."""

    ready: list[Ready] = Field(min_length=1)
    study: Named
    priority: Urgency = Field(default_factory=Urgency)


def read_map(path: Path) -> OrderMap:
    """Read a site's map.

    Raises:
        SetupRefused: ``setting_invalid``; the reason names the field.
    """
    try:
        return _read(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        raise SetupRefused(Code.SETTING_INVALID, f"{path}: the map cannot be read") from None
    except tomllib.TOMLDecodeError as error:
        raise SetupRefused(Code.SETTING_INVALID, f"{path}: the map is not TOML: {error}") from None
    except ValidationError as invalid:
        flaw = flaws_of(invalid)[0]
        place = ".".join(map(str, flaw.place)) or "the map"
        raise SetupRefused(Code.SETTING_INVALID, f"{path}: {place}: {flaw.sentence}") from None


@cache
def default_map() -> OrderMap:
    """Return what holds where a site has no map."""
    return _read(default_text())


def default_text() -> str:
    """Return the default as a file, which a site may copy."""
    return files(__package__).joinpath("default.toml").read_text("utf-8")


def _read(text: str) -> OrderMap:
    return OrderMap.model_validate(tomllib.loads(text))
