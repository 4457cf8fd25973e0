r"""Text of DICOM elements, read in their Specific Character Set (PS3.3, C.12.1.1.2; PS3.5, 6.1.2).

Escape sequences of ISO/IEC 2022 are followed here and not by pydicom, which knows no ISO_IR 203, leaves those of
ISO 2022 IR 58 in the text, takes what follows ``ESC ( B`` for Latin-1, and replaces what it cannot decode.

What a file declares is taken at its word, if its bytes allow it. Where they do not, or nothing is declared, bytes that
are UTF-8 are read as that; in all else, each byte that has no meaning is written as PS3.5 (6.1.2.3) shows it, such as
``G\374nther``, so that nothing is guessed and different bytes stay different.

Why each text is decoded when it is read: docs/decisions/0039-text-is-read-in-its-character-set.md.
"""

import codecs
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from pydicom.config import IGNORE
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from worker.text import octal

_G0: Final = {
    b"\x1b(B": "ascii",
    b"\x1b(J": "ascii",  # JIS X 0201 romaji, which has a yen sign and an overline where ASCII has \ and ~
    b"\x1b$B": "iso2022_jp",
    b"\x1b$(D": "iso2022_jp_2",
}
"""Escape sequences that designate G0, and the codec of its characters."""

_G1: Final = {
    "13": (b"\x1b)I", "shift_jis"),
    "58": (b"\x1b$)A", "gb18030"),
    "100": (b"\x1b-A", "latin_1"),
    "101": (b"\x1b-B", "iso8859_2"),
    "109": (b"\x1b-C", "iso8859_3"),
    "110": (b"\x1b-D", "iso8859_4"),
    "126": (b"\x1b-F", "iso8859_7"),
    "127": (b"\x1b-G", "iso8859_6"),
    "138": (b"\x1b-H", "iso8859_8"),
    "144": (b"\x1b-L", "iso8859_5"),
    "148": (b"\x1b-M", "iso8859_9"),
    "149": (b"\x1b$)C", "euc_kr"),
    "166": (b"\x1b-T", "iso8859_11"),
    "203": (b"\x1b-b", "iso8859_15"),
}
"""Repertoires by their number in the ISO registry: what designates them as G1, and the codec of its characters."""

_DESIGNATED: Final = dict(_G1.values())
_UTF_8: Final = "utf_8_sig"  # a byte order mark before a text is none of its characters
_WHOLE: Final = {"192": _UTF_8, "UTF8": _UTF_8, "GB18030": "gb18030", "GBK": "gb18030", "ISO2022GBK": "gb18030"}
"""Terms that allow no code extension. GBK is a part of GB 18030."""

_PARTS_OF_8859: Final = {
    "1": "100", "2": "101", "3": "109", "4": "110", "5": "144", "6": "127", "7": "126", "8": "138", "9": "148",
    "11": "166", "15": "203",
}  # fmt: skip
_ALSO_CALLED: Final = {"LATIN1": "100", "GB2312": "58"}
_TERM: Final = re.compile(r"(?:ISO)?(?:2022)?(?:IR)?([0-9]{1,3})")
_TOKEN: Final = re.compile(
    b"|".join(map(re.escape, sorted([*_G0, *_DESIGNATED], key=len, reverse=True)))
    + rb"|\x1b|[\x00-\x1a\x1c-\x7f]+|[\xa0-\xff]+|[\x80-\x9f]+"
)
_LONGEST: Final = 1024
_ESCAPE: Final = b"\x1b"
_ASCII: Final = "ascii"
_FIRST_ABOVE_G0: Final = 0x80
_FIRST_OF_G1: Final = 0xA0
_ENDS: Final = {
    **dict.fromkeys(("LT", "ST", "UT"), b"\t\n\f\r"),
    **dict.fromkeys(("LO", "SH", "UC"), b"\t\n\f\r\\"),
    "PN": b"\t\n\f\r\\^=",
}
"""VRs that are read by Specific Character Set, and what ends the effect of an escape sequence (PS3.5, 6.1.2.5.3)."""

_OCTAL: Final = "worker.imaging.octal"
_SPECIFIC_CHARACTER_SET: Final = Tag("SpecificCharacterSet")


@dataclass(frozen=True, slots=True)
class CharacterSet:
    """What a Specific Character Set says.

    Attributes:
        whole: the codec of a repertoire that allows no code extension.
        g1: the codec of the bytes above 127 until an escape sequence says otherwise; ``None``: there are none.
    """

    whole: str | None = None
    g1: str | None = None

    @staticmethod
    def declared(value: bytes) -> "CharacterSet":
        """Read a value of (0008,0005).

        A term counts as meant where it can mean one repertoire alone: ``ISO-IR 192``, ``iso ir 100`` and ``utf-8`` are
        misspelt, ``ISO 2022 IR 87`` without an empty value before it is incomplete. A term that means none counts as
        none.
        """
        return _declared(value)

    def read(self, value: bytes, vr: str) -> "Text":
        """Read an element of characters.

        Args:
            value: as it is stored, padding included.
            vr: its value representation. One that Specific Character Set says nothing of is read in ASCII.
        """
        if vr not in _ENDS:
            text = value.decode(_ASCII, _OCTAL)
            return Text(text, is_whole=value.isascii())
        with suppress(UnicodeDecodeError):
            return Text(self._decoded(value, _ENDS[vr], "strict"))
        with suppress(UnicodeDecodeError):
            if _ESCAPE not in value:
                return Text(value.decode(_UTF_8))
        return Text(self._decoded(value, _ENDS[vr], _OCTAL), is_whole=False)

    def _decoded(self, value: bytes, ends: bytes, errors: str) -> str:
        if self.whole is not None:
            return value.decode(self.whole, errors)
        parts, designated, g0, g1 = [], b"", _ASCII, self.g1
        for token in _TOKEN.findall(value):
            if token in _G0:
                designated, g0 = token, _G0[token]
            elif token in _DESIGNATED:
                g1 = _DESIGNATED[token]
            elif token[0] >= _FIRST_ABOVE_G0:
                has_meaning = token[0] >= _FIRST_OF_G1 and g1 is not None
                parts.append(token.decode(g1 if has_meaning else _ASCII, errors))
            elif g0 == _ASCII:
                parts.append(token.decode(_ASCII))
                if any(end in ends for end in token):
                    g1 = self.g1
            else:  # the codec has the state, not the bytes
                parts.append((designated + token).decode(g0, errors))
        return "".join(parts)


def is_plain(value: bytes) -> bool:
    """Whether bytes are the same text in every repertoire: ASCII alone, without an escape sequence."""
    return value.isascii() and _ESCAPE not in value


def written(text: str) -> set[bytes]:
    """Return the bytes that a text is in each repertoire which has all of it, without escape sequences."""
    found = set()
    for codec in (*_WHOLE.values(), *_DESIGNATED.values()):
        with suppress(UnicodeEncodeError):
            found.add(text.encode(codec))
    return found


@dataclass(frozen=True, slots=True)
class Text:
    """A text, and whether each of its bytes had a meaning."""

    text: str
    is_whole: bool = True


def declared_in(dataset: Dataset, outer: bytes = b"") -> bytes:
    """Return the Specific Character Set of a data set, or of the one that it is an item of.

    Args:
        dataset: as pydicom parsed it.
        outer: Specific Character Set of the data set that it is an item of.
    """
    element = dataset.get_item(_SPECIFIC_CHARACTER_SET)
    said = None if element is None else element.value
    if not isinstance(said, bytes):  # pydicom converted it, once a sequence was asked for
        said = "\\".join([said] if isinstance(said, str) else said or ()).encode("latin-1", "replace")
    return said[:_LONGEST].strip(b" \0") or outer


def read_texts(dataset: Dataset, outer: bytes = b"") -> None:
    """Read the texts of a data set, and of the items in it, in place, before pydicom does.

    Args:
        dataset: as pydicom parsed it; no text of it was asked for yet.
        outer: Specific Character Set of the data set that it is an item of.
    """
    declared = declared_in(dataset, outer)
    characters = CharacterSet.declared(declared)
    tags = tuple(dataset.keys())  # iterating over the data set itself would convert each value
    elements: list[DataElement | RawDataElement] = [dataset.get_item(tag) for tag in tags]
    for element in elements:
        vr = _vr(element)
        if vr == "SQ":
            for item in dataset[element.tag].value:
                read_texts(item, declared)
        elif vr in _ENDS and isinstance(element, RawDataElement):
            text = characters.read(element.value or b"", vr).text.rstrip(" \0")
            dataset[element.tag] = DataElement(element.tag, vr, text, validation_mode=IGNORE)


def _vr(element: DataElement | RawDataElement) -> str | None:
    if element.VR in (None, "UN") and dictionary_has_tag(element.tag):
        return dictionary_VR(element.tag)
    return element.VR


@lru_cache
def _declared(value: bytes) -> CharacterSet:
    terms = [re.sub(r"[^A-Z0-9]", "", term.upper()) for term in value.decode("latin-1").split("\\")]
    meant = [_meant(term) for term in terms]
    first = next((one for one in meant if one), "")
    if first in _WHOLE:
        return CharacterSet(whole=_WHOLE[first])
    extensions = list(dict.fromkeys(one for one in meant if one in _G1))
    # Behind a value that has no G1, several wait for their escape sequences, and one alone is meant without.
    return CharacterSet(g1=_G1[extensions[0]][1] if meant[0] in _G1 or len(extensions) == 1 else None)


def _meant(term: str) -> str:
    if term.startswith("ISO8859"):
        return _PARTS_OF_8859.get(term.removeprefix("ISO8859"), "")
    numbered = _TERM.fullmatch(term)
    return numbered[1] if numbered is not None else _ALSO_CALLED.get(term, term)


def _as_octal(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "".join(map(octal, error.object[error.start : error.end])), error.end


codecs.register_error(_OCTAL, _as_octal)
