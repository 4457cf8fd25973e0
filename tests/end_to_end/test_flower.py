"""What Flower says of studies: as the ledger has them, told apart, still there after a crash, and nobody's names."""

import base64
import json
import signal
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import psutil
import pytest
from playwright.sync_api import Browser, expect
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from redis import Redis

from db.session import make_engine, session_factory
from db.writes import ledger
from tests.db.samples import claim_one, lesion, study
from tests.end_to_end.browser import chromium, context_of, require_chromium
from tests.end_to_end.conftest import Service
from tests.waiting import patience
from worker.demo.dicom import Header, write_ultrasound
from worker.phantom.phantom import phantom

Task = dict[str, Any]
Push = Callable[..., str]

INSIDE, OUTSIDE = ({"x": x, "y": 4, "width": 32, "height": 32} for x in (4, 900))


def ask(service: Service, page: str) -> Any:
    settings = service.services.settings
    assert settings.flower_password is not None
    user = f"{settings.flower_user}:{settings.flower_password.get_secret_value()}"
    request = urllib.request.Request(f"{service.flower_url}{page}")  # noqa: S310
    request.add_header("Authorization", "Basic " + base64.b64encode(user.encode()).decode())
    with urllib.request.urlopen(request, timeout=patience(20)) as answer:  # noqa: S310
        return json.load(answer)


def ended(service: Service, task_id: str) -> Task:
    """Wait until Flower knows how a task ended."""

    def look() -> Task | None:
        task = ask(service, "/api/tasks?limit=10000").get(task_id)
        return task if task and task["state"] in ("SUCCESS", "FAILURE") else None

    return service.until(look)


@pytest.fixture
def pushed(service: Service, job_for: Callable[..., Any]) -> Push:
    """Push a study with lesions of these regions, to which its file is there or not; return the study's id."""

    def push(*rois: dict[str, int], file: bool = True) -> str:
        number = uuid4().int % 10**8
        header = Header(generate_uid(), f"Roe^Flora{number}", f"MRN{number}", f"FLORA{number}", "20261123", "19790517")
        path = service.storage_root / f"flora-{number}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = phantom(7, malignant=True, rows=96, columns=96)
        sop = write_ultrasound(path, header, [drawn.image], ExplicitVRLittleEndian)
        if not file:
            path.rename(path.with_suffix(".away"))
        job = job_for(header.study_instance_uid, sop, path.name, accession_number=header.accession_number)
        (lesion,) = job["lesions"]
        job["lesions"] = [lesion | {"lesion_id": f"L{place}", "roi": roi} for place, roi in enumerate(rois)]
        service.push(job)
        return str(service.ended(header.study_instance_uid).study_id)

    return push


@pytest.mark.parametrize(
    ("rois", "file", "told"),
    [
        ([INSIDE], True, ("SUCCESS", "'done'", None)),
        ([INSIDE, OUTSIDE], True, ("SUCCESS", "'partial'", None)),
        ([OUTSIDE], True, ("FAILURE", None, "roi_outside_image")),
        ([INSIDE], False, ("FAILURE", None, "file_not_found")),
    ],
    ids=["done", "partial", "its lesion refused", "its file missing"],
)
def test_a_study_is_to_flower_what_it_is_to_the_ledger(
    service: Service, pushed: Push, rois: list[dict[str, int]], file: bool, told: tuple[str | None, ...]
) -> None:
    task = ended(service, pushed(*rois, file=file))
    assert (task["name"], task["state"], task["result"], task["exception"]) == ("dlr.infer_study", *told)
    assert (task["traceback"], task["retries"]) == (None, 0)


def test_a_message_that_is_refused_is_a_failure_and_done_with(service: Service) -> None:
    task_id = str(uuid4())
    service.push({"no": "job"}, task_id=task_id)
    refused = ended(service, task_id)
    assert (refused["state"], refused["exception"], refused["traceback"]) == ("FAILURE", "job_invalid", None)
    redis = Redis.from_url(service.services.settings.require_redis_url())
    unreadable = "SELECT count(*) AS n FROM failed_study WHERE error_code = 'message_undecodable'"
    before = service.sql(unreadable)[0]["n"]
    redis.lpush("intake", b"{not JSON, and nobody else's")

    def unread() -> Task | None:
        tasks = ask(service, "/api/tasks?limit=10000&taskname=dlr.record_refusal").values()
        return next((task for task in tasks if task["state"] == "FAILURE"), None)

    assert service.until(unread)["exception"] == "message_undecodable"
    service.until(lambda: not redis.exists("intake", "unacked"))
    service.until(lambda: service.sql(unreadable)[0]["n"] == before + 1)


def test_a_study_that_a_person_queues_again_is_a_task_of_its_own(service: Service, pushed: Push) -> None:
    study_id = pushed(INSIDE, OUTSIDE)
    ended(service, study_id)
    for path in service.storage_root.glob("flora-*.dcm"):
        path.rename(path.with_suffix(".away"))
    seen = {study_id}
    for _ in range(2):
        assert service.dlr("failed", "requeue", study_id).returncode == 0
        service.until(lambda: service.details(UUID(study_id))[0].state == "failed")

        def another() -> str | None:
            tasks = ask(service, "/api/tasks?limit=10000")
            of_the_study = (name for name, task in tasks.items() if task["root_id"] == study_id)
            return next((name for name in of_the_study if name not in seen), None)

        again = service.until(another)
        seen.add(again)
        task = ended(service, again)
        assert (task["parent_id"], task["state"], task["exception"]) == (study_id, "FAILURE", "file_not_found")
        assert task["retries"] == 0
    assert ended(service, study_id)["result"] == "'partial'"


def test_a_second_attempt_is_told(service: Service, job_for: Callable[..., Any]) -> None:
    uid, sop = generate_uid(), generate_uid()
    sessions = session_factory(make_engine(service.services.settings.require_database_url()))
    with sessions.begin() as session:
        lesions = (lesion("L1", sop_instance_uid=sop),)
        study_id = ledger.record_study(session, study(uid, uid, lesions=lesions, job=job_for(uid, sop, "a"))).study_id
        assert claim_one(session, study_id, lease_s=-1) is not None
    task = ended(service, str(study_id))
    assert (task["exception"], task["retries"], task["parent_id"]) == ("file_not_found", 1, None)


def flower_process(service: Service) -> psutil.Process:
    port = service.services.flower_port
    return next(
        one
        for one in psutil.process_iter(["cmdline"])
        if f"--port={port}" in (one.info["cmdline"] or []) and "flower" in one.info["cmdline"]
    )


def test_its_history_outlives_a_flower_that_is_killed(service: Service, pushed: Push) -> None:
    study_id = pushed(INSIDE, file=False)
    told = ended(service, study_id)
    history = service.home / "flower"
    before = {file: file.stat().st_mtime_ns for file in history.iterdir()}
    service.until(lambda: any(file.stat().st_mtime_ns > before.get(file, 0) for file in history.iterdir()))
    process = flower_process(service)
    process.send_signal(signal.SIGKILL)
    service.until(lambda: not process.is_running())
    again = ended(service, study_id)
    assert {**again, "timestamp": None} == {**told, "timestamp": None}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=patience(30) * 1000)
    with chromium(require_chromium()) as opened:
        yield opened


def test_its_pages_show_an_administrator_what_failed_and_why_and_nobodys_name(
    service: Service, browser: Browser, pushed: Push
) -> None:
    partial, failed = pushed(INSIDE, OUTSIDE), pushed(INSIDE, file=False)
    for study_id in (partial, failed):
        ended(service, study_id)
    uids = [str(service.details(UUID(study_id))[0].study_instance_uid) for study_id in (partial, failed)]
    settings = service.services.settings
    assert settings.flower_password is not None
    known = {"username": settings.flower_user, "password": settings.flower_password.get_secret_value()}
    page = context_of(browser, http_credentials=known).new_page()
    page.goto(f"{service.flower_url}/tasks")
    expect(page.locator(f"tr[id='{partial}']")).to_contain_text("partial")
    expect(page.locator(f"tr[id='{failed}']")).to_contain_text("FAILURE")
    expect(page.locator(f"tr[id='{failed}']")).to_contain_text("file_not_found")
    seen = [page.content()]
    for path in (f"/task/{partial}", f"/task/{failed}", "/workers", "/broker"):
        page.goto(service.flower_url + path)
        page.wait_for_load_state("networkidle")
        seen.append(page.content())
    assert "file_not_found" in seen[2]
    assert "Traceback" not in "".join(seen)
    told = "\n".join(seen).casefold()
    assert [one for one in ("flora", "mrn", "19790517", *uids) if one in told] == []
    page.context.close()
