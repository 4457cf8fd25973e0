"""A lesion's scores are what the card and the weights say, recomputed here in a straight line with nothing of ours."""

import json
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from safetensors.torch import load_file

from tests.end_to_end.conftest import Service
from worker.demo.dicom import Header, write_ultrasound


@cache
def model(folder: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor], torch.nn.Module]:
    """A model's card, its weights, and the backbone of torchvision with those that are its."""
    card = json.loads((folder / "card.json").read_text())
    weights = load_file(folder / "weights.safetensors")
    backbone = torchvision.models.get_model(card["backbone"], weights=None)
    backbone.fc = torch.nn.Identity()
    backbone.load_state_dict(
        {name.removeprefix("image.backbone."): value for name, value in weights.items() if "backbone" in name}
    )
    return card, weights, backbone.eval()


def straight_line(folder: Path, frame: np.ndarray[Any, Any], roi: tuple[int, int, int, int], age: float) -> list[float]:
    """Card and weights to probabilities: pixels, backbone, FC1 to 128, FC1 to 16, age, ReLU, FC2, softmax."""
    card, weights, backbone = model(folder)
    x, y, width, height = roi
    x0, x1 = max(0, math.floor(x - card["roi_margin"] * width)), math.ceil(x + width + card["roi_margin"] * width)
    y0, y1 = max(0, math.floor(y - card["roi_margin"] * height)), math.ceil(y + height + card["roi_margin"] * height)
    crop = frame[y0 : min(y1, frame.shape[0]), x0 : min(x1, frame.shape[1])]
    side = max(crop.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - crop.shape[0]) // 2, (side - crop.shape[1]) // 2
    square[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    small = Image.fromarray(square).resize((card["input_size"],) * 2, Image.Resampling.BILINEAR)
    grey = torch.from_numpy(np.array(small, np.float32)) / 255
    mean, std = (torch.tensor(card[name]).view(3, 1, 1) for name in ("pixel_mean", "pixel_std"))
    pixels = (grey.expand(3, -1, -1) - mean) / std
    with torch.inference_mode():
        features = backbone(pixels[None])
        embedding = features @ weights["image.fc1.weight"].T + weights["image.fc1.bias"]
        sixteen = embedding @ weights["age.fc1.weight"].T + weights["age.fc1.bias"]
        seventeen = torch.relu(torch.cat([sixteen, torch.tensor([[(age - card["age_mean"]) / card["age_sd"]]])], 1))
        logits = seventeen @ weights["age.fc2.weight"].T + weights["age.fc2.bias"]
        return torch.softmax(logits, 1)[0].tolist()


@pytest.mark.parametrize(
    ("roi", "age"), [((40, 30, 90, 50), 47.0), ((0, 0, 30, 100), 71.5), ((120, 60, 80, 60), 19.0), ((3, 5, 9, 7), 90.0)]
)
def test_scores_equal_a_straight_line_recomputation(
    service: Service, job_for: Callable[..., Any], roi: tuple[int, int, int, int], age: float
) -> None:
    frame = np.random.default_rng(sum(roi)).integers(0, 256, (120, 200), np.uint8)
    uid, path = generate_uid(), service.storage_root / f"scores-{sum(roi)}.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    sop = write_ultrasound(path, Header(uid, "", "", "", ""), [frame], ExplicitVRLittleEndian)
    box = dict(zip(("x", "y", "width", "height"), roi, strict=True))
    service.push(job_for(uid, sop, path.name, age_years=age, lesion={"roi": box}))
    study = service.ended(uid)
    assert (study.state, study.error_reason) == ("done", None)
    (lesion,) = study.lesions
    assert len(lesion.predictions) == 2
    for prediction in lesion.predictions:
        folder = service.services.settings.models_dir / prediction.model_name / prediction.model_version
        expected = straight_line(folder, frame, roi, age)
        classes = json.loads((folder / "card.json").read_text())["classes"]
        assert [prediction.probabilities[name] for name in classes] == pytest.approx(expected, abs=1e-5)
        assert sum(prediction.probabilities.values()) == pytest.approx(1.0, abs=1e-6)
