"""The report stands alone, says the missed cancers first, and is the same for the same evaluation."""

import json
import re
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import islice
from pathlib import Path

import pytest

from tests.worker.evaluation.samples import BM, lesion, many, material
from worker.errors import SetupRefused
from worker.evaluation.document import Evaluation
from worker.evaluation.evaluation import evaluate
from worker.evaluation.evaluation_options import Options
from worker.evaluation.examples import Example, HeatPicture, Shown, Threshold, Why
from worker.evaluation.html_report import html, write_report
from worker.evaluation.plots import Plot, plots

NOW = datetime(2026, 11, 23, tzinfo=UTC)
QUICK = Options(resamples=20)
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def found() -> Evaluation:
    missed = lesion("missed-1", 0.1, 0.1, malignant=True, site=SCRIPT, patient="PX")
    return evaluate(material((*many(), missed)), QUICK, NOW)


@pytest.fixture(scope="module")
def small() -> Evaluation:
    """One model, with a notice, and no re-stratification."""
    demo = replace(BM, notice="demo, synthetic, not for clinical use")
    made = tuple(replace(one, scores={demo: one.scores[BM]}) for one in many(60))
    return evaluate(replace(material(made), scorers=(demo,), pairs=()), QUICK, NOW)


@pytest.fixture(scope="module")
def drawn(found: Evaluation) -> tuple[Plot, ...]:
    return tuple(plots(found))


@pytest.fixture(scope="module")
def page(found: Evaluation, drawn: tuple[Plot, ...]) -> str:
    return html(found, drawn)


class Tags(HTMLParser):
    """The tags of a page with their attributes, and which were not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone(page: str) -> None:
    tags = Tags(page)
    assert not tags.open
    assert "script" not in {tag for tag, _ in tags.found}
    addresses = [value for _, attributes in tags.found for name, value in attributes.items() if name in ("src", "href")]
    assert addresses
    assert all(str(address).startswith("data:image/svg+xml;base64,") for address in addresses)
    assert not re.search(r"https?://|@import|url\(|\bon\w+=", page)
    assert "default-src 'none'" in page


def test_missed_cancers_are_said_before_all_else(page: str, found: Evaluation) -> None:
    assert found.restratifications[0].missed_cancers
    body = page[page.index("<body>") :]
    assert body.index("Missed cancers: ") < body.index("missed-1") < body.index("<table>", body.index("spared"))
    assert body.index("missed-1") < body.index("AUC")


def test_what_came_with_the_file_is_text_and_never_markup(page: str) -> None:
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page


def test_no_patient_is_named(page: str, found: Evaluation) -> None:
    assert "PX" not in re.sub(r"base64,[^\"]*", "", page)


def test_every_picture_says_what_it_shows(page: str) -> None:
    pictures = [attributes for tag, attributes in Tags(page).found if tag == "img"]
    assert len(pictures) >= 8
    assert all(attributes["alt"] for attributes in pictures)


def test_a_notice_is_at_the_top(small: Evaluation, drawn: tuple[Plot, ...]) -> None:
    page = html(small, drawn)
    body = page[page.index("<body>") :]
    assert body.index("not for clinical use") < body.index("<h2>")
    assert "nothing is re-stratified" in body


def test_the_same_evaluation_gives_the_same_bytes(drawn: tuple[Plot, ...], found: Evaluation) -> None:
    one_of_each_kind = drawn[:5]
    assert tuple(islice(plots(found), 5)) == one_of_each_kind
    assert len({plot.name.split("-")[0] for plot in one_of_each_kind}) == 5
    svg = drawn[0].content["svg"]
    assert b"<dc:date>" not in svg
    assert b"matplotlib.org" not in svg.split(b"-->")[-1]
    assert drawn[0].content["png"].startswith(b"\x89PNG")


def test_plots_are_black_white_and_grey(drawn: tuple[Plot, ...]) -> None:
    for plot in drawn:
        colours = set(re.findall(rb"#([0-9a-f]{6})", plot.content["svg"]))
        assert all(colour[:2] == colour[2:4] == colour[4:] for colour in colours), plot.name


def looked_at(name: str = "missed-1", why: Why = Why.MISSED_CANCER, *notes: str) -> Shown:
    one = lesion(name, 0.1, 0.49998, malignant=True)
    thresholds = tuple(Threshold(scorer, 0.5) for scorer in one.scores)
    pictures = (HeatPicture(b"PNG of LH", "DLR_LH 1.0: high risk 0.100"), HeatPicture(b"PNG of BM", f"DLR_BM {SCRIPT}"))
    return Shown(Example(one, why, thresholds), pictures, notes)


def test_where_the_models_looked_is_in_the_page_with_scores_and_what_it_is_not(
    small: Evaluation, drawn: tuple[Plot, ...]
) -> None:
    page = html(small, drawn, (looked_at(), looked_at("alarm", Why.FALSE_POSITIVE, "Of its 9 images 3 are shown.")))
    part = page[page.index("Where the models looked") :]
    assert part.index("missed-1: missed cancer: advised down to BI-RADS 3") < part.index("alarm: benign, but malignant")
    assert "It is not a diagnosis." in " ".join(part.split())
    assert "DLR_BM 1.0: 0.49998, positive from 0.5." in " ".join(part.split())
    assert "Of its 9 images 3 are shown." in part
    assert f'src="data:image/png;base64,{b64encode(b"PNG of BM").decode()}"' in part
    assert "Where the models looked" not in html(small, drawn)


def test_the_page_stands_alone_with_pictures_in_it_too(small: Evaluation, drawn: tuple[Plot, ...]) -> None:
    page = html(small, drawn, (looked_at(SCRIPT),))
    tags = Tags(page)
    assert not tags.open
    assert SCRIPT not in page
    pictures = [attributes for tag, attributes in tags.found if tag == "img"]
    assert all(str(attributes["src"]).startswith("data:image/") and attributes["alt"] for attributes in pictures)
    assert not re.search(r"https?://|@import|url\(|\bon\w+=", page)


def test_a_folder_holds_page_numbers_schema_and_plots(
    tmp_path: Path, found: Evaluation, drawn: tuple[Plot, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.evaluation.html_report.plots", lambda _: drawn)
    folder = tmp_path / "new" / "report"
    write_report(found, folder)
    names = {path.name for path in folder.iterdir()}
    assert names == {"report.html", "metrics.json", "metrics.schema.json", "plots"}
    assert {path.suffix for path in (folder / "plots").iterdir()} == {".svg", ".png"}
    assert json.loads((folder / "metrics.json").read_text())["questions"][0]["judged"]
    assert folder.stat().st_mode & 0o077 == 0
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_an_empty_folder_is_filled(tmp_path: Path, small: Evaluation) -> None:
    write_report(small, tmp_path)
    assert (tmp_path / "report.html").exists()


def test_a_report_is_never_put_over_another(tmp_path: Path, found: Evaluation) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("kept")
    (tmp_path / "file").write_text("kept")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for taken in ("there", "file", "link"):
        with pytest.raises(SetupRefused, match="setting_invalid"):
            write_report(found, tmp_path / taken)
    assert (tmp_path / "there" / "file").read_text() == "kept"
    assert len(list(tmp_path.iterdir())) == 3
