"""What a sender is answered (HL7 v2, 2.9): the code, and a reason without values."""

import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from hl7 import Message


class Answer(StrEnum):
    """Of HL7 table 0008: kept; try again; and never in this form."""

    ACCEPT = "AA"
    ERROR = "AE"
    REJECT = "AR"


class Error(NamedTuple):
    """An error of HL7 table 0357."""

    code: str
    text: str


MISSING: Final = Error("101", "Required field missing")
WRONG: Final = Error("103", "Table value not found")
UNSUPPORTED: Final = Error("200", "Unsupported message type")
UNKNOWN_SENDER: Final = Error("207", "Application internal error")
AWAY: Final = Error("207", "Application internal error")


def acknowledgment(message: "Message | None", answer: Answer, reason: str = "", error: Error | None = None) -> bytes:
    """Return an acknowledgment.

    Args:
        message: what is answered; ``None``: nothing of it could be read.
        answer: the code.
        reason: a sentence without values of the message.
        error: for ERR-3.
    """
    now = f"{datetime.now(UTC):%Y%m%d%H%M%S}+0000"
    own = uuid.uuid4().hex[:20]
    if message is None:
        separator, encoding, to, trigger, control_id, mode, version = "|", "^~\\&", ("", ""), "", "", "P", "2.5.1"
    else:
        separator, encoding = str(message.segment("MSH").separator), str(message.segment("MSH")(2))
        to = _raw(message, 3), _raw(message, 4)
        trigger, control_id = _trigger(message), _raw(message, 10)
        mode, version = _raw(message, 11) or "P", _raw(message, 12) or "2.5.1"
    kind = encoding[:1].join(("ACK", trigger, "ACK")) if trigger else "ACK"
    msh = ["MSH", encoding, "DLR", "", *to, now, "", kind, own, mode, version, *[""] * 5, "UNICODE UTF-8"]
    msa = ["MSA", answer.value, control_id, reason] if reason else ["MSA", answer.value, control_id]
    segments = [separator.join(msh), separator.join(msa)]
    if error is not None:
        said = encoding[:1].join((error.code, error.text, "HL70357"))
        segments.append(separator.join(["ERR", "", "", said, "E", "", "", "", reason]))
    return "".join(f"{segment}\r" for segment in segments).encode("utf-8", "replace")


def _raw(message: "Message", field: int) -> str:
    """Return a field of MSH as it was sent, which may stand in an answer with the same separators."""
    try:
        return str(message.segment("MSH")(field))
    except (KeyError, IndexError):
        return ""


def _trigger(message: "Message") -> str:
    try:
        return str(message.segment("MSH")(9)(1)(2))
    except (KeyError, IndexError, TypeError):
        return ""
