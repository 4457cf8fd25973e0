"""The page in its languages: every sentence is in each catalogue, and a browser gets the one that it asks for."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from gettext import NullTranslations
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel import Locale
from babel.messages.catalog import Catalog, Message
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.schema.records import ImageResultRecord, LesionImageRecord
from db.schema.vocabulary import Plane
from db.writes import ledger
from tests.db.samples import DEMO, arrived, ended, lesion, refused, scored, scored_image, study
from tests.worker.web import catalogues
from tests.worker.web.conftest import Kept, client_of, search, token_in
from worker.errors import Code, SetupRefused
from worker.settings import Settings
from worker.web import languages
from worker.web.languages import ENGLISH, Language, asked_for, codes, language
from worker.web.serve import check
from worker.web.site import Site
from worker.web.times import Clock

SignIn = Callable[..., TestClient]
TRANSLATED = [code for code in codes() if code != ENGLISH]
each_language = pytest.mark.parametrize("code", TRANSLATED)


# --- the catalogues


def holes(catalog: Catalog, said: Catalog) -> list[str]:
    """Return what is wrong with a catalogue, held against what the page says."""
    wanted, given = ({str(one.id): one for one in each if one.id} for each in (said, catalog))
    return [
        *(f"missing: {sentence}" for sentence in wanted.keys() - given.keys()),
        *(f"no longer said: {sentence}" for sentence in given.keys() - wanted.keys()),
        *(f"empty: {sentence}" for sentence, one in given.items() if not all(texts(one.string))),
        *(f"fuzzy: {sentence}" for sentence, one in given.items() if one.fuzzy),
        *(f"other parts: {sentence}" for sentence, one in given.items() if not has_same_parts(one)),
    ]


def texts(one: object) -> tuple[str, ...]:
    return tuple(map(str, one)) if isinstance(one, tuple | list) else (str(one or ""),)


def has_same_parts(one: Message) -> bool:
    """Whether each translation has the placeholders, the tags, the code and the outer spaces of its sentence."""
    ids, strings = texts(one.id), texts(one.string)
    return all(parts(found) == parts(ids[min(place, len(ids) - 1)]) for place, found in enumerate(strings) if found)


def parts(sentence: str) -> Counter[str]:
    found = re.findall(r"%\(\w+\)s|\{\w+\}|<[^>]+>|`[^`]+`|\bDLR_\w+", sentence)
    return Counter([*found, f"{sentence != sentence.lstrip()} {sentence != sentence.rstrip()}"])


@each_language
def test_a_catalogue_has_every_sentence_of_the_page_and_no_other(code: str) -> None:
    assert holes(catalogues.catalogue_of(code), catalogues.extracted()) == [], "python -m tests.worker.web.catalogues"


@pytest.mark.parametrize(
    ("sentence", "translation", "fault"),
    [
        ("Sign in", "", "empty: Sign in"),
        ("Welcome", "Willkommen", "no longer said: Welcome"),
        ("Sign in", None, "missing: Sign in"),
        ("received %(time)s", "eingegangen", "other parts: received %(time)s"),
        (" or ", "oder", "other parts:  or "),
    ],
)
def test_a_fault_of_a_catalogue_is_found(sentence: str, translation: str | None, fault: str) -> None:
    catalog, said = catalogues.catalogue_of("de"), catalogues.extracted()
    before = set(holes(catalog, said))
    if translation is None:
        catalog.delete(sentence)
    elif (entry := catalog.get(sentence)) is not None:
        entry.string = translation
    else:
        catalog.add(sentence, translation)
    assert set(holes(catalog, said)) - before == {fault}


def test_a_fuzzy_entry_is_a_fault() -> None:
    catalog = catalogues.catalogue_of("de")
    entry = catalog.get("Sign in")
    assert entry is not None
    entry.flags.add("fuzzy")
    assert "fuzzy: Sign in" in holes(catalog, catalogues.extracted())


def test_a_new_language_begins_with_every_sentence_untranslated(tmp_path: Path) -> None:
    catalogues.renew("fr", tmp_path)
    begun = (tmp_path / "fr.po").read_text("utf-8")
    assert begun.count('\nmsgstr ""\n') > 200
    assert 'msgid "Sign in"' in begun


@each_language
def test_renewing_a_catalogue_changes_nothing_where_nothing_is_new(code: str, tmp_path: Path) -> None:
    catalogues.renew(code, tmp_path)
    assert (tmp_path / f"{code}.po").read_text("utf-8") == (languages.CATALOGUES / f"{code}.po").read_text("utf-8")


# --- what is said on a page


class Marking(NullTranslations):
    """A catalogue of a language in which everything stands between brackets."""

    def gettext(self, message: str) -> str:
        return f"⟦{message}⟧"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return f"⟦{msgid1 if n == 1 else msgid2}⟧"


class Said(HTMLParser):
    """Collects what people read or hear of a page."""

    HEARD = ("title", "alt", "aria-label", "placeholder", "data-news", "data-action")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[str] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.all.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        self.all += [value for name, value in attrs if name in self.HEARD and value]


NAMES = re.compile(
    r"DLR_LH|DLR_BM|BI-RADS|SHA-256|dlr-worker|dlr failed \w+|fig-s5/\d|ACC[-\w]+|acc\b|Mary's left|mm\b|UTC|utc|"
    r"\d+ \w{3} \d{4}, [\d:]+|reader|admin|dlr_\w+|[0-9a-f-]{8,}|\b[a-z]+(?:_[a-z]+)+\b|<b>no</b> lesion|no age|"
    rf"receive\b|Acme Sono 1|Example Hospital|suspicion/2|{re.escape(DEMO)}"
)
"""What is the same in every language: names, codes, versions, and what others wrote."""


def untranslated(html: str) -> Iterator[str]:
    html = re.sub(r'<span class="detail">.*?</span>', "", html)  # a record of the history, as SQL shows it too
    text = "\n".join(Said(html).all)
    while "⟦" in text:
        text = re.sub(r"⟦[^⟦⟧]*⟧", "", text)
    text = NAMES.sub("", text)
    yield from re.findall(r"[^\W\d_]{2,}.*", text)


@pytest.fixture
def marked(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the page says stands between brackets."""
    marking = Language("en", Marking(), Locale.parse("en_GB"))
    monkeypatch.setattr(Site, "language_of", lambda *_: marking)


@pytest.mark.usefixtures("marked")
def test_every_word_of_every_page_is_translated(
    kept: Kept, sessions: sessionmaker[Session], sign_in: SignIn, stranger: TestClient
) -> None:
    with sessions.begin() as session:
        partly = study("1.2.5", "partly", accession_number="ACC2", lesions=(lesion("ACC-L1"), lesion("ACC-L2")))
        several = ended(session, partly, scored("ACC-L1"), refused("ACC-L2")).study_id
        views = tuple(LesionImageRecord("1.2.9", 7, None, plane.value) for plane in Plane)
        place = {"laterality": "left", "clock_position": 10, "distance_to_nipple_mm": 35.5, "depth_mm": 12.0}
        of_views = study("1.2.6", "views", accession_number="ACC4", lesions=(lesion("ACC-L1", images=views, **place),))
        said = [scored_image(), scored_image(0.1, 0.2), *[ImageResultRecord("failed", "pixels_uniform")] * 3]
        in_planes = ended(session, of_views, replace(scored("ACC-L1"), images=tuple(said))).study_id
        waiting = arrived(session, study("1.9", "9", accession_number="ACC3")).study_id
        why = ("lesions_missing", "<b>no</b> lesion", "receive")
        ledger.record_refusal(session, "a" * 64, {}, *why, accession_number="ACC-77")
    admin = sign_in("admin")
    pages = {name: admin.get(name).text for name in ("/", "/?state=failed&class=upgraded", "/refused", "/nowhere")}
    pages |= {str(one): admin.get(f"/studies/{one}").text for one in (kept.study_id, several, in_planes, waiting)}
    pages |= {"search": search(admin, "acc"), "sign-in": stranger.get("/sign-in").text}
    pages["onwards"] = stranger.get("/open/x").text
    pages["wrong"] = stranger.post("/sign-in", data={"token": token_in(stranger, "/sign-in"), "name": "x"}).text
    for html in pages.values():
        assert "⟦" in html
    assert {name: found for name, html in pages.items() if (found := list(untranslated(html)))} == {}


# --- which language


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr;q=1.0, de;q=0.5, en;q=0.4", "de"),
        ("fr", "en"),
        ("de;q=0", "en"),
        ("*", "en"),
        (";;;,,q=x;de;q=nan?", "en"),
    ],
)
def test_a_browser_gets_the_language_that_it_prefers_of_ours(header: str, code: str) -> None:
    assert asked_for(header).code == code


def test_a_page_is_in_the_browsers_language_and_says_which(kept: Kept, sign_in: SignIn) -> None:
    reader = sign_in()
    for code, said in (("en", "Upgrade advised"), ("de", "Hochstufung empfohlen")):
        answer = reader.get(f"/studies/{kept.study_id}", headers={"Accept-Language": code})
        assert answer.headers["content-language"] == code
        assert f'<html lang="{code}" dir="ltr">' in answer.text
        assert said in answer.text


def test_a_site_can_give_everybody_one_language(site: Site) -> None:
    client = client_of(replace(site, language="de"))
    assert "<h1>Anmelden</h1>" in client.get("/sign-in", headers={"Accept-Language": "en"}).text


def test_a_language_that_the_page_has_not_is_refused_at_the_start(accounts_file: Path) -> None:
    check(Settings(web_accounts=accounts_file, web_language="de"))
    with pytest.raises(SetupRefused) as refused:
        check(Settings(web_accounts=accounts_file, web_language="tlh"))
    assert refused.value.code is Code.SETTING_INVALID
    assert "DLR_WEB_LANGUAGE" in refused.value.reason
    assert "en, de" in refused.value.reason


@pytest.mark.parametrize(("code", "said"), [("en", r"9 Nov 2026, \d\d:05"), ("de", r"09\.11\.2026, \d\d:05")])
def test_a_time_is_written_as_the_language_does(code: str, said: str) -> None:
    assert re.fullmatch(said, Clock(language(code)).moment(datetime(2026, 11, 9, 12, 5, tzinfo=UTC)))
