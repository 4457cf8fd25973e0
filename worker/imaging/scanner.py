"""Which scanner and which site an image came from, as its header says; never for a log."""

from typing import Final

from worker.imaging.header import Header
from worker.study import Scanner
from worker.text import composed

LONGEST_NAME: Final = 64
"""Characters that are kept of one element: as many as an LO may have (PS3.5, table 6.2-1)."""

LONGEST_SCANNER: Final = 2 * LONGEST_NAME + 1
"""Characters of a manufacturer and a model."""

_LONGEST_VALUE = 16 * LONGEST_NAME


def scanner_of(header: Header) -> Scanner:
    """Read General Equipment (PS3.3, C.7.5.1): manufacturer with model, and institution, else station."""
    model = f"{_name(header, 'Manufacturer')} {_name(header, 'ManufacturerModelName')}".strip()
    site = _name(header, "InstitutionName") or _name(header, "StationName")
    return Scanner(model or None, site or None)


def _name(header: Header, keyword: str) -> str:
    """Return an LO or SH element, printable and on one line."""
    words = " ".join(composed(header.text(keyword)[:_LONGEST_VALUE]).replace("\0", " ").split())
    return "".join(character for character in words if character.isprintable())[:LONGEST_NAME].strip()
