"""The picture of a study page with a real lesion, in docs/images: ``python -m tests.end_to_end.real_picture``.

The lesion is of BrEaST (CC BY 4.0), which has to be beside the checkout (`tests.shared.real_set`); its credit is beside
the picture, in docs/images/README.md, and where the docs show it. It needs the demo models (``dlr demo-models``), which
learned from phantoms, and Chromium.
"""

import atexit
import sys
from pathlib import Path

from celery import Celery
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from tests import shared
from tests.end_to_end.browser import chromium, context_of
from tests.end_to_end.pictures import IMAGES, open_worklist, scored_by_demo
from worker.broker.queues import QUEUE_OF_TASK, SUBMIT_STUDY
from worker.dataset.importers.breast import import_breast
from worker.dataset.manifest_image import mask_roi, read_picture
from worker.demo.dicom import Header, write_ultrasound
from worker.services.running_services import Services

CASE = "breast-56"
FILE = "real-lesion.jpg"
QUALITY = 80


def main(target: Path = IMAGES) -> None:
    """Score one lesion and take the picture of its page."""
    with scored_by_demo(push) as (executable, services):
        take(executable, f"http://127.0.0.1:{services.web_port}", target / FILE)


def push(services: Services) -> int:
    """Push the one study, with the region, the category and the age that the set has of its lesion."""
    source = shared.REAL_SETS / "breast"
    (row,) = [row for row in import_breast(source, source, lambda *_: None).rows if row.patient_key == CASE]
    assert row.mask is not None
    roi, _ = mask_roi(source / row.mask)
    header = Header(generate_uid(), "BrEaST^case 056", "case 056", "BrEaST-056", "20231215")
    root = services.settings.storage_root
    root.mkdir(parents=True, exist_ok=True)
    frame = read_picture(source / row.image)
    uid = write_ultrasound(root / "case056.dcm", header, [frame], ExplicitVRLittleEndian)
    lesion = {
        "lesion_id": "L1", "birads": row.birads, "sop_instance_uid": uid, "frame": None,
        "roi": {"x": roi.x, "y": roi.y, "width": roi.width, "height": roi.height},
    }  # fmt: skip
    job = {
        "schema_version": 1, "study_instance_uid": header.study_instance_uid,
        "accession_number": header.accession_number, "age_years": row.age_years,
        "images": {"kind": "files", "paths": ["case056.dcm"]}, "lesions": [lesion],
    }  # fmt: skip
    sender = Celery(broker=services.settings.require_redis_url())
    sender.send_task(SUBMIT_STUDY, kwargs={"job": job}, queue=QUEUE_OF_TASK[SUBMIT_STUDY])
    sender.close()
    return 1


def take(executable: str, url: str, target: Path) -> None:
    """Take the picture of the study's page, as a radiologist sees it."""
    with chromium(executable) as browser:
        page = context_of(browser, color_scheme="dark").new_page()
        open_worklist(page, url)
        page.locator("tr.study a").first.click()
        page.wait_for_load_state("networkidle")
        page.screenshot(path=target, type="jpeg", quality=QUALITY)


if __name__ == "__main__":
    shared.begin()
    atexit.register(shared.end)
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
