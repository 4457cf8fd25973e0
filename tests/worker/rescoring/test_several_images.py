"""Lesions on several images get another version's score from the images that they were scored by, and from no fewer."""

import json
from collections import Counter
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import text

from tests.worker.rescoring.hospital import Hospital
from tests.worker.rescoring.test_rescorer import rescored
from worker.clinical.aggregation import AGGREGATIONS, Aggregation, aggregate
from worker.demo.dicom import Header, write_ultrasound
from worker.rescoring.rescorer import Done

pytestmark = pytest.mark.slow

OUTSIDE = {"x": 100, "y": 5, "width": 90, "height": 40}


def job_of(hospital: Hospital, *rois: dict[str, int], seed: int = 1) -> dict[str, Any]:
    """Write a study with a file an image into the storage; return the job of its one lesion."""
    rng = np.random.default_rng(seed)
    uid = generate_uid()
    names = [f"{uid}.{number}.dcm" for number in range(len(rois))]
    header = Header(uid, "Doe^Jane", "P1", "A1", "20261123", birth_date="19760214")
    sops = [
        write_ultrasound(hospital.storage / name, header, [frame], ExplicitVRLittleEndian)
        for name, frame in zip(names, rng.integers(0, 256, (len(names), 90, 120), np.uint8), strict=True)
    ]
    images = [{"sop_instance_uid": sop, "roi": roi} for sop, roi in zip(sops, rois, strict=True)]
    return {
        "schema_version": 2,
        "study_instance_uid": uid,
        "images": {"kind": "files", "paths": names},
        "lesions": [{"lesion_id": "L1", "birads": "4A", "images": images}],
    }


BOXES = tuple({"x": 5 * place, "y": 5, "width": 30 + 10 * place, "height": 40} for place in range(3))


def scored(hospital: Hospital, *rois: dict[str, int], seed: int = 1) -> UUID:
    study_id = hospital.queued(job_of(hospital, *rois, seed=seed))
    assert hospital.pipeline.run(study_id) == ("done", None, 1)
    return study_id


def of_images(hospital: Hospital, version: str) -> dict[int, float]:
    """What a version of DLR_BM said of each image by itself, by the image's number."""
    query = """
        SELECT image.ordinal, said.positive_probability FROM image_prediction AS said
        JOIN marked_image AS image ON image.id = said.image_id JOIN model ON model.id = said.model_id
        WHERE model.name = 'DLR_BM' AND model.version = :version
    """
    with hospital.sessions() as session:
        return dict(tuple(row) for row in session.execute(text(query), {"version": version}).all())


def advice(hospital: Hospital) -> Any:
    with hospital.sessions() as session:
        return session.execute(text("SELECT * FROM lesion_result")).mappings().one()


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_a_version_puts_the_images_together_as_its_own_card_says(hospital: Hospital, method: Aggregation) -> None:
    scored(hospital, *BOXES)
    before = dict(advice(hospital))
    hospital.add("same", seed=1, aggregation=method)
    assert rescored(hospital, "same").scored.total() == 1
    alone, served = of_images(hospital, "same"), of_images(hospital, "1.0")
    assert sorted(alone) == [1, 2, 3]
    assert list(alone.values()) == pytest.approx(list(served.values()), abs=1e-4)
    [scores] = hospital.scores().values()
    assert scores["same"] == pytest.approx(aggregate(method, list(alone.values())), abs=1e-6)
    assert scores["1.0"] == pytest.approx(aggregate("mean", list(served.values())), abs=1e-6)
    assert dict(advice(hospital)) == before


def test_an_image_that_was_refused_in_service_is_not_looked_at(hospital: Hospital) -> None:
    scored(hospital, BOXES[0], OUTSIDE, BOXES[2])
    assert (advice(hospital)["images"], advice(hospital)["images_refused"]) == (3, 1)
    hospital.add("same", seed=1)
    assert rescored(hospital, "same").scored.total() == 1
    assert sorted(of_images(hospital, "same")) == [1, 3]
    [scores] = hospital.scores().values()
    assert scores["same"] == pytest.approx(scores["1.0"], abs=1e-4)


def test_without_one_of_its_images_a_lesion_gets_no_score_but_the_code_of_that_image(hospital: Hospital) -> None:
    study_id = scored(hospital, *BOXES)
    scored(hospital, *BOXES[:2], seed=2)
    with hospital.sessions() as session:
        names = session.scalar(text("SELECT job #> '{images,paths}' FROM study WHERE id = :id"), {"id": study_id})
    (hospital.storage / names[1]).unlink()
    hospital.add("2.0", seed=5)
    done = rescored(hospital, "2.0")
    assert (done.scored.total(), Counter(code for _, code in done.refused)) == (1, {"file_not_found": 1})
    assert len(of_images(hospital, "2.0")) == 2


def test_a_card_that_asks_for_more_images_than_there_are_is_no_score(hospital: Hospital) -> None:
    scored(hospital, *BOXES[:2])
    hospital.add("three", seed=1, min_images=3)
    done = rescored(hospital, "three")
    assert (done.scored.total(), [code for _, code in done.refused]) == (0, ["images_too_few"])
    assert of_images(hospital, "three") == {}
    assert rescored(hospital, "three") == Done(is_whole=True)


def test_a_backfill_counts_lesions_and_versions_are_compared_by_lesions(hospital: Hospital) -> None:
    scored(hospital, *BOXES)
    scored(hospital, *BOXES[:2], seed=2)
    hospital.add("2.0", seed=5)
    filled = hospital.dlr("backfill", "--model", "2.0", "--format", "json")
    assert filled.returncode == 0, filled.stderr
    assert json.loads(filled.stdout)["models"][0]["scored"] == 2
    compared = hospital.dlr("models", "compare", "DLR_BM/1.0", "2.0", "--format", "json")
    assert compared.returncode == 0, compared.stderr
    coverage = json.loads(compared.stdout)["models"][0]["coverage"]
    assert coverage == {"lesions": 2, "a": 2, "b": 2, "both": 2}
