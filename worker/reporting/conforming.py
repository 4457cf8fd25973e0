"""Whether a value may stand in an attribute of its VR (PS3.5, table 6.2-1), and that no other one goes out."""

import re
from collections.abc import Iterator
from datetime import date
from typing import Final
from unicodedata import category

from pydicom import Dataset
from pydicom.config import RAISE
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import STR_VR, validate_value

from worker.errors import Code, StudyRefused

_TEXTS: Final = ("LT", "ST", "UT")
"""VRs in which a backslash is a letter, and lines may end."""

_ENDS_OF_LINES: Final = "\t\n\f\r"
_ANY_CHARACTERS: Final = (*_TEXTS, "LO", "PN", "SH", "UC")
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID: Final = 64
_COMPONENTS: Final = 5


def conforms(vr: str, value: str) -> bool:
    """Say whether one value may stand in an attribute.

    A UID may have leading zeros (PS3.5, 9.1, has none): what an image calls itself is the only way to refer to it.
    """
    if vr == "UI":
        return not value or (len(value) <= _LONGEST_UID and _UID.fullmatch(value) is not None)
    try:
        validate_value(vr, value, RAISE)
        if vr == "DA" and value:
            date.fromisoformat(value)
    except ValueError:
        return False
    return (
        (vr in _ANY_CHARACTERS or value.isascii())
        and (vr in _TEXTS or "\\" not in value)
        and not any(category(one) in ("Cc", "Cs") and not (vr in _TEXTS and one in _ENDS_OF_LINES) for one in value)
        and (vr != "PN" or all(group.count("^") < _COMPONENTS for group in value.split("=")))
    )


def require_conforming(dataset: Dataset) -> None:
    """Raise ``document_refused`` where a value, at whatever depth, may not stand where it does."""
    for element in _elements(dataset):
        if element.VR in STR_VR and not all(conforms(element.VR, value) for value in _values(element)):
            raise StudyRefused(Code.DOCUMENT_REFUSED, f"the document would have a {element.name} that is none")


def _elements(dataset: Dataset) -> Iterator[DataElement]:
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value:
                yield from _elements(item)
        else:
            yield element


def _values(element: DataElement) -> list[str]:
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    return [str(value) for value in values if value is not None]
