"""The values of a DICOM header's elements (PS3.5, section 6.2).

pydicom parses the elements; their values are read here, since pydicom's own conversions put values of a header that
they do not like into warnings and logs.
"""

import re
import struct
from dataclasses import dataclass, replace
from datetime import date
from functools import cache
from math import isfinite
from typing import Literal

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag

from worker.imaging.character_set import CharacterSet, Text, declared_in, is_plain

PADDING = " \0\t\n\v\f\r"
"""Spaces and NUL, and the ends of lines that systems leave behind what was typed."""

_DATE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})|([0-9]{4})\.([0-9]{2})\.([0-9]{2})")
_INTEGER_VRS = ("US", "SS", "UL", "SL", "IS")
_WIDE = ("UL", "SL")
_SIGNED = ("SS", "SL")
_DOUBLE = 8


@dataclass(frozen=True, slots=True)
class Header:
    """Elements of a data set, or of an item of a sequence. An absent or unreadable value is empty, never an error.

    Attributes:
        dataset: of raw elements.
        little_endian: the order of bytes in numbers.
        outer: Specific Character Set of the data set that an item is in, which counts where it has none of its own.
    """

    dataset: Dataset
    little_endian: bool
    outer: bytes = b""

    def bytes_of(self, keyword: str) -> bytes:
        """Return an element's value as it is stored."""
        element = self._element(keyword)
        return element.value or b"" if element is not None else b""

    def text(self, keyword: str) -> str:
        """Return an element of characters without its padding, read as its VR has it (PS3.5, 6.1.2 and 6.2).

        What has no meaning there is written in octal digits (see `worker.imaging.character_set`).
        """
        return self.said(keyword).text

    def said(self, keyword: str, longest: int | None = None) -> Text:
        """Return an element as `text` does, of so many bytes at most, and whether each of its bytes had a meaning."""
        value = self.bytes_of(keyword)[:longest]
        if is_plain(value):
            return Text(value.decode("ascii").strip(PADDING))
        characters = CharacterSet.declared(declared_in(self.dataset, self.outer))
        said = characters.read(value, _vr_of(keyword))
        return replace(said, text=said.text.strip(PADDING))

    def decimals(self, keyword: str) -> tuple[float, ...]:
        """Return the values of a DS element; none where one is not a finite number."""
        try:
            values = tuple(float(part) for part in self.text(keyword).split("\\"))
        except ValueError:
            return ()
        return values if all(map(isfinite, values)) else ()

    def integers(self, keyword: str, *, signed: bool = False) -> tuple[int, ...]:
        """Return the values of an IS, US, SS, UL or SL element."""
        element, known = self._element(keyword), _vr_of(keyword)
        if element is None or not element.value:
            return ()
        vr = element.VR if element.VR in _INTEGER_VRS else known
        if vr == "IS":
            try:
                return tuple(int(part) for part in self.text(keyword).split("\\"))
            except ValueError:
                return ()
        width, value = 4 if vr in _WIDE else 2, element.value
        order: Literal["little", "big"] = "little" if self.little_endian else "big"
        parts = (value[at : at + width] for at in range(0, len(value) - width + 1, width))
        return tuple(int.from_bytes(part, order, signed=signed or vr in _SIGNED) for part in parts)

    def integer(self, keyword: str) -> int | None:
        """Return the first value of an integer element."""
        return next(iter(self.integers(keyword)), None)

    def double(self, keyword: str) -> float | None:
        """Return the first value of an FD element, where it is a finite number."""
        value = self.bytes_of(keyword)[:_DOUBLE]
        if len(value) < _DOUBLE:
            return None
        (number,) = struct.unpack("<d" if self.little_endian else ">d", value)
        return float(number) if isfinite(number) else None

    def items(self, keyword: str) -> list["Header"]:
        """Return a sequence's items; none where it cannot be parsed."""
        if keyword not in self.dataset:
            return []
        try:
            declared = declared_in(self.dataset, self.outer)
            return [Header(item, self.little_endian, declared) for item in self.dataset[keyword].value or ()]
        except Exception:  # noqa: BLE001  whatever pydicom makes of a malformed sequence
            return []

    def _element(self, keyword: str) -> RawDataElement | None:
        element = self.dataset.get_item(_tag_of(keyword), keep_deferred=True)
        return element if isinstance(element, RawDataElement) else None


@cache
def _tag_of(keyword: str) -> BaseTag:
    """Return an element's tag, which pydicom looks up anew each time that it is given the keyword."""
    return Tag(keyword)


@cache
def _vr_of(keyword: str) -> str:
    return dictionary_VR(keyword)


def date_in(text: str) -> date | None:
    """Return the day that a DA element's text names: ``YYYYMMDD``, or the older ``YYYY.MM.DD`` (PS3.5, 6.2)."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    year, month, day = (int(part) for part in found.groups() if part is not None)
    try:
        return date(year, month, day)
    except ValueError:
        return None
