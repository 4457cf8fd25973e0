"""Jobs of contract version 1 end in the rows in which they ended before a lesion could have several images.

``version_1_rows.json`` was written by `rows_of`, with the code as it was before contract version 2 and migration 0017
(commit b7a9f523), and is never written anew. Columns that came later are not in it; what a lesion's row had of its
image is compared with its first image's row.
"""

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.end_to_end.conftest import ENDED, Service
from tests.end_to_end.test_node_push import example, push
from tests.test_compose import ROOT
from tests.test_docs import blocks
from tests.worker.imaging.dicom_files import dataset, region, save
from tests.worker.test_contract import JOB
from worker.study import Roi

__all__ = ["example"]
"""A fixture."""

FROZEN: dict[str, dict[str, list[dict[str, Any]]]] = json.loads(
    Path(__file__).with_name("version_1_rows.json").read_text("utf-8")
)
UID = "1.2.826.0.1.3680043.8.498.900"
DIGITS = 1e-5
"""Scores are of float32, and processors round in their own ways."""

QUERIES = {
    "study": "SELECT * FROM study WHERE id = %s",
    "lesion": "SELECT lesion.*, image.sop_instance_uid, image.frame, image.roi_x, image.roi_y, image.roi_width, "
    "image.roi_height, image.region_x, image.region_y, image.region_width, image.region_height, image.region_source, "
    "image.gate, image.width_mm, image.height_mm, image.height_mm / image.width_mm AS aspect_ratio "
    "FROM lesion JOIN marked_image AS image ON image.lesion_id = lesion.id WHERE study_id = %s "
    "ORDER BY lesion.ordinal, image.ordinal",
    "prediction": "SELECT lesion.ordinal, model.name, model.version, probabilities, "
    "positive_probability, predicted_class, positive, threshold, conformal_set::text FROM prediction "
    "JOIN lesion ON lesion.id = prediction.lesion_id JOIN model ON model.id = prediction.model_id "
    "WHERE study_id = %s ORDER BY 1, 2",
    "restratification": "SELECT lesion.ordinal, rule_version, outcome, original, recommended, is_current, uncertain "
    "FROM restratification JOIN lesion ON lesion.id = restratification.lesion_id WHERE study_id = %s ORDER BY 1",
    **{
        view: f"SELECT * FROM {view} WHERE study_id = %s ORDER BY {order}"
        for view, order in (
            ("lesion_result", "ordinal"),
            ("lesion_score", "ordinal, model"),
            ("worklist", "1"),
            ("failed_study", "1"),
            ("lesion_image", "ordinal"),
        )
    },
}
OF_THE_RUN = {
    "id", "study_id", "attempts", "claims", "claimed_at", "lease_until", "queued_at", "received_at", "started_at",
    "finished_at", "updated_at", "scored_at", "arrived_at", "position", "place_order", "traceparent",
}  # fmt: skip
"""Columns that are others each time."""

ROLES = {"lesion_image": "web"}


def rows_of(service: Service, uid: str) -> dict[str, list[dict[str, Any]]]:
    """Return all that the ledger and the views have of a study, its revisions in their order."""
    found = "SELECT id FROM study WHERE %s IN (study_instance_uid, named_study_uid) ORDER BY revision"
    ids = [row["id"] for row in service.sql(found, uid, role="writer")]
    return {
        name: [
            json.loads(
                json.dumps({column: value for column, value in row.items() if column not in OF_THE_RUN}, default=str)
            )
            for study_id in ids
            for row in service.sql(query, study_id, role=ROLES.get(name, "writer"))
        ]
        for name, query in QUERIES.items()
    }


# --- the jobs


def frame(rows: int = 120, columns: int = 160, seed: int = 1) -> NDArray[np.uint8]:
    """A pattern without symmetry, by whole numbers alone: the same bytes for ever."""
    down, across = np.mgrid[:rows, :columns]
    return ((down * down * seed + across * 3 * seed + (down // 7) * (across // 5) * 11) % 251).astype(np.uint8)


def stored(service: Service, path: str, pixels: NDArray[np.uint8], uid: str, sop: str, **elements: Any) -> Path:
    """Write a file that is the same whatever pydicom writes it."""
    made = dataset(pixels, StudyInstanceUID=uid, SOPInstanceUID=sop, **elements)
    made.file_meta.ImplementationClassUID, made.file_meta.ImplementationVersionName = "1.2.3", "FROZEN"
    return save(service.storage_root / path, made)


def job(uid: str, lesions: list[dict[str, Any]], path: str, **fields: Any) -> dict[str, Any]:
    images = {"kind": "files", "paths": [path]}
    return {"schema_version": 1, "study_instance_uid": uid, "images": images, "lesions": lesions, **fields}


def box(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "width": width, "height": height}


def contracts(service: Service, uid: str) -> list[dict[str, Any]]:
    """The job of the tests of the contract."""
    said = json.loads(json.dumps(JOB).replace(JOB["study_instance_uid"], uid))
    said["lesions"][0]["sop_instance_uid"] = f"{uid}.2"
    stored(service, said["images"]["paths"][0], frame(240, 400), uid, f"{uid}.2", NumberOfFrames=1)
    return [said]


def documented(service: Service, uid: str) -> list[dict[str, Any]]:
    """The job of the integrator's page."""
    shown = next(one for one in blocks(ROOT / "docs" / "integrator.md", "json") if '"schema_version": 1' in one)
    said = json.loads(shown.replace(json.loads(shown)["study_instance_uid"], uid))
    for seed, path in enumerate(said["images"]["paths"], start=1):
        stored(service, path, frame(240, 400, seed), uid, f"{uid}.{seed}")
    return [said]


def of_each_category(service: Service, uid: str) -> list[dict[str, Any]]:
    stored(service, "v1/categories.dcm", frame(), uid, f"{uid}.1", PatientAge=None, PatientBirthDate="19700228",
           StudyDate="20261123", InstitutionName="Example Hospital", Manufacturer="Acme",
           ManufacturerModelName="Sono 1", ImageLaterality="L")  # fmt: skip
    lesions = [
        {
            "lesion_id": f"of {birads}",
            "sop_instance_uid": f"{uid}.1",
            "birads": birads,
            "roi": box(9 * place, 5, 40, 30),
        }
        for place, birads in enumerate(("0", "1", "2", "3", "4A", "4B", "4C", "5", "6"))
    ]
    return [job(uid, lesions, "v1/categories.dcm", priority="stat", accession_number="A 17")]


def on_frames(service: Service, uid: str) -> list[dict[str, Any]]:
    """Lesions on frames of a loop, on one that it has not, on none of them, and outside; one that has no region."""
    frames = np.stack([frame(seed=seed) for seed in (1, 2, 3)])
    stored(service, "v1/frames.dcm", frames, uid, f"{uid}.1", NumberOfFrames=3, StudyDate="20261122")
    places: list[dict[str, Any]] = [
        {"frame": 1, "roi": box(10, 10, 50, 40)}, {"frame": 3}, {"frame": 9, "roi": box(1, 1, 9, 9)}, {},
        {"frame": 3, "roi": box(150, 100, 40, 40)}, {"frame": 1, "roi": box(60, 20, 50, 60)},
    ]  # fmt: skip
    lesions = [
        {"lesion_id": f"L{number}", "sop_instance_uid": f"{uid}.1", "birads": "4A", **place}
        for number, place in enumerate(places, start=1)
    ]
    return [job(uid, lesions, "v1/frames.dcm", age_years=47.5)]


def in_colour(service: Service, uid: str) -> list[dict[str, Any]]:
    """A region of B-mode with pixels of a known size, and a Doppler region."""
    pixels = np.stack([frame(), frame(seed=2), frame(seed=3)], axis=2)
    b_mode, doppler = region(Roi(0, 0, 110, 120)), region(Roi(110, 0, 50, 120), spatial_format=3, data_type=3)
    for one in (b_mode, doppler):
        one.PhysicalUnitsXDirection = one.PhysicalUnitsYDirection = 3
        one.PhysicalDeltaX = one.PhysicalDeltaY = 0.0075
    stored(service, "v1/colour.dcm", pixels, uid, f"{uid}.1", SequenceOfUltrasoundRegions=[b_mode, doppler])
    lesions = [
        {"lesion_id": "in B-mode", "birads": "4A", "roi": box(10, 10, 60, 50)},
        {"lesion_id": "in Doppler", "birads": "4B", "roi": box(100, 10, 40, 40)},
        {"lesion_id": "no region", "birads": "3"},
    ]
    return [job(uid, [{**one, "sop_instance_uid": f"{uid}.1"} for one in lesions], "v1/colour.dcm")]


def damaged(service: Service, uid: str) -> list[dict[str, Any]]:
    path = stored(service, "v1/damaged.dcm", frame(), uid, f"{uid}.1")
    path.write_bytes(path.read_bytes()[:-100])
    lesion = {"lesion_id": "L1", "sop_instance_uid": f"{uid}.1", "birads": "4A"}
    return [job(uid, [lesion], "v1/damaged.dcm")]


def of_another_age(service: Service, uid: str) -> list[dict[str, Any]]:
    stored(service, "v1/age.dcm", frame(), uid, f"{uid}.1")
    lesion = {"lesion_id": "L1", "sop_instance_uid": f"{uid}.1", "birads": "4A"}
    return [job(uid, [lesion], "v1/age.dcm", age_years=74.0)]


def refused(service: Service, uid: str) -> list[dict[str, Any]]:
    return [job(uid, [], "v1/refused.dcm", accession_number="A 18")]


def revised(service: Service, uid: str) -> list[dict[str, Any]]:
    stored(service, "v1/revised.dcm", frame(seed=5), uid, f"{uid}.1")
    lesion = {"lesion_id": "L1", "sop_instance_uid": f"{uid}.1", "roi": box(20, 20, 60, 60)}
    return [job(uid, [{**lesion, "birads": birads}], "v1/revised.dcm") for birads in ("4B", "4A")]


Jobs = Callable[[Service, str], list[dict[str, Any]]]
JOBS: tuple[Jobs, ...] = (
    contracts, documented, of_each_category, on_frames, in_colour, damaged, of_another_age, refused, revised,
)  # fmt: skip


def push_each(service: Service, jobs: Jobs, uid: str, send: Callable[[dict[str, Any]], object]) -> None:
    """Push a study's jobs one after the other, and wait until each has ended."""
    for revision, one in enumerate(jobs(service, uid), start=1):
        send(one)
        service.until(partial(has_ended, service, uid, revision))


def has_ended(service: Service, uid: str, revision: int) -> bool:
    return any(study.revision == revision and study.state in ENDED for study in service.details(uid))


# --- the comparison


def differences(found: Any, frozen: Any, place: str = "") -> Iterator[str]:
    """Say where rows differ from what they were; a score may differ in its last digits."""
    if isinstance(frozen, dict) and isinstance(found, dict):
        for name, value in frozen.items():
            yield from differences(found.get(name, "(none)"), value, f"{place}.{name}")
    elif isinstance(frozen, list) and isinstance(found, list) and len(frozen) == len(found):
        for at, (one, other) in enumerate(zip(found, frozen, strict=True)):
            yield from differences(one, other, f"{place}[{at}]")
    elif not (
        found == frozen or ("probabilit" in place and isinstance(found, float) and abs(found - frozen) <= DIGITS)
    ):
        yield f"{place}: {found!r} and not {frozen!r}"


@pytest.mark.parametrize("jobs", JOBS, ids=lambda jobs: jobs.__name__)
def test_a_job_of_version_1_ends_in_the_rows_of_before(service: Service, jobs: Jobs) -> None:
    uid = f"{UID}.{JOBS.index(jobs)}"
    push_each(service, jobs, uid, service.push)
    assert list(differences(rows_of(service, uid), FROZEN[jobs.__name__])) == []


def test_a_job_that_node_pushes_ends_in_the_rows_of_before(service: Service, example: Path) -> None:
    uid = f"{UID}.99"
    url = service.services.settings.require_redis_url()
    push_each(service, contracts, uid, lambda job: push(example, url, job).check_returncode())
    assert list(differences(rows_of(service, uid), FROZEN["node"])) == []


def test_the_frozen_rows_are_of_every_way_in_which_a_lesion_can_end() -> None:
    lesions = [lesion for rows in FROZEN.values() for lesion in rows["lesion_result"]]
    assert {lesion["state"] for lesion in lesions} == {"scored", "failed"}
    assert {lesion["region_source"] for lesion in lesions} == {"job", "ultrasound_region", "whole_image", None}
    assert {lesion["original"] for lesion in lesions} == {"0", "1", "2", "3", "4A", "4B", "4C", "5", "6"}
    assert {lesion["age_source"] for lesion in lesions} == {"job", "patient_age", "birth_date", None}
    # No score is so near to its threshold that another processor would say something else.
    for lesion in lesions:
        for model, probability in (("lh", "high_risk_probability"), ("bm", "malignant_probability")):
            assert lesion[probability] is None or abs(lesion[probability] - lesion[f"{model}_threshold"]) > 10 * DIGITS
