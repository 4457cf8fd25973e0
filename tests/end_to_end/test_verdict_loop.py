"""From a verdict in the browser to a model in service: monitor, manifest, training, shadow, activation."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests import command_line
from tests.end_to_end.browser import chromium, context_of, require_chromium, sign_in, violations
from tests.end_to_end.conftest import Service
from tests.waiting import patience
from worker.dataset.manifest import ManifestRow
from worker.dataset.manifest_file import read_manifest
from worker.demo.dicom import Header, write_ultrasound
from worker.inference.model_card import NOT_STATED
from worker.phantom.phantom import phantom

PATIENTS = 12
PASSWORD = "correct horse battery"
REMARK = "compare with Mary Roe's first study"
SMALL = 'backbone = "resnet18"\ninit = "random"\ninput_size = 32\nepochs = 1\nbatch = 4\n[age]\nsteps = 5\n'
VERDICT = "SELECT agrees, final_birads, reader, source, outcome FROM lesion_verdict WHERE study_id = %s"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=patience(30) * 1000)
    with chromium(require_chromium()) as opened:
        yield opened


@pytest.fixture(scope="module")
def studies(service: Service, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The ids of as many patients' studies with a 4A lesion each; every second one is malignant."""
    folder = service.storage_root
    jobs: list[dict[str, Any]] = []
    for number in range(PATIENTS):
        name, born = f"LOOP{number}", f"{1955 + 3 * number}0517"
        header = Header(generate_uid(), f"Roe^Mary{number}", name, name, "20261123", born)
        drawn = phantom(300 + number, malignant=bool(number % 2), rows=96, columns=128)
        name = f"loop-{number}.dcm"
        folder.mkdir(parents=True, exist_ok=True)
        sop = write_ultrasound(folder / name, header, [drawn.image], ExplicitVRLittleEndian)
        roi = {"x": drawn.roi.x, "y": drawn.roi.y, "width": drawn.roi.width, "height": drawn.roi.height}
        lesion = {"lesion_id": "L1", "sop_instance_uid": sop, "frame": 1, "birads": "4A", "roi": roi}
        jobs.append({
            "schema_version": 1, "study_instance_uid": header.study_instance_uid,
            "accession_number": header.accession_number, "images": {"kind": "files", "paths": [name]},
            "lesions": [lesion],
        })  # fmt: skip
    for job in jobs:
        service.push(job)
    return [str(service.ended(job["study_instance_uid"]).study_id) for job in jobs]


def add_radiologist(service: Service, name: str) -> None:
    account = ("web", "user", "add", name, "--role", "radiologist")
    added = command_line.dlr(*account, environment=service.environment(), stdin=f"{PASSWORD}\n")
    assert added.returncode == 0, added.stderr


@pytest.fixture
def page(browser: Browser, service: Service) -> Iterator[Page]:
    """A window in which a radiologist has signed in."""
    add_radiologist(service, "bea")
    context = context_of(browser)
    page = context.new_page()
    sign_in(page, service.page_url, "bea", PASSWORD)
    yield page
    context.close()


def answer(service: Service, *arguments: object) -> Any:
    done = service.dlr(*arguments, "--format", "json")
    assert done.returncode in (0, 3), done.stderr
    return json.loads(done.stdout)


def give_by_keyboard(page: Page, address: str) -> None:
    """Disagree, end at 5, remark, and send: without a mouse."""
    page.goto(address)
    verdict = page.get_by_role("group", name="Verdict on lesion 1")
    verdict.get_by_label("Disagree").focus()
    page.keyboard.press("Space")
    verdict.get_by_label("Final BI-RADS").focus()
    page.keyboard.type("5")
    verdict.get_by_label("Remark").focus()
    page.keyboard.type(REMARK)
    for scheme, width in itertools.product(("light", "dark"), (1440, 360)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 900})
        assert violations(page) == [], (scheme, width)
    page.get_by_role("button", name="Mark as read, and go to the next study").focus()
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_a_verdict_given_in_the_browser_is_trained_on_and_the_new_version_goes_into_service(
    service: Service, studies: list[str], page: Page, version_now: Callable[[], str], tmp_path: Path
) -> None:
    first = studies[1]
    give_by_keyboard(page, f"{service.page_url}/studies/{first}")
    assert first not in page.url
    page.goto(f"{service.page_url}/studies/{first}")
    expect(page.get_by_text(REMARK)).to_be_visible()
    expect(page.get_by_text("Read by bea")).to_be_visible()

    [row] = service.sql(VERDICT, first)
    assert (row["agrees"], row["final_birads"], row["reader"], row["source"]) == (False, "5", "bea", "page")
    assert first not in [one["study_id"] for one in answer(service, "worklist", "--limit", 1000)]
    assert "Mary" not in service.logs()

    verdicts = answer(service, "monitor")["verdicts"]
    assert first in [one["study_id"] for one in verdicts["overrides"]] or row["outcome"] == "upgraded"
    assert sum(one["verdicts"] for one in verdicts["totals"]) >= 1

    import_others(service, studies, tmp_path)
    split = manifest_of(service, tmp_path)
    [mine] = [one for one in read_manifest(split).rows.values() if one.lesion_id == f"{first}-1"]
    assert (mine.birads, mine.pathology, mine.excluded) == ("5", "malignant", None)
    assert mine.split is not None
    assert "Mary" not in split.read_text()
    assert "LOOP" not in split.read_text()

    trained_and_activated(service, version_now, split, tmp_path)


def import_others(service: Service, studies: list[str], folder: Path) -> None:
    """Give the verdicts on all studies but the one that was read on the page: 2 and 5 in turn."""
    lines = ["study,revision,lesion_id,final_birads,reader,read_at,lh_version,bm_version"]
    for number, study_id in enumerate(studies):
        [lesion] = service.details(UUID(study_id))[0].lesions
        versions = {one.model_name: one.model_version for one in lesion.predictions if one.in_service}
        final = "5" if number % 2 else "2"
        if number != 1:
            lines.append(f"{study_id},1,L1,{final},carl,2026-11-24T08:00:00Z,{versions['DLR_LH']},{versions['DLR_BM']}")
    file = folder / "verdicts.csv"
    file.write_text("\n".join(lines) + "\n")
    assert answer(service, "verdict", "import", file)["new"] == len(studies) - 1


def manifest_of(service: Service, folder: Path) -> Path:
    """Import what is on record, and split it; return the split manifest."""
    key, whole, split = folder / "patients.key", folder / "stored.csv", folder / "split.csv"
    done = service.dlr("dataset", "import", "ledger", "--key", key, "-o", whole, "--label-from-verdicts")
    assert done.returncode == 0, done.stderr
    rows: list[ManifestRow] = list(read_manifest(whole).rows.values())
    assert len({one.patient_key for one in rows if one.excluded is None}) >= PATIENTS
    shares = ("--train", "0.5", "--validation", "0.25", "--test", "0.25")
    done = service.dlr("dataset", "split", whole, "-o", split, *shares)
    assert done.returncode == 0, done.stderr
    return split


def trained_and_activated(service: Service, version_now: Callable[[], str], split: Path, folder: Path) -> None:
    """Train, add, shadow, activate until it scores; and leave the service as it was."""
    (folder / "small.toml").write_text(SMALL)
    run = folder / "run"
    trained = answer(
        service, "train", "bm", "--manifest", split, "--config", folder / "small.toml", "--device", "cpu", "-o", run
    )
    card = trained["card"]
    assert card["training"]["data_digest"] == answer(service, "dataset", "validate", split)["digest"]
    version = card["version"]
    use_stated(run / "card.json")
    done = service.dlr("models", "add", run / "card.json", run / "weights.safetensors")
    assert done.returncode == 0, done.stderr
    assert service.dlr("models", "shadow", "DLR_BM", version).returncode == 0
    assert service.dlr("shadow", "--once").returncode in (0, 3)
    try:
        done = service.dlr("models", "activate", "DLR_BM", version)
        assert done.returncode == 0, done.stderr
        active = {one["name"]: one["version"] for one in answer(service, "models", "list") if one["active"]}
        assert active["DLR_BM"] == version
        service.until(lambda: version_now() == version)
        marked = folder / "again.csv"
        done = service.dlr(
            "dataset", "import", "ledger", "--key", folder / "patients.key", "-o", marked, "--label-from-verdicts",
            "--trained-on", split,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        known = {one.trained_on for one in read_manifest(marked).rows.values()}
        assert known == {None, f"DLR_BM {version}"}
    finally:
        assert service.dlr("models", "rollback", "DLR_BM").returncode == 0
        service.until(lambda: version_now() != version)


def use_stated(path: Path) -> None:
    """State on a card what its model is for, as its owner does before it is activated."""
    card = json.loads(path.read_text())
    assert card["intended_use"].startswith(NOT_STATED)
    path.write_text(json.dumps(card | {"intended_use": "tests", "notice": "a test's, not for clinical use"}))


def test_who_opens_a_study_is_told_to_who_has_it_open_already(
    browser: Browser, service: Service, studies: list[str], page: Page
) -> None:
    page.goto(f"{service.page_url}/studies/{studies[2]}")
    add_radiologist(service, "carl")
    context = context_of(browser)
    other = context.new_page()
    sign_in(other, service.page_url, "carl", PASSWORD)
    other.goto(f"{service.page_url}/studies/{studies[2]}")
    expect(other.get_by_text("Also open now: bea")).to_be_visible()
    expect(page.get_by_text("Also open now: carl")).to_be_visible()
    context.close()


def test_a_verdict_is_given_without_javascript(browser: Browser, service: Service, studies: list[str]) -> None:
    add_radiologist(service, "dora")
    context = context_of(browser, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, service.page_url, "dora", PASSWORD)
    page.goto(f"{service.page_url}/studies/{studies[0]}")
    verdict = page.get_by_role("group", name="Verdict on lesion 1")
    verdict.get_by_label("Agree with the advice").check()
    page.get_by_role("button", name="go to the next study").click()
    expect(page.get_by_text("Give the final category.")).to_be_visible()
    verdict.get_by_label("Final BI-RADS").select_option("3")
    page.get_by_role("button", name="go to the next study").click()
    expect(
        page.get_by_role("heading", name="Lesion 1").or_(page.get_by_role("heading", name="Worklist"))
    ).to_be_visible()
    [row] = service.sql(VERDICT, studies[0])
    assert (row["agrees"], row["final_birads"], row["reader"]) == (True, "3", "dora")
    context.close()
