"""The worklist page in a real browser, over the whole service: signing in, reading, keys, news, and no identifier."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, StorageState, expect
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.end_to_end.browser import chromium, context_of, require_chromium, sign_in, violations
from tests.end_to_end.conftest import Service
from tests.waiting import patience, until
from worker.demo.dicom import Header, write_ultrasound
from worker.phantom.phantom import phantom

WORKLIST = "SELECT study_id::text, accession_number FROM worklist ORDER BY position"


@dataclass
class Reader:
    """A window in which an administrator has signed in, and every address that it asked for."""

    page: Page
    url: str
    asked: list[str] = field(default_factory=list)

    def listed(self) -> list[str]:
        addresses = self.page.locator("tr.study th a").evaluate_all("all => all.map(one => one.href)")
        return [address.rsplit("/", 1)[1] for address in addresses]


@dataclass(frozen=True)
class Patient:
    """A study that was handed in, with everything that nobody else may see."""

    study_id: str
    header: Header
    sop: str
    file: str

    @property
    def identifiers(self) -> list[str]:
        header = self.header
        names = [header.patient_name, header.patient_id, header.accession_number, header.birth_date]
        return [*names, header.study_instance_uid, self.sop, self.file]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=patience(30) * 1000)
    with chromium(require_chromium()) as opened:
        yield opened


def hand_in(service: Service, folder: Path, number: int, *birads: str) -> Patient:
    header = Header(generate_uid(), f"Roe^Mary{number}", f"MRN{number}", f"PAGE{number}", "20261123", "19790517")
    drawn = phantom(number, malignant=bool(number % 2), rows=192, columns=256)
    path = service.storage_root / f"roe-{number}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    sop = write_ultrasound(path, header, [drawn.image], ExplicitVRLittleEndian)
    roi = {"x": drawn.roi.x, "y": drawn.roi.y, "width": drawn.roi.width, "height": drawn.roi.height}
    marked = folder / f"{number}.json"
    marked.write_text(json.dumps([{"birads": one, "roi": roi} for one in birads]))
    done = service.dlr("submit", path, "--lesions", marked, "--wait", "--format", "json")
    (row,) = json.loads(done.stdout)
    return Patient(row["study_id"], header, sop, path.name)


@pytest.fixture(scope="module")
def patients(service: Service, tmp_path_factory: pytest.TempPathFactory) -> list[Patient]:
    folder = tmp_path_factory.mktemp("lesions")
    return [hand_in(service, folder, 101, "4A", "4B"), hand_in(service, folder, 102, "3")]


@pytest.fixture(scope="module")
def url(service: Service) -> str:
    return service.page_url


@pytest.fixture(scope="module")
def password(service: Service) -> str:
    assert service.services.web_password_file is not None
    return service.services.web_password_file.read_text()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, url: str, password: str) -> StorageState:
    """The cookies of an administrator."""
    context = context_of(browser)
    sign_in(context.new_page(), url, "admin", password)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def reader(browser: Browser, url: str, signed_in: StorageState, patients: list[Patient]) -> Iterator[Reader]:
    context = context_of(browser, storage_state=signed_in)
    reader = Reader(context.new_page(), url)
    reader.page.on("request", lambda request: reader.asked.append(request.url))
    reader.page.goto(url)
    yield reader
    context.close()


def test_a_wrong_password_stays_outside_and_the_cookie_is_for_no_script(
    browser: Browser, reader: Reader, url: str
) -> None:
    [session] = [one for one in reader.page.context.cookies() if one["name"] == "dlr_session"]
    assert (session["httpOnly"], session["sameSite"]) == (True, "Strict")
    assert reader.page.evaluate("document.cookie") == ""
    stranger = context_of(browser).new_page()
    stranger.goto(url)
    stranger.get_by_label("Name").fill("admin")
    stranger.get_by_label("Password").fill("not the password")
    stranger.get_by_role("button", name="Sign in").click()
    expect(stranger.get_by_role("alert")).to_have_text("The name or the password is wrong.")
    stranger.context.close()


def test_the_order_is_that_of_the_view_and_a_filter_keeps_it(reader: Reader, service: Service) -> None:
    assert reader.listed() == [row["study_id"] for row in service.sql(WORKLIST)][:50]
    reader.page.get_by_label("Advice").select_option("not_applicable")
    reader.page.get_by_role("button", name="Filter").click()
    expect(reader.page.get_by_role("link", name="All studies")).to_be_visible()
    where = WORKLIST.replace(" ORDER", " WHERE worklist_class = 'not_applicable' ORDER")
    assert reader.listed() == [row["study_id"] for row in service.sql(where)][:50]


def test_a_search_finds_a_study_and_its_number_is_in_no_address(reader: Reader, patients: list[Patient]) -> None:
    number = patients[0].header.accession_number
    reader.page.get_by_label("Accession number").fill(number.lower())
    reader.page.get_by_role("button", name="Find").click()
    expect(reader.page.get_by_role("heading", name="Search results")).to_be_visible()
    assert reader.listed() == [patients[0].study_id]
    assert not [one for one in reader.asked if number.lower() in one.lower()]


def test_a_study_shows_its_pictures_its_scores_and_why(reader: Reader, patients: list[Patient]) -> None:
    reader.page.goto(f"{reader.url}/studies/{patients[0].study_id}")
    sizes = reader.page.locator("figure img").evaluate_all("all => all.map(one => one.naturalWidth)")
    assert len(sizes) == 4
    assert all(width > 0 for width in sizes)
    expect(reader.page.locator(".rule").first).to_contain_text("DLR_LH says")
    expect(reader.page.get_by_role("note").first).to_contain_text("not for clinical use")
    expect(reader.page.get_by_role("heading", name="History")).to_be_visible()


def test_a_file_that_went_away_is_said_in_the_place_of_its_picture(
    reader: Reader, service: Service, patients: list[Patient]
) -> None:
    path = service.storage_root / patients[1].file
    hidden = path.rename(path.with_suffix(".away"))
    try:
        reader.page.goto(f"{reader.url}/studies/{patients[1].study_id}")
        expect(reader.page.locator(".no-picture")).to_have_count(2)
    finally:
        hidden.rename(path)


def test_it_is_walked_by_keys_alone(reader: Reader) -> None:
    page = reader.page
    page.goto(reader.url)
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("Enter")
    studies = page.locator("tr.study th a")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('tr.study') !== null"):
            break
    expect(studies.nth(0)).to_be_focused()
    assert page.evaluate(outline) == "solid"
    page.keyboard.press("j")
    expect(studies.nth(1)).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("k")
    expect(studies.nth(0)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/studies/*")


def test_news_is_said_politely_and_moves_nothing(
    reader: Reader, service: Service, tmp_path: Path, patients: list[Patient]
) -> None:
    page = reader.page
    page.clock.install()
    page.goto(reader.url)
    before = reader.listed()
    page.locator("tr.study th a").last.focus()
    place = page.evaluate("window.scrollY")
    patient = hand_in(service, tmp_path, 103, "4A")
    page.clock.run_for(5_000)
    news = page.get_by_role("status")
    expect(news).to_contain_text("The worklist has changed.")
    assert news.get_attribute("aria-live") == "polite"
    expect(page.locator("[data-count=listed]")).to_have_text(str(len(service.sql(WORKLIST))))
    assert reader.listed() == before
    assert page.evaluate("window.scrollY") == place
    expect(page.locator("tr.study th a").last).to_be_focused()
    news.get_by_role("link", name="Show the current list").click()
    page.wait_for_load_state()
    assert patient.study_id in reader.listed() or len(before) == 50
    expect(news).to_be_empty()


@pytest.mark.parametrize("name", ["sign-in", "worklist", "study", "search", "refused", "nowhere"])
def test_axe_finds_nothing_to_complain_of(
    name: str, browser: Browser, reader: Reader, patients: list[Patient], service: Service
) -> None:
    page = reader.page
    if name == "refused":
        service.push({"study_instance_uid": "1.2.3.77", "accession_number": "REFUSED-77", "priority": "STAT"})
        service.until(lambda: service.sql("SELECT FROM failed_study WHERE accession_number = 'REFUSED-77'"))
        page.goto(reader.url)
        page.get_by_role("link", name="Refused").click()
        expect(page.get_by_role("rowheader", name="REFUSED-77")).to_be_visible()
        assert violations(page) == []
        return
    if name == "sign-in":
        page = context_of(browser).new_page()
    addresses = {"sign-in": "/sign-in", "study": f"/studies/{patients[0].study_id}", "nowhere": "/nowhere"}
    page.goto(reader.url + addresses.get(name, "/"))
    if name == "search":
        page.get_by_label("Accession number").fill("page")
        page.get_by_role("button", name="Find").click()
        expect(page.get_by_role("heading", name="Search results")).to_be_visible()
    assert violations(page) == []


def test_axe_itself_finds_what_is_wrong(browser: Browser) -> None:
    page = context_of(browser).new_page()
    page.set_content("<html><body><img src='x.png'><input></body></html>")
    assert {"image-alt", "label"} <= {one.split()[0] for one in violations(page)}
    page.context.close()


def test_it_works_without_a_script(browser: Browser, url: str, password: str, patients: list[Patient]) -> None:
    page = context_of(browser, java_script_enabled=False).new_page()
    sign_in(page, url, "admin", password)
    expect(page.get_by_role("link", name="Reload")).to_be_visible()
    page.locator("tr.study th a").first.click()
    expect(page.get_by_role("heading", name="Lesion 1")).to_be_visible()
    page.context.close()


def test_signing_out_is_for_good(browser: Browser, url: str, password: str) -> None:
    page = context_of(browser).new_page()
    sign_in(page, url, "admin", password)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.goto(url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.context.close()


def test_no_identifier_is_in_an_address_a_title_or_the_log(
    reader: Reader, service: Service, patients: list[Patient]
) -> None:
    titles = []
    for path in ("/", *(f"/studies/{patient.study_id}" for patient in patients), "/nowhere"):
        reader.page.goto(reader.url + path)
        titles.append(reader.page.title())
    logs = {log.name: log.read_text(errors="replace") for log in (service.home / "logs").glob("*.log*")}
    assert patients[0].study_id in logs["web.log"]
    seen = "\n".join([*reader.asked, *titles, *logs.values()])
    assert [one for patient in patients for one in patient.identifiers if one in seen] == []


def test_nothing_is_asked_of_any_other_host_and_the_console_is_silent(reader: Reader, patients: list[Patient]) -> None:
    said: list[str] = []
    reader.page.on("console", lambda message: said.append(message.text))
    reader.page.on("pageerror", lambda error: said.append(str(error)))
    for path in ("/", f"/studies/{patients[0].study_id}"):
        reader.page.goto(reader.url + path)
        reader.page.wait_for_load_state("networkidle")
    assert said == []
    assert [one for one in reader.asked if not re.match(re.escape(reader.url), one)] == []


# --- Flower


@pytest.fixture
def flower(browser: Browser, service: Service) -> Iterator[Page]:
    settings = service.services.settings
    assert settings.flower_password is not None
    known = {"username": settings.flower_user, "password": settings.flower_password.get_secret_value()}
    context = context_of(browser, http_credentials=known)
    page = context.new_page()
    page.goto(f"{service.flower_url}/workers")
    yield page
    context.close()


def test_flower_asks_for_a_password(browser: Browser, service: Service) -> None:
    context = context_of(browser)
    answer = context.request.get(f"{service.flower_url}/workers")
    assert answer.status == 401
    context.close()


def test_flower_shows_both_workers(flower: Page) -> None:
    for worker in ("intake", "inference"):
        expect(flower.locator("#workers-table")).to_contain_text(f"{worker}@")
    expect(flower.locator("#workers-table")).to_contain_text("Online")


def test_flower_shows_a_task_by_its_opaque_id_and_nothing_of_its_patient(
    flower: Page, service: Service, patients: list[Patient]
) -> None:
    patient = patients[0]

    def shown() -> bool:
        flower.goto(f"{service.flower_url}/task/{patient.study_id}")
        return patient.study_id in flower.inner_text("body")

    until(shown)
    expect(flower.locator("body")).to_contain_text("dlr.infer_study")
    pages = [flower.content()]
    flower.goto(f"{service.flower_url}/tasks")
    expect(flower.locator("#tasks-table")).to_contain_text(patient.study_id[:8])
    pages.append(flower.content())
    assert [one for one in patient.identifiers if any(one in page for page in pages)] == []
