"""The scores of one lesion, computed again from the card and the weights with nothing but torch, Pillow and numpy.

Written from the documentation alone, for ResNet-18; it shares no code with the worker.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as f
from numpy.typing import NDArray
from PIL import Image
from safetensors import safe_open
from torch import Tensor


def straight_line_probabilities(
    card: dict[str, Any], weights_path: str, frame: NDArray[np.uint8], roi: tuple[int, int, int, int], age: float
) -> list[float]:
    """Return the probability of each class, in the card's order."""
    with safe_open(weights_path, "pt") as file:
        w = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    features = _resnet18(torch.from_numpy(_pixels(card, frame, roi))[None], w)
    embedding = f.linear(features, w["image.fc1.weight"], w["image.fc1.bias"])
    sixteen = f.linear(embedding, w["age.fc1.weight"], w["age.fc1.bias"])
    normalized_age = torch.tensor([[(age - card["age_mean"]) / card["age_sd"]]], dtype=torch.float32)
    seventeen = torch.cat([sixteen, normalized_age], dim=1).relu()
    logits = f.linear(seventeen, w["age.fc2.weight"], w["age.fc2.bias"])[0].tolist()
    exponentials = [math.exp(logit / card["temperature"]) for logit in logits]
    return [value / sum(exponentials) for value in exponentials]


def _pixels(card: dict[str, Any], frame: NDArray[np.uint8], roi: tuple[int, int, int, int]) -> NDArray[np.float32]:
    x, y, width, height = roi
    margin, size = card["roi_margin"], card["input_size"]
    image = Image.fromarray(frame)
    if card["channels"] == "gray":
        image = image.convert("L")
    box = (
        max(0, math.floor(x - margin * width)),
        max(0, math.floor(y - margin * height)),
        min(image.width, math.ceil(x + width + margin * width)),
        min(image.height, math.ceil(y + height + margin * height)),
    )
    crop = image.crop(box)
    if card["resize"] == "letterbox":
        side = max(crop.size)
        square = Image.new(crop.mode, (side, side))
        square.paste(crop, ((side - crop.width) // 2, (side - crop.height) // 2))
        crop = square
    rgb = np.asarray(crop.resize((size, size), Image.Resampling.BILINEAR).convert("RGB"), dtype=np.float32) / 255
    planes = [(rgb[:, :, c] - card["pixel_mean"][c]) / card["pixel_std"][c] for c in range(3)]
    return np.stack(planes).astype(np.float32)


def _resnet18(x: Tensor, w: dict[str, Tensor]) -> Tensor:
    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = w[f"image.backbone.{name}.running_mean"], w[f"image.backbone.{name}.running_var"]
        gain, bias = w[f"image.backbone.{name}.weight"], w[f"image.backbone.{name}.bias"]
        scale = gain / torch.sqrt(var + 1e-5)
        return x * scale[None, :, None, None] + (bias - mean * scale)[None, :, None, None]

    def conv(x: Tensor, name: str, stride: int, padding: int) -> Tensor:
        return f.conv2d(x, w[f"image.backbone.{name}.weight"], stride=stride, padding=padding)

    x = norm(conv(x, "conv1", 2, 3), "bn1").relu()
    x = f.max_pool2d(x, kernel_size=3, stride=2, padding=1)
    for layer in (1, 2, 3, 4):
        for block in (0, 1):
            name = f"layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            y = norm(conv(x, f"{name}.conv1", stride, 1), f"{name}.bn1").relu()
            y = norm(conv(y, f"{name}.conv2", 1, 1), f"{name}.bn2")
            if stride == 2:
                x = norm(conv(x, f"{name}.downsample.0", 2, 0), f"{name}.downsample.1")
            x = (x + y).relu()
    return x.mean(dim=(2, 3))
