"""Grad-CAM: where in a lesion's image a model looked (Selvaraju et al., ICCV 2017, equations 1 and 2).

For pictures alone: it works on a network of its own, one lesion at a time, and nothing that scores comes here.
"""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from worker.errors import ModelRefused
from worker.imaging.cropping import crop_slices, model_pixels
from worker.inference.card import ModelCard
from worker.inference.network import DlrNetwork
from worker.inference.pair import ScoringNetwork
from worker.inference.registry import Registry
from worker.inference.weights import load_network
from worker.reporting.result import LesionResult
from worker.study import Roi

Heat = NDArray[np.float32]


class Looker:
    """Says where the version of DLR_BM that scored a lesion looked, as `worker.reporting.documents` asks for it.

    Args:
        models_dir: the registry. A version that it does not have any more looks nowhere.
    """

    def __init__(self, models_dir: Path) -> None:
        self._loaded = lru_cache(maxsize=1)(partial(loaded, models_dir))

    def __call__(self, lesion: LesionResult, frame: NDArray[np.uint8]) -> Heat | None:
        """Return `grad_cam` of a lesion; ``None`` where it was not scored, or by a version that is not there."""
        score = lesion.bm
        if score is None or lesion.region is None or lesion.age_years is None:
            return None
        model = self._loaded(score.model, score.version, score.weights_sha256)
        return None if model is None else grad_cam(*model, frame, Roi(*lesion.region), lesion.age_years)


def loaded(models_dir: Path, name: str, version: str, weights_sha256: str) -> tuple[ModelCard, DlrNetwork] | None:
    """Load the version of a model that gave a score; ``None`` where the registry does not have it, or not soundly."""
    for entry in Registry(models_dir).list():
        card = entry.card
        if (card.name, card.version, card.weights_sha256) == (name, version, weights_sha256):
            try:
                return card, load_network(card, entry.weights_path, torch.device("cpu"))
            except ModelRefused:
                return None
    return None


def grad_cam(card: ModelCard, network: DlrNetwork, frame: NDArray[np.uint8], region: Roi, age_years: float) -> Heat:
    """Weigh each place of a frame by how much it spoke for the model's positive class, in the last convolutions.

    Args:
        card: says what the network is fed.
        network: in evaluation mode.
        frame: uint8, (rows, columns) grey or (rows, columns, 3) RGB.
        region: the lesion's rectangle, within the frame.
        age_years: the patient's.

    Returns:
        float32 (rows, columns), 0 to 1: 1 where it spoke most for it, 0 outside of what the network was shown, and 0
        everywhere if nothing spoke for it.
    """
    wanted = card.preprocessing
    pixels = model_pixels(
        frame, region, size=wanted.size, margin=wanted.margin, resize=wanted.resize, channels=wanted.channels
    )
    cam = _cam(card, network, pixels, age_years)
    return _on_frame(cam, frame.shape[:2], region, card)


def _cam(card: ModelCard, network: DlrNetwork, pixels: NDArray[np.uint8], age_years: float) -> Heat:
    """Return the map of layer4's activations, float32 (h, w), 0 to 1."""
    kept: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: object, activations: torch.Tensor) -> torch.Tensor:
        kept.append(activations.detach().requires_grad_())
        return kept[0]

    handle = network.image.backbone.layer4.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            age = torch.tensor([(age_years - card.age_mean) / card.age_sd], dtype=torch.float32)
            logits = ScoringNetwork(card, network)(torch.from_numpy(pixels[np.newaxis].copy()), age)
            (gradients,) = torch.autograd.grad(logits[0, card.positive_index], kept[0])
    finally:
        handle.remove()
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * kept[0]).sum(dim=1))[0].detach()
    highest = float(cam.max())
    scaled: Heat = (cam / highest if highest > 0 else cam).numpy()
    return scaled


def _on_frame(cam: Heat, size: tuple[int, ...], region: Roi, card: ModelCard) -> Heat:
    """Undo the resizing, the letterbox and the crop, in this order (see `worker.imaging.cropping.model_pixels`)."""
    rows, columns = crop_slices((size[0], size[1]), region, card.roi_margin)
    height, width = rows.stop - rows.start, columns.stop - columns.start
    if card.resize == "letterbox":
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        shown = _resized(cam, side, side)[top : top + height, left : left + width]
    else:
        shown = _resized(cam, height, width)
    heat = np.zeros(size[:2], np.float32)
    heat[rows, columns] = shown
    return heat


def _resized(cam: Heat, height: int, width: int) -> Heat:
    image = Image.fromarray(cam).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(image, np.float32), 0, 1)
