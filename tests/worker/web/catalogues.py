"""The page's catalogues, held against what the page says: ``python -m tests.worker.web.catalogues [LANGUAGE]``.

It brings each catalogue up to date, and begins one for a language that has none. What is left empty is to be
translated.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

from db.schema.vocabulary import Event
from tests.places import ROOT
from worker.clinical.reading_order.policy import BUILT_IN, built_in
from worker.clinical.restratify import UNCERTAIN
from worker.errors import MEANINGS
from worker.web.accounts import WebRole
from worker.web.languages import CATALOGUES
from worker.web.rendering import EXTENSIONS

PAGE = ROOT / "worker" / "web"
METHODS = [("**/templates/**.html", "jinja2"), ("**.py", "python")]
OPTIONS = {"**/templates/**.html": {"extensions": ",".join(EXTENSIONS), "trimmed": "true", "silent": "false"}}
KEYWORDS = {**DEFAULT_KEYWORDS, "gettext_noop": None}
WIDTH = 110


def extracted() -> Catalog:
    """Return every sentence that the page can say, untranslated."""
    catalog = Catalog(charset="utf-8", fuzzy=False)
    for file, sentence in [*_marked(), *_said_elsewhere()]:
        catalog.add(sentence, locations=[(file, 0)])
    return catalog


def _marked() -> Iterator[tuple[str, str | tuple[str, ...]]]:
    """What is marked in the code and the templates, with the file it is in."""
    found = extract_from_dir(PAGE, METHODS, OPTIONS, KEYWORDS)  # type: ignore[arg-type]  # a list is a collection
    for file, _line, sentence, _comments, _context in found:
        yield f"worker/web/{file}", sentence


def _said_elsewhere() -> Iterator[tuple[str, str]]:
    """What the page shows of rooms that know nothing of languages."""
    yield from (("worker/error_meanings.py", meaning) for meaning in MEANINGS.values())
    yield "worker/clinical/restratify.py", UNCERTAIN
    for policy in map(built_in, BUILT_IN):
        for tier in policy.tiers:
            yield from (
                (f"worker/clinical/reading_order/{policy.name}-{policy.version}.toml", said)
                for said in (tier.title, *(rule.reason for rule in tier.rules))
            )
    yield from (("db/schema/vocabulary.py", event.value.replace("_", " ")) for event in Event)
    yield from (("worker/web/accounts.py", role.value) for role in WebRole)


def catalogue_of(code: str) -> Catalog:
    """Return a language's catalogue as it stands in its file; an empty one where there is none."""
    file = CATALOGUES / f"{code}.po"
    if not file.exists():
        return Catalog(locale=code, charset="utf-8", fuzzy=False)
    with file.open("rb") as written:
        return read_po(written, locale=code)


def renew(code: str, folder: Path = CATALOGUES) -> None:
    """Take new sentences in, without a translation, and leave out those that are no longer said."""
    catalog = catalogue_of(code)
    catalog.update(extracted(), no_fuzzy_matching=True)
    with (folder / f"{code}.po").open("wb") as file:
        # Without its head, which would say when this was last done: the language is in the file's name.
        write_po(file, catalog, WIDTH, omit_header=True, sort_output=True, ignore_obsolete=True, include_lineno=False)


if __name__ == "__main__":
    for wanted in sys.argv[1:] or [file.stem for file in CATALOGUES.glob("*.po")]:
        renew(wanted)
