"""How a template becomes a page: in one language, with everything escaped."""

from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from worker import __version__
from worker.web import appearance, words
from worker.web.languages import Language
from worker.web.times import Clock

HERE = Path(__file__).parent

EXTENSIONS = ("jinja2.ext.i18n",)
POLICIES = {"ext.i18n.trimmed": True}


@lru_cache(maxsize=16)
def templates(language: Language, zone: ZoneInfo | None) -> Environment:
    """Return the templates in a language and a time zone.

    ``_`` and ``trans`` are gettext's; ``translated`` is for what was marked in the code.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        extensions=EXTENSIONS,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies |= POLICIES
    environment.install_gettext_translations(language.catalogue, newstyle=True)  # type: ignore[attr-defined]  # ext.i18n
    clock = Clock(language, zone)
    environment.globals |= {
        "language": language,
        "words": words.Words(language),
        "clock": clock,
        "version": __version__,
        "SCHEMES": appearance.SCHEMES,
        **{name: getattr(words, name) for name in TABLES},
    }
    environment.filters |= {
        "translated": language,
        "moment": clock.moment,
        "second": clock.second,
        "probability": words.probability,
    }
    return environment


TABLES = ("CLASSES", "OUTCOMES", "STATES", "PRIORITIES", "AGE_SOURCES", "REGION_SOURCES", "SIDES", "READ", "SORTS",
          "TIER_SIGNS", "PLANES")  # fmt: skip
"""What templates look up in `words` by a word of the database."""
