"""The worklist page in a real browser, over the whole service: signing in, reading, keys, news, and no identifier."""

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, StorageState, expect
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests.end_to_end.browser import chromium, context_of, require_chromium, sign_in, violations
from tests.end_to_end.conftest import Service
from tests.waiting import patience, until
from worker.demo.dicom import Header, write_ultrasound
from worker.phantom.phantom import phantom

WORKLIST = "SELECT study_id::text, accession_number FROM worklist WHERE read_at IS NULL ORDER BY position"


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


def hand_in(service: Service, folder: Path, number: int, *birads: str, accession: str = "") -> Patient:
    accession = accession or f"PAGE{number}"
    header = Header(generate_uid(), f"Roe^Mary{number}", f"MRN{number}", accession, "20261123", "19790517")
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


def hand_in_planes(service: Service, folder: Path, number: int) -> Patient:
    """Hand a lesion in that is marked on three images: two planes, and one that is black all over."""
    header = Header(generate_uid(), f"Roe^Mary{number}", f"MRN{number}", f"PAGE{number}", "20261123", "19790517")
    drawn = [phantom(number + one, malignant=True, rows=192, columns=256) for one in range(2)]
    files = [service.storage_root / f"roe-{number}" / f"{one}.dcm" for one in range(3)]
    files[0].parent.mkdir(parents=True)
    pixels = [*(one.image for one in drawn), np.zeros_like(drawn[0].image)]
    sops = [
        write_ultrasound(file, header, [one], ExplicitVRLittleEndian) for file, one in zip(files, pixels, strict=True)
    ]
    rois = [asdict(one.roi) for one in (*drawn, drawn[0])]
    images = [
        {"sop_instance_uid": sop, "roi": roi, "plane": plane}
        for sop, roi, plane in zip(sops, rois, ("radial", "antiradial", "oblique"), strict=True)
    ]
    marked = folder / f"{number}.json"
    place = {"laterality": "left", "clock_position": 10, "distance_to_nipple_mm": 35}
    marked.write_text(json.dumps([{"birads": "4A", "images": images, **place}]))
    done = service.dlr("submit", files[0].parent, "--lesions", marked, "--wait", "--format", "json")
    (row,) = json.loads(done.stdout)
    return Patient(row["study_id"], header, sops[0], files[0].name)


@pytest.fixture(scope="module")
def planes(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Patient:
    """A study whose lesion is on three images, of which one is refused."""
    return hand_in_planes(service, tmp_path_factory.mktemp("planes"), 120)


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
    where = WORKLIST.replace(" ORDER", " AND worklist_class = 'not_applicable' ORDER")
    assert reader.listed() == [row["study_id"] for row in service.sql(where)][:50]


def test_a_search_finds_a_study_and_its_number_is_in_no_address(reader: Reader, patients: list[Patient]) -> None:
    number = patients[0].header.accession_number
    reader.page.get_by_role("textbox", name="Search").fill(number.lower())
    reader.page.get_by_role("button", name="Find").click()
    expect(reader.page.get_by_role("heading", name="Search results")).to_be_visible()
    assert reader.listed() == [patients[0].study_id]
    assert not [one for one in reader.asked if number.lower() in one.lower()]
    reader.page.locator("tr.study th a").click()
    reader.page.go_back()
    expect(reader.page.get_by_role("heading", name="Search results")).to_be_visible()
    assert reader.listed() == [patients[0].study_id]


def test_a_link_of_another_site_opens_the_study_of_who_has_signed_in(reader: Reader, patients: list[Patient]) -> None:
    number = patients[0].header.accession_number
    page = reader.page
    page.goto(reader.url.replace("127.0.0.1", "localhost") + "/sign-in")  # to a browser another site
    page.evaluate(
        "url => { const a = document.createElement('a'); document.body.append(a); a.href = url; a.click(); }",
        f"{reader.url}/open?accession={number}",
    )
    page.wait_for_url(f"**/studies/{patients[0].study_id}")
    expect(page.get_by_role("heading", name=number)).to_be_visible()
    assert [one for one in reader.asked if number in one] == [f"{reader.url}/open?accession={number}"]
    page.go_back()
    assert number not in page.url


def test_a_study_leads_to_the_viewer_and_says_its_times_at_the_site_and_in_utc(
    reader: Reader, patients: list[Patient]
) -> None:
    page = reader.page
    page.goto(f"{reader.url}/studies/{patients[0].study_id}")
    viewer = page.get_by_role("link", name="Open in the PACS viewer")
    assert viewer.get_attribute("href") == (
        f"https://pacs.example.org/view?study={patients[0].header.study_instance_uid}"
    )
    assert viewer.get_attribute("rel") == "noopener noreferrer"
    received = page.locator("time").first
    utc = datetime.fromisoformat(received.get_attribute("datetime") or "").astimezone(UTC)
    assert received.get_attribute("title") == f"{utc:%Y-%m-%d %H:%M:%S} UTC"
    expect(received).to_contain_text(f"{utc.astimezone(ZoneInfo('Asia/Kolkata')):%H:%M}")
    expect(page.get_by_text("Times are Asia/Kolkata")).to_be_visible()


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
    for _ in range(40):
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


def test_keys_work_at_once_on_the_list_and_on_a_study(reader: Reader) -> None:
    page, ids = reader.page, reader.listed()
    studies = page.locator("tr.study th a")
    page.keyboard.press("j")
    expect(studies.nth(0)).to_be_focused()
    page.keyboard.press("ArrowDown")
    expect(studies.nth(1)).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/studies/{ids[1]}")
    for key, place in (("k", 0), ("ArrowRight", 1), ("ArrowLeft", 0), ("j", 1)):
        page.keyboard.press(key)
        page.wait_for_url(f"**/studies/{ids[place]}")
    page.keyboard.press("/")
    page.keyboard.type("jk?")
    expect(page.get_by_role("textbox", name="Search")).to_have_value("jk?")
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("u")
    expect(page.get_by_role("heading", name="Worklist")).to_be_visible()


def test_a_tier_is_shown_alone_and_a_place_is_gone_to_by_keys(reader: Reader, service: Service) -> None:
    page = reader.page
    page.get_by_role("navigation", name="Tiers").get_by_role("link", name="Low").click()
    expect(page.locator("tr.group")).to_have_count(1)
    where = WORKLIST.replace(" ORDER", " AND tier = 'low' ORDER")
    assert reader.listed() == [row["study_id"] for row in service.sql(where)][:50]
    for place, row in ((2, service.sql(WORKLIST)[1]), (1, service.sql(WORKLIST)[0])):
        page.keyboard.press("g")
        page.keyboard.type(str(place))
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/studies/{row['study_id']}")
        expect(page.get_by_text(f"Place {place} of")).to_be_visible()


def test_another_order_leads_back_to_that_of_reading(reader: Reader) -> None:
    page, ids = reader.page, reader.listed()
    page.get_by_role("link", name="Received").click()
    expect(page.get_by_text("This is not the reading order")).to_be_visible()
    assert sorted(reader.listed()) == sorted(ids)
    assert violations(page) == []
    page.get_by_role("link", name="Back to the reading order").click()
    expect(page.get_by_text("This is not the reading order")).to_be_hidden()
    assert reader.listed() == ids


def test_a_german_browser_gets_a_german_page(
    browser: Browser, url: str, signed_in: StorageState, patients: list[Patient]
) -> None:
    page = context_of(browser, storage_state=signed_in, locale="de-DE").new_page()
    for address, heading in (("/", "Arbeitsliste"), (f"/studies/{patients[0].study_id}", "Läsion 1 L1")):
        page.goto(url + address)
        expect(page.get_by_role("heading", name=heading)).to_be_visible()
        assert page.evaluate("document.documentElement.lang") == "de"
        assert violations(page) == []
    page.context.close()


def test_a_question_mark_shows_the_keys_and_escape_closes_them(reader: Reader) -> None:
    page = reader.page
    dialog = page.get_by_role("dialog", name="Keyboard")
    for open_it in (lambda: page.keyboard.press("?"), lambda: page.get_by_role("button", name="Keyboard").click()):
        open_it()
        expect(dialog).to_be_visible()
        page.keyboard.press("j")
        expect(dialog.get_by_role("button", name="Close")).to_be_focused()
        page.keyboard.press("Escape")
        expect(dialog).to_be_hidden()


def test_a_picture_is_enlarged_by_keys_and_by_the_mouse(reader: Reader, patients: list[Patient]) -> None:
    page = reader.page
    page.goto(f"{reader.url}/studies/{patients[0].study_id}")
    page.locator("a.zoom").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="The picture, larger")
    picture, scale = dialog.locator("img"), dialog.locator("output")
    expect(picture).to_have_attribute("alt", "Lesion 1 with its surroundings, as stored")
    expect(scale).to_have_text("100 %")
    whole = picture.bounding_box()
    page.keyboard.press("+")
    expect(scale).to_have_text("150 %")
    larger = picture.bounding_box()
    assert whole is not None
    assert larger is not None
    assert larger["width"] == pytest.approx(1.5 * whole["width"], rel=0.05)
    picture.hover()
    page.mouse.wheel(0, -100)
    expect(scale).to_have_text("188 %")
    dialog.get_by_role("button", name="Whole picture").click()
    expect(scale).to_have_text("100 %")
    assert violations(page) == []
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()


def test_a_heat_map_that_was_made_is_switched_on_and_off(
    reader: Reader, service: Service, patients: list[Patient]
) -> None:
    page, study = reader.page, patients[0].study_id
    folder = service.services.settings.web_heat_maps
    assert folder is not None
    page.goto(f"{reader.url}/studies/{study}")
    expect(page.get_by_role("group", name="Heat map")).to_have_count(0)
    assert service.dlr("explain", study, "--output", folder).returncode == 0
    page.reload()
    lesion = page.locator(".lesion").first
    heat, crop = lesion.locator(".heat.DLR_LH"), lesion.locator(".crop")
    expect(heat).to_be_hidden()
    lesion.get_by_role("radio", name="DLR_LH").check()
    expect(heat.get_by_role("img")).to_be_visible()
    expect(crop).to_be_hidden()
    assert heat.locator("img").evaluate("one => one.decode().then(() => one.naturalWidth)") > 300
    assert violations(page) == []
    lesion.get_by_role("radio", name="off").check()
    expect(heat).to_be_hidden()
    expect(crop).to_be_visible()


def test_a_lesions_images_stand_in_a_row_below_their_one_score(reader: Reader, planes: Patient) -> None:
    page = reader.page
    page.goto(f"{reader.url}/studies/{planes.study_id}")
    lesion = page.get_by_role("region", name="Lesion 1 L1", exact=True)
    images = lesion.get_by_role("region", name="Images of lesion 1")
    one, two, black = (images.get_by_role("region", name=f"Lesion 1: Image {number}") for number in (1, 2, 3))
    for image, plane in ((one, "radial"), (two, "antiradial"), (black, "oblique")):
        expect(image.get_by_role("heading")).to_contain_text(f"{plane} plane")
    for image in (one, two):
        expect(image.locator(".alone dd")).to_have_count(2)
        picture = image.get_by_role("img", name="with its surroundings")
        assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 0
    expect(black).to_contain_text("Not scored: pixels_uniform")
    expect(lesion).to_contain_text("One score from 2 images")
    expect(lesion).to_contain_text("1 of 3 images could not be scored, and the score is without it.")
    expect(lesion).to_contain_text("Left, 10 o'clock, 35 mm from the nipple")
    tops = [(image.bounding_box() or {})["y"] for image in (one, two, black)]
    assert len(set(tops)) == 1
    assert (lesion.locator(".together .scores").bounding_box() or {})["y"] < tops[0]


def test_arrows_lead_from_one_large_picture_to_that_of_the_lesions_next_image(reader: Reader, planes: Patient) -> None:
    page = reader.page
    page.goto(f"{reader.url}/studies/{planes.study_id}")
    page.locator(".image .frame a.zoom").first.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="The picture, larger")
    named, picture = dialog.locator("strong"), dialog.locator("img")
    for key, image in ((None, 1), ("ArrowRight", 2), ("ArrowRight", 1), ("ArrowLeft", 2)):
        if key is not None:
            page.keyboard.press(key)
        expect(named).to_have_text(f"Image {image}")
        expect(picture).to_have_attribute("alt", f"The whole frame of image {image}, with lesion 1 outlined")
    dialog.get_by_role("button", name="Previous image of the lesion").click()
    expect(named).to_have_text("Image 1")
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    expect(named).to_have_text("Image 1")  # larger than its ground, it is moved and not left
    assert violations(page) == []
    page.keyboard.press("Escape")
    assert page.url.endswith(planes.study_id)


def test_one_switch_lays_the_heat_map_of_each_image_over_it(reader: Reader, service: Service, planes: Patient) -> None:
    page = reader.page
    folder = service.services.settings.web_heat_maps
    assert folder is not None
    assert service.dlr("explain", planes.study_id, "--output", folder).returncode == 0
    page.goto(f"{reader.url}/studies/{planes.study_id}")
    page.get_by_role("radio", name="DLR_BM").check()
    for number in (1, 2):
        image = page.get_by_role("region", name=f"Lesion 1: Image {number}")
        heat = image.get_by_role("img", name=f"Where DLR_BM looked in image {number} of lesion 1")
        expect(heat).to_be_visible()
        assert heat.evaluate("one => one.decode().then(() => one.naturalWidth)") > 300
        expect(image.locator(".crop")).to_be_hidden()
    assert violations(page) == []
    page.get_by_role("radio", name="off").check()
    expect(page.locator(".image .crop").first).to_be_visible()


@pytest.mark.parametrize("width", [1440, 720, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_row_of_images_fits_each_window_and_axe_finds_nothing(
    reader: Reader, planes: Patient, width: int, scheme: str
) -> None:
    page = reader.page
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.goto(f"{reader.url}/studies/{planes.study_id}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []


def test_on_paper_all_images_of_a_lesion_are_there(reader: Reader, planes: Patient) -> None:
    page = reader.page
    page.set_viewport_size({"width": 720, "height": 900})
    page.emulate_media(media="print")
    page.goto(f"{reader.url}/studies/{planes.study_id}")
    images = page.locator(".images")
    assert images.evaluate("one => one.scrollWidth <= one.clientWidth")
    expect(images.locator(".image")).to_have_count(3)


# --- how it looks


def ground(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def test_it_is_light_or_dark_as_the_system_has_it_and_as_a_reader_chose(reader: Reader) -> None:
    page, grounds = reader.page, {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        grounds[scheme] = ground(page)
    assert grounds["light"] != grounds["dark"]
    for chosen in ("Light", "Dark"):
        page.get_by_role("button", name=chosen, exact=True).click()
        page.goto(reader.url)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            assert ground(page) == grounds[chosen.lower()]
    page.get_by_role("button", name="As the system").click()
    until(lambda: ground(page) == grounds["dark"])


def test_on_paper_it_is_white_and_without_what_can_only_be_clicked(reader: Reader, patients: list[Patient]) -> None:
    page = reader.page
    page.emulate_media(media="print", color_scheme="dark")
    for address in ("/", f"/studies/{patients[0].study_id}"):
        page.goto(reader.url + address)
        assert ground(page) == "rgb(255, 255, 255)"
        assert page.get_by_role("button").count() == 0
        expect(page.get_by_text("Advice for a radiologist, never a diagnosis.")).to_be_visible()


NARROW = {"phone": (360, 740), "200 %": (720, 450)}


@pytest.mark.parametrize("size", NARROW)
def test_a_narrow_window_has_cards_and_is_never_scrolled_sideways(
    size: str, reader: Reader, patients: list[Patient]
) -> None:
    page = reader.page
    width, height = NARROW[size]
    page.set_viewport_size({"width": width, "height": height})
    for address in ("/", f"/studies/{patients[0].study_id}", "/nowhere"):
        page.goto(reader.url + address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address
    page.goto(reader.url)
    assert page.locator("tr.study").first.evaluate("one => getComputedStyle(one).display") == "grid"
    region = page.locator(".scroll").first
    assert region.evaluate("one => one.scrollWidth <= one.clientWidth")
    label = page.locator("tr.study td.birads").first.evaluate("one => getComputedStyle(one, '::before').content")
    assert label == '"BI-RADS"'


def test_a_long_accession_number_squeezes_nothing(reader: Reader, service: Service, tmp_path: Path) -> None:
    patient = hand_in(service, tmp_path, 104, "4A", accession="W" * 16)
    page = reader.page

    def lengthen(route: Route) -> None:
        answer = route.fetch()
        route.fulfill(response=answer, body=answer.text().replace("W" * 16, "W" * 64))

    page.route("**/", lengthen)
    page.goto(reader.url)
    row = page.locator(f"tr.study:has(a[href$='{patient.study_id}'])")
    expect(row).to_contain_text("W" * 64)
    assert page.locator(".scroll").first.evaluate("one => one.scrollWidth <= one.clientWidth")
    assert (row.locator("time").bounding_box() or {})["height"] < 30
    assert (row.locator("th").bounding_box() or {})["width"] < 320


def test_a_session_that_ended_leaves_nothing_of_a_patient_on_the_screen(
    reader: Reader, patients: list[Patient]
) -> None:
    page = reader.page
    page.clock.install()
    page.goto(f"{reader.url}/studies/{patients[0].study_id}")
    expect(page.get_by_role("heading", name="Lesion 1")).to_be_visible()
    page.context.clear_cookies()
    page.clock.run_for(5_000)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.url.endswith(f"/sign-in?study={patients[0].study_id}")


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


@pytest.mark.parametrize("width", [1440, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["sign-in", "worklist", "study", "search", "refused", "nowhere", "keys"])
def test_axe_finds_nothing_to_complain_of(
    name: str, scheme: str, width: int, browser: Browser, reader: Reader, patients: list[Patient], service: Service
) -> None:
    page = reader.page
    if name == "sign-in":
        page = context_of(browser).new_page()
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    if name == "refused":
        service.push({"study_instance_uid": "1.2.3.77", "accession_number": "REFUSED-77", "priority": "STAT"})
        service.until(lambda: service.sql("SELECT FROM failed_study WHERE accession_number = 'REFUSED-77'"))
    study = f"/studies/{patients[0].study_id}"
    addresses = {"sign-in": "/sign-in", "study": study, "nowhere": "/nowhere", "refused": "/refused"}
    page.goto(reader.url + addresses.get(name, "/"))
    if name == "search":
        page.get_by_role("textbox", name="Search").fill("page")
        page.get_by_role("button", name="Find").click()
        expect(page.get_by_role("heading", name="Search results")).to_be_visible()
    if name == "refused":
        expect(page.get_by_role("rowheader", name="REFUSED-77")).to_be_visible()
    if name == "keys":
        page.keyboard.press("?")
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
