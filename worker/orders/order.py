"""An HL7 v2 message as a job: which study it asks for, and how urgently; or why it cannot be one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from worker.clinical.categories import Priority
from worker.contract import request_for
from worker.errors import Code, JobRefused
from worker.orders.order_map import MESSAGES, OrderMap, Place

if TYPE_CHECKING:
    from hl7 import Message

_CHARACTER_SETS: Final = {
    "": "utf-8",
    "ASCII": "ascii",
    "8859/1": "latin-1",
    "8859/2": "iso8859-2",
    "8859/15": "iso8859-15",
    "UNICODE": "utf-8",
    "UNICODE UTF-8": "utf-8",
}
"""Of MSH-18 (HL7 table 0211), those that are read; where a message says none, UTF-8."""

_LONGEST_CONTROL_ID: Final = 199


@dataclass(frozen=True, slots=True)
class Header:
    """What a message says of itself (MSH): who sent it, its type, and its number."""

    application: str
    facility: str
    kind: str
    control_id: str

    @property
    def sender(self) -> str:
        """MSH-3 and MSH-4, as DLR_LISTEN_APPLICATIONS has them."""
        return f"{self.application}|{self.facility}"


def read_message(block: bytes) -> "Message":
    """Read a message as it came.

    Raises:
        JobRefused: ``hl7_invalid``.
    """
    import hl7

    try:
        text = block.decode("utf-8", "surrogateescape").replace("\r\n", "\r").replace("\n", "\r").strip("\r ")
        message = hl7.parse(text)
        charset = _charset_of(message)
        if charset != "utf-8" or any("\udc80" <= one <= "\udcff" for one in text):
            message = hl7.parse(text.encode("utf-8", "surrogateescape").decode(charset))
    except JobRefused:
        raise
    except UnicodeDecodeError:
        raise JobRefused(Code.HL7_INVALID, "the message is not in the character set of MSH-18") from None
    except Exception:  # noqa: BLE001  whatever a message that is not HL7 does to who reads it
        raise JobRefused(Code.HL7_INVALID, "the message is not HL7 v2 with an MSH segment") from None
    return message


def _charset_of(message: "Message") -> str:
    message.segment("MSH")  # which a message without one has not
    named = _value(message, 0, Place("MSH", 18)).split("~")[0].upper()
    if named not in _CHARACTER_SETS:
        raise JobRefused(Code.HL7_INVALID, "MSH-18 names a character set that is not read")
    return _CHARACTER_SETS[named]


def header_of(message: "Message") -> Header:
    """Read who sent a message, and what it is.

    Raises:
        JobRefused: ``hl7_invalid``.
    """
    said = [_value(message, 0, Place("MSH", field)) for field in (3, 4)]
    kind = f"{_value(message, 0, Place('MSH', 9, 1))}^{_value(message, 0, Place('MSH', 9, 2))}"
    control_id = _value(message, 0, Place("MSH", 10))
    if not control_id or len(control_id) > _LONGEST_CONTROL_ID:
        raise JobRefused(Code.HL7_INVALID, "MSH-10 (Message Control ID) is missing, or too long")
    return Header(said[0], said[1], kind, control_id)


def job_of(message: "Message", kind: str, images: dict[str, str], told: OrderMap) -> dict[str, Any] | None:
    """Return the job that a message asks for; ``None`` where it asks for none.

    Args:
        message: as `read_message` gives it.
        kind: its type and trigger, one of `MESSAGES`.
        images: where studies are, as a job has it.
        told: what of a message means what.

    Raises:
        JobRefused: ``hl7_invalid``; the reason names fields, and no values.
    """
    ready = [rule for rule in told.ready if rule.message == kind]
    if not any(value in rule.values for rule in ready for value in _values(message, rule.field)):
        return None
    accession = _one(message, told.study.accession_number, "the accession number")
    study = _one(message, told.study.study_instance_uid, "the Study Instance UID")
    if accession is None and study is None:
        places = ", ".join(map(_said, (*told.study.accession_number, *told.study.study_instance_uid)))
        raise JobRefused(Code.HL7_INVALID, f"the message names no study: {places} are empty")
    return request_for(images, _priority(message, told), study, accession, Code.HL7_INVALID)


def is_read(kind: str) -> bool:
    """Whether messages of a type and trigger are read."""
    return kind in MESSAGES


def _priority(message: "Message", told: OrderMap) -> Priority:
    said = [value.upper() for place in told.priority.fields for value in _values(message, place)]
    for priority, words in ((Priority.STAT, told.priority.stat), (Priority.URGENT, told.priority.urgent)):
        if set(said) & {word.upper() for word in words}:
            return priority
    return Priority.ROUTINE


def _one(message: "Message", places: Sequence[Place], what: str) -> str | None:
    """Return the value at the first place that has one; of several studies nobody chooses."""
    for place in places:
        found = list(dict.fromkeys(_values(message, place)))
        if len(found) > 1:
            raise JobRefused(Code.HL7_INVALID, f"{_said(place)}, {what}, has several values: send a message a study")
        if found:
            return found[0]
    return None


def _values(message: "Message", place: Place) -> list[str]:
    """Return what is at a place, in each segment of its name that has it."""
    try:
        count = len(message.segments(place.segment))
    except KeyError:
        return []
    return [value for number in range(count) if (value := _value(message, number, place))]


def _value(message: "Message", number: int, place: Place) -> str:
    """Return the first repetition's component; empty where there is none, or where it is HL7's null."""
    try:
        field = message.segments(place.segment)[number](place.field)
    except (KeyError, IndexError):
        return ""
    text = str(field) if place.segment == "MSH" and place.component is None else _component(field, place.component)
    text = str(message.unescape(text)).strip()
    return "" if text == '""' else text


def _component(field: Any, component: int | None) -> str:
    repetition = field[0] if len(field) else ""
    if isinstance(repetition, str):
        return repetition if component in (None, 1) else ""
    if component is None:
        return str(repetition)
    if len(repetition) < component:
        return ""
    part = repetition[component - 1]
    return part if isinstance(part, str) else str(part[0]) if len(part) else ""


def _said(place: Place) -> str:
    return f"{place.segment}-{place.field}" + ("" if place.component is None else f".{place.component}")
