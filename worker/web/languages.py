"""The languages of the page: one gettext catalogue each, and which of them a browser asks for.

English is written in the code and the templates; ``catalogues/`` holds the other languages.
"""

from dataclasses import dataclass
from functools import lru_cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.core import negotiate_locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations

CATALOGUES = Path(__file__).parent / "catalogues"
ENGLISH = "en"

_LOCALES = {ENGLISH: "en_GB"}
"""Locales with other dates than those of the bare language: 29 Nov 2026, 13:05, and not Nov 29, 2026, 1:05 PM."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language of the page.

    Attributes:
        code: as ``lang`` has it (BCP 47).
        catalogue: its sentences by the English ones; one that it lacks stays English.
        locale: how it writes dates.
    """

    code: str
    catalogue: NullTranslations
    locale: Locale

    def __call__(self, sentence: str) -> str:
        """Return a sentence, or a word, in this language."""
        return self.catalogue.gettext(sentence) if sentence else ""


def gettext_noop(sentence: str) -> str:
    """Mark a sentence that is put into the reader's language where it is shown."""
    return sentence


@lru_cache(maxsize=1)
def codes() -> tuple[str, ...]:
    """Return the codes of all languages, English first."""
    return (ENGLISH, *sorted(file.stem for file in CATALOGUES.glob("*.po")))


@lru_cache(maxsize=16)
def language(code: str) -> Language:
    """Return the language of one of the `codes`."""
    locale = Locale.parse(_LOCALES.get(code, code), sep="-" if "-" in code else "_")
    if code == ENGLISH:
        return Language(code, NullTranslations(), locale)
    compiled = BytesIO()
    with (CATALOGUES / f"{code}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale))
    compiled.seek(0)
    return Language(code, Translations(compiled), locale)


def asked_for(accept_language: str) -> Language:
    """Return the language that an ``Accept-Language`` (RFC 9110) prefers among ours; English where we have none."""
    wanted = sorted(filter(None, map(_preference, accept_language.split(","))), reverse=True)
    return language(negotiate_locale([name for _, name in wanted], codes(), sep="-") or ENGLISH)


def _preference(part: str) -> tuple[float, str] | None:
    """Read one language of the header with its weight; ``None`` for what is none, or is not wanted."""
    name, _, weight = part.partition(";")
    try:
        quality = float(weight.strip().removeprefix("q=") or 1)
    except ValueError:
        return None
    return (quality, name.strip()) if quality > 0 and name.strip() else None
