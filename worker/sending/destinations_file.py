"""The file of destinations (``DLR_SEND_DESTINATIONS``): TOML, a table ``[destination.NAME]`` for each.

It holds no secret: those are files of their own, which it names.
"""

import re
import tomllib
from collections.abc import Mapping
from datetime import time
from pathlib import Path
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from worker.clinical.categories import Outcome, Priority
from worker.errors import Code, SetupRefused
from worker.sending.rules import NOT_SCORED
from worker.sending.terms import LONGEST_WAIT_S, MOST_DEFERRALS
from worker.settings.addresses import AeTitle, Label, NodeAddress, Performer
from worker.validation_errors import flaws_of

LARGEST_FILE: Final = 256 << 10
"""A file of destinations has at most so many bytes."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_OUTCOMES: Final = (*(outcome.value for outcome in Outcome), NOT_SCORED)


def _is_outcome(word: str) -> str:
    if word not in _OUTCOMES:
        raise ValueError(f"has to be one of {', '.join(_OUTCOMES)}")
    return word


def _is_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is no IANA time zone, such as Europe/Berlin") from None
    return name


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


Hd = Annotated[str, Field(max_length=199, pattern=r"^[^|\\~\x00-\x1f]*$")]
"""An HD of HL7 v2: a namespace, or ``&``-less components divided by ``^``."""

Names = tuple[Annotated[str, Field(min_length=1, max_length=200)], ...]


class Results(_Table):
    """Which results a destination takes: `worker.sending.rules.Rules`, but that demo results have to be asked for."""

    outcomes: tuple[Annotated[str, AfterValidator(_is_outcome)], ...] = ()
    tiers: Names = ()
    priorities: tuple[Priority, ...] = ()
    sites: Names = ()
    scanners: Names = ()
    models: Names = ()
    demo: bool = False


class Retry(_Table):
    """In which order deliveries are tried, and how long one waits for its next attempt."""

    order: Literal["priority", "oldest"] = "priority"
    first_wait_s: float | None = Field(default=None, gt=0, le=3600)
    longest_wait_s: float = Field(default=LONGEST_WAIT_S, gt=0, le=86400)
    most_deferrals: int = Field(default=MOST_DEFERRALS, ge=1, le=10000)


class Quiet(_Table):
    """When nothing is sent."""

    start: time = Field(alias="from")
    end: time = Field(alias="to")
    zone: Annotated[str, AfterValidator(_is_zone)]

    @model_validator(mode="after")
    def _has_a_length(self) -> "Quiet":
        if self.start == self.end or self.start.tzinfo or self.end.tzinfo:
            raise ValueError("needs two different times, such as 22:00:00 and 06:00:00, without an offset")
        return self


class OAuth(_Table):
    """How a token is asked for: client credentials."""

    token_url: HttpUrl
    client_id: str = Field(min_length=1)
    client_secret_file: Path
    scope: str | None = None


class _Entry(_Table):
    """What every destination may say."""

    results: Results = Results()
    retry: Retry = Retry()
    quiet: Quiet | None = None
    timeout_s: float | None = Field(default=None, gt=0, le=50)


class _Dicom(_Entry):
    """What is called by DICOM."""

    address: NodeAddress
    ae_title: AeTitle | None = None
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


Instances = tuple[Literal["sr", "pictures", "pdf"], ...]
_SOME = Field(default=("sr",), min_length=1)


class Dimse(_Dicom):
    """A Storage SCP."""

    kind: Literal["dimse"]
    documents: Annotated[Instances, _SOME] = ("sr",)
    commitment: bool = False
    commitment_wait_s: float = Field(default=3600, ge=1, le=7 * 86400)
    commitment_hold_s: float = Field(default=2, ge=0, le=10)


class UpsManager(_Dicom):
    """A UPS manager."""

    kind: Literal["ups"]
    retrieve_ae_title: AeTitle
    label: Label = "Breast ultrasound"
    performer: Performer | None = None
    sr: bool = True


class WebhookReceiver(_Entry):
    """Who hears of each result by a POST."""

    kind: Literal["webhook"]
    url: HttpUrl
    secret_file: Path | None = None
    identifiers: bool = False
    ca: Path | None = None


class _SignedIn(_Entry):
    """An HTTP server, and how to sign in there."""

    url: HttpUrl
    user: str | None = None
    password_file: Path | None = None
    token_file: Path | None = None
    oauth: OAuth | None = None
    plain_http: bool = False
    ca: Path | None = None


class StowServer(_SignedIn):
    """A DICOMweb server that stores."""

    kind: Literal["stow"]
    documents: Annotated[Instances, _SOME] = ("sr",)


class Fhir(_SignedIn):
    """A FHIR R4 server that takes transactions; ``url`` is its base."""

    kind: Literal["fhir"]
    patient_system: str = Field(min_length=1, max_length=500, pattern=r"^[a-z][a-z0-9+.-]*:[!-~]+$")


class Acknowledged(_Table):
    """What an AE and an AR mean where ERR-3 does not say it."""

    AE: Literal["retry", "fail"] = "fail"
    AR: Literal["retry", "fail"] = "retry"


class MllpReceiver(_Entry):
    """A receiver of HL7 v2 messages."""

    kind: Literal["mllp"]
    host: str = Field(min_length=1, max_length=255)
    port: int = Field(ge=1, le=65535)
    sending_facility: Hd = ""
    receiving_application: Hd = ""
    receiving_facility: Hd = ""
    processing_id: Literal["P", "T", "D"] = "P"
    placer_is_accession: bool = False
    on_nack: Acknowledged = Acknowledged()
    tls: bool = False
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class FolderOnDisk(_Entry):
    """A folder that another program empties."""

    kind: Literal["folder"]
    path: Path
    documents: Annotated[tuple[Literal["sr", "pictures", "pdf", "hl7", "fhir"], ...], _SOME] = ("sr",)


Entry = Annotated[
    Dimse | StowServer | Fhir | MllpReceiver | UpsManager | WebhookReceiver | FolderOnDisk, Field(discriminator="kind")
]


class _File(_Table):
    destination: dict[str, Entry] = Field(min_length=1)


def read_destinations(path: Path) -> Mapping[str, Entry]:
    """Read a file of destinations.

    Returns:
        The entries by their names, in the file's order. Paths in them are absolute: they are relative to its folder.

    Raises:
        SetupRefused: ``destinations_invalid``; the reason has every flaw with its place.
    """
    entries = parse_destinations(_text_of(path), str(path))
    return {name: _based(entry, path.parent) for name, entry in entries.items()}


def parse_destinations(text: str, what: str = "the file") -> Mapping[str, Entry]:
    """Read the TOML of a file of destinations, with paths as they stand there; ``what`` it is, for a sentence.

    Raises:
        SetupRefused: ``destinations_invalid``.
    """
    try:
        content = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _invalid(what, [f"is no TOML: {error}"]) from None
    try:
        entries = _File.model_validate(content).destination
    except ValidationError as invalid:
        flaws = [f"{_place(flaw.place)}: {flaw.sentence}" for flaw in flaws_of(invalid)]
        raise _invalid(what, flaws) from None
    odd = [name for name in entries if not _NAME.fullmatch(name)]
    if odd:
        flaw = "a name has small letters, digits, - and _, at most 63, and begins with a letter or digit"
        raise _invalid(what, [f"destination.{name}: {flaw}" for name in odd])
    return entries


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise _invalid(str(path), [f"cannot be read: {error.strerror}"]) from None
    if len(content) > LARGEST_FILE:
        raise _invalid(str(path), [f"is larger than {LARGEST_FILE // 1024} KiB"])
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise _invalid(str(path), ["is not UTF-8"]) from None


def _invalid(what: str, flaws: list[str]) -> SetupRefused:
    return SetupRefused(Code.DESTINATIONS_INVALID, f"{what}: {'; '.join(flaws)}")


def _place(place: tuple[int | str, ...]) -> str:
    """Name a place as TOML does, without the tag by which pydantic tells kinds apart."""
    return ".".join(str(part) for number, part in enumerate(place) if number != 2) or "the file"


def _based(entry: Entry, folder: Path) -> Entry:
    return entry.model_copy(update=_paths_of(entry, folder))


def _paths_of(table: BaseModel, folder: Path) -> dict[str, object]:
    """Return every path in a table, and every table with paths in it, relative to a folder."""
    found: dict[str, object] = {name: folder / value for name, value in table if isinstance(value, Path)}
    inner = {name: value for name, value in table if isinstance(value, BaseModel)}
    return found | {name: value.model_copy(update=_paths_of(value, folder)) for name, value in inner.items()}
