"""From files to documents: what the running service scored, written by `dlr export`, and read by others."""

import json
from pathlib import Path
from uuid import uuid4

import hl7
import numpy as np
import pytest
from fhir.resources.R4B.bundle import Bundle
from highdicom.sr import Comprehensive3DSR
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from tests.end_to_end.conftest import Service
from worker.demo.dicom import Header, write_ultrasound


def test_a_lesion_on_several_images_comes_out_once_with_each_of_them(service: Service, tmp_path: Path) -> None:
    uid = generate_uid()
    frames = list(np.random.default_rng(6).integers(0, 256, (3, 80, 100), np.uint8))
    header = Header(uid, "Phantom^Views", "P-9", uid[-16:], "20261123", patient_age="050Y")
    sop = write_ultrasound(service.storage_root / "planes.dcm", header, frames, ExplicitVRLittleEndian)
    roi = {"x": 20, "y": 10, "width": 40, "height": 30}
    images = [
        {"sop_instance_uid": sop, "frame": 1, "roi": roi, "plane": "transverse"},
        {"sop_instance_uid": sop, "frame": 7, "roi": roi},
        {"sop_instance_uid": sop, "frame": 3, "roi": {**roi, "x": 50}, "plane": "longitudinal"},
    ]
    lesion = {"lesion_id": "L1", "birads": "4A", "images": images, "laterality": "right", "clock_position": 11}
    files = {"kind": "files", "paths": ["planes.dcm"]}
    service.push({"schema_version": 2, "study_instance_uid": uid, "images": files, "lesions": [lesion]})
    assert service.ended(uid).state == "done"
    [of_lesion] = service.sql("SELECT * FROM lesion_result WHERE study_instance_uid = %s", uid)
    of_images = service.sql("SELECT * FROM image_result WHERE study_instance_uid = %s ORDER BY image", uid)
    alone = [one["malignant_probability"] for one in of_images if one["error_code"] is None]
    assert (len(alone), of_lesion["images_refused"]) == (2, 1)
    assert of_lesion["malignant_probability"] == pytest.approx(sum(alone) / 2, abs=1e-6)

    assert service.dlr("export", uid, "--output", tmp_path / "sr.dcm").returncode == 0
    content = Comprehensive3DSR.from_dataset(dcmread(tmp_path / "sr.dcm")).content
    whole, *regions = (*content.get_image_measurement_groups(), *content.get_planar_roi_measurement_groups())
    assert {group.tracking_uid for group in regions} == {whole.tracking_uid}
    numbers = {one.name.value: one.value for one in whole.get_measurements()}
    assert numbers.items() >= {
        "P_MALIGNANT": of_lesion["malignant_probability"], "P_HIGH_RISK": of_lesion["high_risk_probability"],
        "IMAGES": 3, "IMAGES_REFUSED": 1, "MALIGNANT_SPREAD": of_lesion["malignant_spread"],
        "HIGH_RISK_SPREAD": of_lesion["high_risk_spread"],
    }.items()  # fmt: skip
    measured = [{one.name.value: one.value for one in group.get_measurements()} for group in regions]
    said = sorted(measured, key=lambda one: one["IMAGE"])
    assert [one.get("I_MALIGNANT") for one in said] == [alone[0], None, alone[1]]
    [site] = whole.finding_sites
    assert (site.laterality.value, site.topographical_modifier.meaning) == ("24028007", "11 o'clock position")

    message = hl7.parse(service.dlr("export", uid, "--format", "hl7").stdout.replace("\n", "\r"))
    values = {(str(obx[4]), str(obx[3]).split("^")[0]): str(obx[5]) for obx in message.segments("OBX")}
    assert float(values["1", "P_MALIGNANT"]) == pytest.approx(of_lesion["malignant_probability"], abs=1e-14)
    assert [float(values[place, "I_MALIGNANT"]) for place in ("1.1", "1.3")] == pytest.approx(alone, abs=1e-14)
    assert values["1.2", "NOT_SCORED"].startswith("FRAME_NOT_FOUND")
    bundle = Bundle.model_validate_json(service.dlr("export", uid, "--format", "fhir").stdout)
    assert len(bundle.entry) == 3 + 2 + 3
    done = service.dlr("export", uid, "--format", "sc", "--grad-cam", "--output", tmp_path / "pictures")
    assert done.returncode == 0, done.stderr
    [picture] = [dcmread(path) for path in (tmp_path / "pictures").iterdir()]
    assert [one.ReferencedFrameNumber for one in picture.SourceImageSequence] == [1, 3]


def test_what_was_scored_comes_out_in_each_format(service: Service, tmp_path: Path) -> None:
    uid, accession = generate_uid(), uuid4().hex[:16]
    frames = list(np.random.default_rng(5).integers(0, 256, (3, 80, 100), np.uint8))
    header = Header(uid, "Phantom^Export", "P-9", accession, "20261123", patient_age="050Y")
    sop = write_ultrasound(tmp_path / "cine.dcm", header, frames, JPEGBaseline8Bit)
    roi = {"x": 20, "y": 10, "width": 40, "height": 30}
    marked = [{"birads": "4A", "frame": 2, "roi": roi}, {"birads": "3", "frame": 3}, {"birads": "4A", "frame": 9}]
    (tmp_path / "lesions.json").write_text(json.dumps(marked))
    handed = service.dlr("submit", tmp_path / "cine.dcm", "--lesions", tmp_path / "lesions.json", "--wait")
    assert handed.returncode == 3, handed.stderr
    (study,) = service.details(uid)
    assert [lesion.state for lesion in study.lesions] == ["scored", "scored", "failed"]
    malignant = [lesion.predictions[1].positive_probability for lesion in study.lesions[:2]]

    assert service.dlr("export", accession, "--output", tmp_path / "sr.dcm").returncode == 0
    content = Comprehensive3DSR.from_dataset(dcmread(tmp_path / "sr.dcm")).content
    first, second = content.get_planar_roi_measurement_groups()
    (third,) = content.get_image_measurement_groups()
    found = [{one.name.value: one.value for one in group.get_measurements()} for group in (first, second)]
    assert [numbers["P_MALIGNANT"] for numbers in found] == malignant
    assert first.roi.value.tolist()[0] == [20.0, 10.0]
    assert {one.name.value: one.value.value for one in third.get_qualitative_evaluations()} == {
        "111005": "MA.II.A.5.4A",
        "NOT_SCORED": "FRAME_NOT_FOUND",
    }

    message = hl7.parse(service.dlr("export", uid, "--format", "hl7").stdout.replace("\n", "\r"))
    values = [float(str(obx[5])) for obx in message.segments("OBX") if str(obx[3]).startswith("P_MALIGNANT^")]
    assert values == pytest.approx(malignant, abs=1e-14)
    bundle = Bundle.model_validate_json(service.dlr("export", uid, "--format", "fhir").stdout)
    assert len(bundle.entry) == 3 + 2 * 3

    done = service.dlr("export", uid, "--format", "sc", "--grad-cam", "--output", tmp_path / "pictures")
    assert done.returncode == 0, done.stderr
    pictures = [dcmread(path) for path in sorted((tmp_path / "pictures").iterdir())]
    assert [picture.SourceImageSequence[0].ReferencedFrameNumber for picture in pictures] == [2, 3]
    assert {picture.SourceImageSequence[0].ReferencedSOPInstanceUID for picture in pictures} == {sop}
    both = [f"Grad-CAM of {model}" for model in ("DLR_LH", "DLR_BM")]
    assert all(one in picture.DerivationDescription for picture in pictures for one in both)
    assert all(picture.Columns > 3 * 100 for picture in pictures), "beside the frame"
