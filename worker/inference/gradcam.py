"""Grad-CAM: where in a lesion's image a model looked (Selvaraju et al., ICCV 2017, equations 1 and 2).

Of an ensemble it is the mean of its members' maps, each on its own scale of 0 to 1: as in its score, each counts alike.
With test-time flips that of the mirror image is among them, turned back.
For pictures alone: it works on networks of its own, one lesion at a time, and nothing that scores comes here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from worker.clinical.aggregation import at_temperature
from worker.errors import Code, LesionRefused, ModelRefused
from worker.imaging.cropping import crop_slices, model_pixels
from worker.imaging.heat_map import Heat, HeatMap
from worker.inference.ensemble import mean_score
from worker.inference.entry import Entry
from worker.inference.lesion_score import score_of
from worker.inference.model_card import ModelCard
from worker.inference.model_pair import ScoringNetworks
from worker.inference.network import DlrNetwork
from worker.inference.registry import Registry
from worker.inference.runner import Logits, probabilities, temperatures_of
from worker.inference.weights import load_networks
from worker.reporting.result import LesionResult, ModelScore
from worker.study import Roi, Score

SAME_SCORE = 0.05
"""How far a probability may be from the stored one: devices are within 0.03 of this one (`worker.inference.cuda`)."""


@dataclass(frozen=True, slots=True)
class GradCamResult:
    """Where a model looked, and what it says of the lesion here."""

    heat: HeatMap
    score: Score


class GradCam:
    """Says where the version that scored a lesion looked, as `worker.reporting.documents` asks for it.

    Args:
        models_dir: the registry.
    """

    def __init__(self, models_dir: Path) -> None:
        # Both models of a study: the networks of two are kept.
        self._loaded = lru_cache(maxsize=2)(partial(loaded, models_dir))

    def __call__(self, lesion: LesionResult, score: ModelScore, frame: NDArray[np.uint8]) -> HeatMap:
        """Return where the model of one of a lesion's scores looked, in the frame that it was scored on.

        Raises:
            ModelRefused: ``model_not_found``: the registry has not this very version; ``weights_missing``,
                ``weights_hash_mismatch``, ``weights_shape_mismatch``: it is damaged.
            LesionRefused: ``result_missing``: no region or age is on record; ``image_changed``: the model says
                something else of this frame than is on record, so it is not the image that was scored.
        """
        if lesion.region is None or lesion.age_years is None:
            raise LesionRefused(Code.RESULT_MISSING, "the lesion was not scored")
        card, networks = self._loaded(score.model, score.version, score.weights_sha256)
        looked = grad_cam(card, networks, frame, Roi(*lesion.region), lesion.age_years)
        if not any(abs(one - score.positive_probability) <= SAME_SCORE for one in _on_scales(card, looked.score)):
            reason = f"{score.model} {score.version} gives this image a score that differs from the one on record"
            raise LesionRefused(Code.IMAGE_CHANGED, f"{reason}: it is not the image that was scored")
        return looked.heat


def _on_scales(card: ModelCard, score: Score) -> Iterator[float]:
    """A score on the card's scale, and on those of its sites; which one it is on in the ledger is not told here."""
    for site in (None, *card.sites):
        yield at_temperature(score.positive_probability, card.at_site(site).temperature / card.temperature)


def loaded(
    models_dir: Path, name: str, version: str, weights_sha256: str | None = None
) -> tuple[ModelCard, tuple[DlrNetwork, ...]]:
    """Load a version of a model: its card and its networks.

    Args:
        models_dir: the registry.
        name: ``DLR_LH`` or ``DLR_BM``.
        version: its card's.
        weights_sha256: that it has to have; ``None``: whichever it has.

    Raises:
        ModelRefused: ``model_not_found``: the registry has not this very version; ``weights_missing``,
            ``weights_hash_mismatch``, ``weights_shape_mismatch``: it is damaged.
    """
    entry = _entry(models_dir, name, version)
    if weights_sha256 not in (None, entry.card.weights_sha256):
        reason = f"the registry's {name} {version} has other weights than those that scored the lesion"
        raise ModelRefused(Code.MODEL_NOT_FOUND, reason)
    return entry.card, load_networks(entry.card, entry.weights_paths, torch.device("cpu"))


def _entry(models_dir: Path, name: str, version: str) -> Entry:
    for entry in Registry(models_dir).list():
        if (entry.card.name, entry.card.version) == (name, version):
            return entry
    reason = f"the registry has no {name} {version}: restore its card and weights with `dlr models add`"
    raise ModelRefused(Code.MODEL_NOT_FOUND, reason)


def grad_cam(
    card: ModelCard, networks: Sequence[DlrNetwork], frame: NDArray[np.uint8], region: Roi, age_years: float
) -> GradCamResult:
    """Weigh each place of a frame by how much it spoke for the model's positive class, in the last convolutions.

    Args:
        card: says what the networks are fed.
        networks: the model's, in evaluation mode, in the card's order.
        frame: uint8, (rows, columns) grey or (rows, columns, 3) RGB.
        region: the lesion's rectangle, within the frame.
        age_years: the patient's.

    Returns:
        The map on the frame, and the score that the same pass gave, in float32 on the CPU.
    """
    wanted = card.preprocessing
    pixels = model_pixels(
        frame, region, size=wanted.size, margin=wanted.margin, resize=wanted.resize, channels=wanted.channels
    )
    looked = [_cam(card, network, pixels, age_years) for network in networks]
    if card.test_time_flip:
        mirrored = [_cam(card, network, pixels[..., ::-1], age_years) for network in networks]
        looked += [(of_one[:, ::-1], said) for of_one, said in mirrored]
    cam = _scaled(np.mean([of_one for of_one, _ in looked], axis=0, dtype=np.float32))
    logits = mean_score(np.stack([of_one for _, of_one in looked], axis=1))
    rows, columns = crop_slices((frame.shape[0], frame.shape[1]), region, card.roi_margin)
    shown = Roi(columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start)
    values = np.zeros(frame.shape[:2], np.float32)
    values[rows, columns] = _on_crop(cam, shown.height, shown.width, card)
    heat = HeatMap(values, shown, card.channels == "gray", cam.shape[0])
    return GradCamResult(heat, score_of(card, probabilities(logits, temperatures_of([card]))[0].tolist()))


def _cam(card: ModelCard, network: DlrNetwork, pixels: NDArray[np.uint8], age_years: float) -> tuple[Heat, Logits]:
    """Return a network's map of layer4's activations, float32 (h, w), 0 to 1, and its logits, float32 (1, classes)."""
    kept: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _inputs: object, activations: torch.Tensor) -> torch.Tensor:
        kept.append(activations.detach().requires_grad_())
        return kept[0]

    handle = network.image.backbone.layer4.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            age = torch.tensor([(age_years - card.age_mean) / card.age_sd], dtype=torch.float32)
            plain = card.model_copy(update={"test_time_flip": False})
            logits = ScoringNetworks(plain, [network])(torch.from_numpy(pixels[np.newaxis].copy()), age)[:, 0]
            (gradients,) = torch.autograd.grad(logits[0, card.positive_index], kept[0])
    finally:
        handle.remove()
    weights = gradients.mean(dim=(2, 3), keepdim=True)
    cam = torch.relu((weights * kept[0]).sum(dim=1))[0].detach()
    return _scaled(cam.numpy()), logits.detach().numpy()


def _scaled(cam: Heat) -> Heat:
    """Return a map whose highest value is 1, or 0 where it has none."""
    highest = cam.max()
    return cam / highest if highest > 0 else cam


def _on_crop(cam: Heat, height: int, width: int, card: ModelCard) -> Heat:
    """Undo the resizing and the letterbox, in this order (see `worker.imaging.cropping.model_pixels`)."""
    if card.resize != "letterbox":
        return _resized(cam, height, width)
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    return _resized(cam, side, side)[top : top + height, left : left + width]


def _resized(cam: Heat, height: int, width: int) -> Heat:
    image = Image.fromarray(cam).resize((width, height), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(image, np.float32), 0, 1)
