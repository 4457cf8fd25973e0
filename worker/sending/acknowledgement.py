"""What an acknowledgement of an HL7 v2 message means (HL7 v2.5.1, 2.9.2 and 2.15; tables 0008 and 0357)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

ACCEPTED: Final = ("AA", "CA")
ERROR: Final = ("AE", "CE")
REJECT: Final = ("AR", "CR")

INTERNAL_ERROR: Final = 207
"""Application internal error (HL7 table 0357): what the receiver may be over in a moment."""

_OF_THE_MESSAGE: Final = range(100, INTERNAL_ERROR)
"""Errors of the message, which the same message has the next time."""

_SEGMENTS: Final = re.compile(r"[\r\n]+")


class Verdict(Enum):
    """What becomes of a message: it is there, is sent again, is refused for good, or was not answered in HL7."""

    TAKEN = "taken"
    LATER = "later"
    REFUSED = "refused"
    NO_ANSWER = "no answer"


DEFAULT: Final[Mapping[str, Verdict]] = {"AE": Verdict.REFUSED, "AR": Verdict.LATER}
"""Where ERR-3 says nothing: by the standard an AE is of the message's content, and an AR of anything else."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An acknowledgement, read.

    Attributes:
        code: MSA-1.
        error: ERR-3, where it is a number.
    """

    verdict: Verdict
    code: str = ""
    error: int | None = None

    @property
    def sentence(self) -> str:
        """What it says, for a person: codes alone, since its texts may name a patient."""
        if self.verdict is Verdict.NO_ANSWER:
            return "the answer is no HL7 acknowledgement of the message"
        error = "" if self.error is None else f" and error {self.error}"
        return f"the receiver answers {self.code}{error}"


def read_acknowledgement(text: str, control_id: str, by_code: Mapping[str, Verdict] = DEFAULT) -> Acknowledgement:
    """Read an acknowledgement.

    ERR-3 decides where it is there: 207 is sent again, 100 to 206 are not. Otherwise MSA-1 does, as ``by_code`` says,
    since vendors differ.

    Args:
        text: ER7.
        control_id: MSH-10 of the message, which MSA-2 has to repeat.
        by_code: what AE and AR mean at this receiver.
    """
    segments = [line for line in _SEGMENTS.split(text.strip()) if line]
    if not segments or not segments[0].startswith("MSH") or len(segments[0]) < len("MSH|^"):
        return Acknowledgement(Verdict.NO_ANSWER)
    separator, component = segments[0][3], segments[0][4]
    fields = [segment.split(separator) for segment in segments]
    msa = next((one for one in fields if one[0] == "MSA"), [])
    code, answered = _field(msa, 1), _field(msa, 2)
    if answered != control_id or code not in (*ACCEPTED, *ERROR, *REJECT):
        return Acknowledgement(Verdict.NO_ANSWER)
    if code in ACCEPTED:
        return Acknowledgement(Verdict.TAKEN, code)
    said = next((_field(one, 3).split(component)[0] for one in fields if one[0] == "ERR" and _field(one, 3)), "")
    error = int(said) if said.isascii() and said.isdecimal() and len(said) < 6 else None
    return Acknowledgement(_verdict(code, error, by_code), code, error)


def _verdict(code: str, error: int | None, by_code: Mapping[str, Verdict]) -> Verdict:
    if error == INTERNAL_ERROR:
        return Verdict.LATER
    if error in _OF_THE_MESSAGE:
        return Verdict.REFUSED
    return by_code["AE" if code in ERROR else "AR"]


def _field(segment: list[str], number: int) -> str:
    return segment[number].strip() if number < len(segment) else ""
