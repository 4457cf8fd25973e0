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
from pydicom.uid import JPEGBaseline8Bit, generate_uid

from tests.end_to_end.conftest import Service
from worker.demo.dicom import Header, write_ultrasound


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
