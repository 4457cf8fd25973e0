import re
from collections.abc import Callable
from io import BytesIO
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from db.reads import study_queries
from db.writes import ledger
from tests.db.samples import DEMO, arrived, ended, lesion, refused, register, scored, study
from tests.worker.web.conftest import Kept, search
from worker.errors import MEANINGS, Code
from worker.scoring.worklist_place import place_studies
from worker.web import listing
from worker.web.application import HEADERS
from worker.web.site import Site

SignIn = Callable[..., TestClient]


def listed_ids(html: str) -> list[str]:
    return re.findall(r'<th scope="row"><bdi><a href="/studies/([0-9a-f-]{36})"', html)


def list_several(sessions: sessionmaker[Session], count: int) -> None:
    with sessions.begin() as session:
        for number in range(count):
            priority = ("stat", "urgent", "routine")[number % 3]
            record = study(f"1.2.{number}", str(number), accession_number=f"A{number:03}", priority=priority)
            lh, bm = 0.1 + 0.8 * (number % 2), 0.1 + number % 7 / 8
            ended(session, record, scored(lh=lh, bm=bm) if number % 5 else refused())


def test_the_order_is_the_views_page_by_page(
    sessions: sessionmaker[Session], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ROWS", 4)
    list_several(sessions, 11)
    with sessions() as session:
        wanted = [str(row.study_id) for row in study_queries.worklist(session)]
    reader, address, found = sign_in(), "/", []
    while address:
        html = reader.get(address).text
        found.append(listed_ids(html))
        further = re.search(r'rel="next" href="([^"]+)"', html)
        address = further[1].replace("&amp;", "&") if further else ""
    assert [len(ids) for ids in found] == [4, 4, 3]
    assert [one for ids in found for one in ids] == wanted


def test_a_study_that_left_the_list_between_two_pages_hides_no_other(
    sessions: sessionmaker[Session], sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "ROWS", 4)
    list_several(sessions, 11)
    with sessions() as session:
        rows = study_queries.worklist(session)
    failed = next(row for row in rows[:3] if row.state == "failed")
    with sessions.begin() as session:
        assert ledger.discard(session, failed.study_id, "seen", "me")
        place_studies(session, [failed.study_id])
    after = sign_in().get(f"/?after={rows[3].study_id}").text
    assert listed_ids(after) == [str(row.study_id) for row in rows[4:8]]
    gone = sign_in().get(f"/?after={failed.study_id}").text
    assert "this is the beginning again" in gone


def test_a_filter_leaves_rows_out_in_the_same_order(sessions: sessionmaker[Session], sign_in: SignIn) -> None:
    list_several(sessions, 20)
    reader = sign_in()
    with sessions() as session:
        rows = study_queries.worklist(session)
    for query in ("class=maintained", "state=failed", "priority=urgent&class=upgraded", "class=nonsense"):
        words = dict(part.split("=") for part in query.split("&"))
        wanted = [
            str(row.study_id)
            for row in rows
            if words.get("class", "nonsense") in ("nonsense", row.worklist_class)
            and words.get("state", row.state) == row.state
            and words.get("priority", row.priority) == row.priority
        ]
        assert wanted
        assert listed_ids(reader.get(f"/?{query}").text) == wanted, query


def test_what_waits_is_counted_and_the_mark_changes_with_the_list(
    sessions: sessionmaker[Session], sign_in: SignIn
) -> None:
    with sessions.begin() as session:
        ledger.record_study(session, study("1.9", "9"))
    reader = sign_in()
    before = reader.get("/state").json()
    assert (before["listed"], before["waiting"]) == (0, 1)
    html = reader.get("/").text
    assert f'data-mark="{before["mark"]}"' in html
    assert '<b data-count="waiting">1</b> not scored yet' in html
    with sessions.begin() as session:
        ended(session, study("1.9", "9"), scored())
    after = reader.get("/state").json()
    assert (after["listed"], after["waiting"]) == (1, 0)
    assert after["mark"] != before["mark"]
    assert reader.get("/state").json() == after


def test_a_models_notice_stands_over_the_list_and_beside_each_row_where_they_differ(
    sessions: sessionmaker[Session], sign_in: SignIn
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", "1"), scored())
    assert DEMO in sign_in().get("/").text
    with sessions.begin() as session:
        register(session, "2.0", "another notice")
        ended(session, study("1.2", "2"), scored(version="2.0"))
    html = sign_in().get("/").text
    assert html.count(f'<small class="demo">{DEMO}</small>') == 1
    assert html.count('<small class="demo">another notice</small>') == 1


# --- a study


def test_a_study_says_what_changed_and_why(kept: Kept, sign_in: SignIn) -> None:
    html = re.sub(r"\s+", " ", sign_in().get(f"/studies/{kept.study_id}").text)
    for said in (
        "ACC4711",
        "Upgrade advised",
        "&gt;4A",
        "DLR_LH says high risk and DLR_BM says malignant: both high, so a 4A lesion is advised above 4A.",
        "fig-s5/1",
        "<b>0.800</b>",
        "threshold 0.5",
        "47 years, given with the study",
        "as the radiologist marked it",
        DEMO,
        "Place 1 of 1",
        "8.0 × 10.0 mm",
        "height/width 1.25",
        "Scored, but with reasons for doubt:",
        "Calipers or text appear to be burned into the lesion&#39;s region.",
    ):
        assert said in html, said


def test_where_the_models_are_not_certain_list_and_study_say_so(
    sessions: sessionmaker[Session], sign_in: SignIn
) -> None:
    unsure = scored(lh=0.2, bm=0.3, lh_set=("low_risk",), bm_set=("benign", "malignant"))
    with sessions.begin() as session:
        study_id = ended(session, study(), unsure).study_id
    html = re.sub(r"\s+", " ", sign_in().get(f"/studies/{study_id}").text)
    for said in (
        "Keep 4A</b> <small>the models are not certain</small>",
        "Not ruled out: DLR_LH: low risk; DLR_BM: benign or malignant. The models are not certain",
        "The models are not certain: the lesion stays in 4A.",
        "fig-s5/1+conformal/1",
    ):
        assert said in html, said
    assert "1 keep, models not certain of 1" in sign_in().get("/").text


def test_its_history_and_reasons_are_for_administrators_alone(sessions: sessionmaker[Session], sign_in: SignIn) -> None:
    with sessions.begin() as session:
        record = study(lesions=(lesion("L1"), lesion("L2")))
        study_id = ended(session, record, scored("L1"), refused("L2")).study_id
    seen = {name: sign_in(name).get(f"/studies/{study_id}").text for name in ("reader", "admin")}
    for html in seen.values():
        assert "age_missing" in html
        assert MEANINGS[Code.AGE_MISSING].split(":")[0] in html
    assert "no age" in seen["admin"]
    assert "no age" not in seen["reader"]
    assert ">received</th>" in seen["admin"]
    assert "dlr_writer" in seen["admin"]
    assert "History" not in seen["reader"]
    assert "dlr_writer" not in seen["reader"]


def test_a_study_that_waits_has_a_page_too(sessions: sessionmaker[Session], sign_in: SignIn) -> None:
    with sessions.begin() as session:
        study_id = arrived(session, study()).study_id
    reader = sign_in()
    assert "Lesion 1, BI-RADS 4A: it has no scores yet" in reader.get(f"/studies/{study_id}").text
    assert reader.get(f"/studies/{study_id}/state").json()["mark"].startswith("queued")


def test_what_is_not_there_is_said_so(sign_in: SignIn) -> None:
    reader, unknown = sign_in(), f"/studies/{uuid4()}"
    for address in (unknown, f"{unknown}/state", f"{unknown}/lesions/1/images/1/crop.png", "/nowhere"):
        answer = reader.get(address)
        assert answer.status_code == 404, address
        assert "no such" in answer.text, address


def test_what_was_refused_is_for_administrators_on_a_page_of_its_own(
    sessions: sessionmaker[Session], sign_in: SignIn
) -> None:
    with sessions.begin() as session:
        ledger.record_refusal(
            session,
            "a" * 64,
            {},
            "lesions_missing",
            "<b>no</b> lesion",
            "receive",
            study_instance_uid="1.2.3",
            accession_number="ACC-77",
        )
    reader, admin = sign_in(), sign_in("admin")
    assert "ACC-77" not in reader.get("/").text + admin.get("/").text
    assert 'href="/refused"' not in reader.get("/").text
    assert reader.get("/refused").status_code == 404
    html = admin.get("/refused").text
    for said in ("ACC-77", "1.2.3", "lesions_missing", "receive", "&lt;b&gt;no"):
        assert said in html, said
    for who, found in ((reader, False), (admin, True)):
        assert ("ACC-77" in search(who, "acc-7")) is found
    with sessions.begin() as session:
        ledger.record_study(session, study("1.2.3"))
    assert "ACC-77" not in admin.get("/refused").text
    assert "No refused messages need attention." in admin.get("/refused").text


def test_whatever_a_sender_wrote_is_text_on_the_page(sessions: sessionmaker[Session], sign_in: SignIn) -> None:
    bad = "<script>alert(1)</script>"
    with sessions.begin() as session:
        record = study(accession_number=bad, lesions=(lesion(bad),))
        study_id = ended(session, record, scored(bad)).study_id
    admin = sign_in("admin")
    for address in ("/", f"/studies/{study_id}"):
        assert bad not in admin.get(address).text
        assert "&lt;script&gt;" in admin.get(address).text


@pytest.mark.parametrize("name", ["A\u202e7", "\u05e7\u05d5\u05d3 12", "\u738b\U0001f642"])
def test_a_name_of_any_direction_turns_no_text_beside_it(
    sessions: sessionmaker[Session], sign_in: SignIn, name: str
) -> None:
    with sessions.begin() as session:
        study_id = ended(session, study(accession_number=name, lesions=(lesion(name),)), scored(name)).study_id
        arrived(session, study("1.9", "9", accession_number=name))
    reader = sign_in("reader")
    found = search(reader, name)
    for page, tag, times in ((reader.get(f"/studies/{study_id}").text, "small", 1), (found, "a", 2), (found, "b", 1)):
        assert len(re.findall(f"<bdi><{tag}[^<]*>{name}</{tag}></bdi>", page)) == times


# --- pictures


def test_a_picture_is_of_the_pixels_that_were_scored(kept: Kept, sign_in: SignIn) -> None:
    reader = sign_in()
    roi, image = kept.phantom.roi, kept.phantom.image
    answer = reader.get(f"/studies/{kept.study_id}/lesions/1/images/1/frame.png")
    assert answer.headers["content-type"] == "image/png"
    frame = np.asarray(Image.open(BytesIO(answer.content)))
    inside = np.s_[roi.y : roi.y + roi.height, roi.x : roi.x + roi.width]
    assert (frame[inside] == image[inside][..., None]).all()
    crop = np.asarray(Image.open(BytesIO(reader.get(f"/studies/{kept.study_id}/lesions/1/images/1/crop.png").content)))
    assert crop.shape[0] >= roi.height
    assert crop.size < image.size


@pytest.mark.parametrize("what", ["away", "of another study", "a link that leads out", "rubbish"])
def test_no_picture_is_made_of_a_file_that_is(
    what: str, kept: Kept, sign_in: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    content = kept.path.read_bytes()
    kept.path.unlink()
    if what == "of another study":
        uid = kept.header.study_instance_uid.encode()
        kept.path.write_bytes(content.replace(uid, uid[:-1] + (b"1" if uid[-1:] != b"1" else b"2")))
    elif what == "a link that leads out":
        outside = kept.path.parent.parent / "outside.dcm"
        outside.write_bytes(content)
        kept.path.symlink_to(outside)
    elif what == "rubbish":
        kept.path.write_bytes(b"no DICOM at all")
    answer = sign_in().get(f"/studies/{kept.study_id}/lesions/1/images/1/crop.png")
    assert answer.status_code == 404
    assert "no picture of image 1 of lesion 1 of study" in caplog.text
    assert not [value for value in ("roe", kept.header.study_instance_uid, kept.sop) if value in caplog.text]


def test_a_lesion_whose_image_is_on_a_dicomweb_server_says_so_and_has_no_picture(
    sessions: sessionmaker[Session], sign_in: SignIn
) -> None:
    elsewhere = study("1.2.4", "elsewhere", job={"images": {"kind": "dicomweb", "server": "pacs"}})
    with sessions.begin() as session:
        study_id = ended(session, elsewhere, scored()).study_id
    reader = sign_in()
    html = reader.get(f"/studies/{study_id}").text
    assert "Its image is not in the storage" in html
    assert ".png" not in html
    assert reader.get(f"/studies/{study_id}/lesions/1/images/1/crop.png").status_code == 404


def test_there_is_no_other_picture(kept: Kept, sign_in: SignIn, stranger: TestClient) -> None:
    reader = sign_in()
    for address in (
        "1/images/1/else.png",
        "2/images/1/crop.png",
        "1/images/2/crop.png",
        f"1/images/{2**40}/crop.png",
        f"{'9' * 5000}/images/1/crop.png",
    ):
        assert reader.get(f"/studies/{kept.study_id}/lesions/{address}").status_code == 404, address
        assert stranger.get(f"/studies/{kept.study_id}/lesions/{address}").status_code == 401, address


# --- what surrounds each page


def test_every_answer_has_the_headers_and_is_kept_nowhere(kept: Kept, sign_in: SignIn, stranger: TestClient) -> None:
    reader = sign_in()
    for client, address in (
        (reader, "/"),
        (reader, f"/studies/{kept.study_id}"),
        (reader, f"/studies/{kept.study_id}/lesions/1/images/1/crop.png"),
        (reader, "/nowhere"),
        (reader, "/static/page.css"),
        (stranger, "/"),
        (stranger, "/sign-in"),
        (stranger, "/healthz"),
    ):
        headers = client.get(address).headers
        assert {name: headers.get(name) for name in HEADERS} == HEADERS, address
        assert "server" not in headers


def test_another_host_is_refused(stranger: TestClient) -> None:
    assert stranger.get("/sign-in", headers={"Host": "evil.example"}).status_code == 400
    assert stranger.get("/healthz", headers={"Host": "evil.example"}).status_code == 400


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("worklist.hospital.example", "worklist.hospital.example"),
        ("Worklist.Hospital.example:8443", "worklist.hospital.example"),
        ("[2001:db8::1]:443", "[2001:db8::1]"),
        ("Doe^Jane <b>", "(not a name)"),
        ("", "(not a name)"),
    ],
)
def test_the_answer_and_one_line_of_the_log_say_which_setting_lets_another_host_in(
    stranger: TestClient, caplog: pytest.LogCaptureFixture, host: str, told: str
) -> None:
    for path in ("/", "/sign-in", "/static/page.css"):
        answer = stranger.get(path, headers={"Host": host})
        assert answer.status_code == 400
        assert "DLR_WEB_HOSTS" in answer.text
        assert "Jane" not in answer.text
    assert [one.getMessage() for one in caplog.records if "DLR_WEB_HOSTS" in one.getMessage()] == [
        f"refused: a request for the host {told}, which DLR_WEB_HOSTS does not name"
    ]


def test_health_needs_no_password_and_says_nothing(stranger: TestClient) -> None:
    answer = stranger.get("/healthz")
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_database_that_is_away_is_said_without_a_word_of_it(
    site: Site, sign_in: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    reader = sign_in()
    site.reading.kw["bind"].dispose()
    from db.session import make_engine

    site.reading.configure(bind=make_engine("postgresql://dlr_web:secret@127.0.0.1:9/dlr"))
    answer = reader.get("/")
    assert answer.status_code == 503
    assert "Nothing is lost" in answer.text
    assert "secret" not in caplog.text + answer.text


def test_a_defect_shows_nothing_of_itself(site: Site, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("Roe^Mary")

    reader = sign_in()
    monkeypatch.setattr("db.reads.worklist_page.worklist_state", broken)
    answer = reader.get("/")
    assert answer.status_code == 500
    assert "Roe" not in answer.text
    assert answer.headers["content-security-policy"] == HEADERS["Content-Security-Policy"]


def test_no_page_has_an_inline_script_or_style_or_a_foreign_address(kept: Kept, sign_in: SignIn) -> None:
    admin = sign_in("admin")
    for address in ("/", f"/studies/{kept.study_id}", "/refused", "/nowhere"):
        html = admin.get(address).text
        assert not re.search(r"<style|style=|\son\w+=|<script(?! src=)|https?://", html), address
        assert "ACC4711" not in re.search(r"<title>(.*?)</title>", html)[1]  # type: ignore[index]
        addresses = re.findall(r'(?:href|src|action|data-poll)="([^"]*)"', html)
        assert not [one for one in addresses if "ACC4711" in one or kept.header.study_instance_uid in one]
