"""Both models as one module, from a lesion's pixels and age to their logits: what every device runs."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from worker.inference.model_card import ModelCard
from worker.inference.network import DlrNetwork
from worker.inference.preprocess import same_crop

Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]


class Runner(Protocol):
    """Both models on a device.

    Attributes:
        tolerance: by how much a probability may differ from that of `ModelPair` in float32.
        threads: how many batches may be at work at once.
        batch_max: the most images in a batch, where a site says nothing.
        studies: so many at hand keep it busy, where a site says nothing.
        gather_s: how long one study's result may wait for others', to be written with them, in seconds: about as long
            as a batch takes.
    """

    tolerance: float
    threads: int
    batch_max: int
    studies: int
    gather_s: float

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> Logits:
        """Score a batch.

        Args:
            lh: for each lesion, DLR_LH's pixels, uint8 (1 or 3, S, S).
            bm: the same for DLR_BM; not looked at where both models take the same crop.
            ages: for each lesion, years.

        Returns:
            Logits, float32 (N, 2, classes), DLR_LH first, in the cards' order of classes.
        """


@dataclass(frozen=True, slots=True)
class Inputs:
    """Makes a batch's arrays.

    Attributes:
        age_mean: of DLR_LH and DLR_BM, float64 (2,), years.
        age_sd: likewise.
        one_crop: both models take the same pixels.
    """

    age_mean: NDArray[np.float64]
    age_sd: NDArray[np.float64]
    one_crop: bool

    def normalized(self, ages: Sequence[float]) -> NDArray[np.float32]:
        """Return the ages as each model takes them, float32 (N, 2)."""
        years = np.asarray(ages, np.float64).reshape(-1, 1)
        return ((years - self.age_mean) / self.age_sd).astype(np.float32)

    def __call__(
        self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]
    ) -> list[NDArray[np.float32] | Pixels]:
        """Return what `ModelPair` takes, in its order."""
        return [self.normalized(ages), np.stack(lh), *([] if self.one_crop else [np.stack(bm)])]


class ScoringNetwork(nn.Module):
    """One model, from pixels to logits.

    Args:
        card: says how pixels are normalized.
        network: in evaluation mode.
        image_only: FC2 answers (Fig. S2), and the age is not looked at.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, card: ModelCard, network: DlrNetwork, *, image_only: bool = False) -> None:
        super().__init__()
        self.network = network
        self._image_only = image_only
        self.register_buffer("mean", torch.tensor(card.pixel_mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(card.pixel_std).reshape(1, 3, 1, 1))

    def forward(self, pixels: Tensor, normalized_age: Tensor) -> Tensor:
        """Return logits, float32 (N, classes), of pixels, uint8 (N, 1 or 3, S, S), and ages, float32 (N,)."""
        images = (pixels.float() / 255 - self.mean) / self.std
        if self._image_only:
            return self.network.image_logits(images)
        logits: Tensor = self.network(images, normalized_age)
        return logits


class ModelPair(nn.Module):
    """DLR_LH and DLR_BM side by side, in evaluation mode.

    Args:
        cards: of DLR_LH and DLR_BM.
        networks: in the same order.
    """

    def __init__(self, cards: Sequence[ModelCard], networks: Sequence[DlrNetwork]) -> None:
        super().__init__()
        self.lh, self.bm = (ScoringNetwork(*one) for one in zip(cards, networks, strict=True))
        self.shapes = tuple((1 if card.channels == "gray" else 3, card.input_size, card.input_size) for card in cards)
        self.one_crop = same_crop(*(card.preprocessing for card in cards))
        self.inputs_of = Inputs(
            np.array([card.age_mean for card in cards]), np.array([card.age_sd for card in cards]), self.one_crop
        )
        self.eval().requires_grad_(False)

    def forward(self, normalized_ages: Tensor, lh_pixels: Tensor, bm_pixels: Tensor | None = None) -> Tensor:
        """Return logits, float32 (N, 2, classes).

        Args:
            normalized_ages: float32 (N, 2).
            lh_pixels: uint8 (N, 1 or 3, S, S).
            bm_pixels: the same for DLR_BM, where it takes another crop.
        """
        lh = self.lh(lh_pixels, normalized_ages[:, 0])
        bm = self.bm(lh_pixels if bm_pixels is None else bm_pixels, normalized_ages[:, 1])
        return torch.stack([lh, bm], dim=1)

    def twin(self) -> Self:
        """Return a copy that may be folded and moved while this one scores; both share what folding replaces."""
        weights = [module.weight for module in self.modules() if isinstance(module, nn.Conv2d)]
        return copy.deepcopy(self, {id(weight): weight for weight in weights})

    def fold(self) -> Self:
        """Fold each BatchNorm into the convolution before it, which gives the same scores with less work."""
        for module in list(self.modules()):
            children = dict(module.named_children())
            for name, child in children.items():
                after = _normalization_of(name)
                normalization = children.get(after)
                if isinstance(child, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d):
                    setattr(module, name, fuse_conv_bn_eval(child, normalization))
                    setattr(module, after, nn.Identity())
        return self

    def noise(self, count: int) -> tuple[list[Pixels], list[Pixels], list[float]]:
        """Return a batch of noise, the same at each call: what devices are compared on."""
        rng = np.random.default_rng(0)
        lh, bm = ([rng.integers(0, 256, shape, np.uint8) for _ in range(count)] for shape in self.shapes)
        return lh, lh if self.one_crop else bm, rng.uniform(20, 90, count).tolist()


class TorchRunner:
    """A pair run by PyTorch as it is: the reference of the others, and what any CPU can do.

    Args:
        pair: on the CPU.
    """

    tolerance = 1e-4
    threads = 1
    batch_max = 8
    studies = 16
    gather_s = 0.3

    def __init__(self, pair: ModelPair) -> None:
        self._pair = pair

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> Logits:
        """Score a batch (see `Runner.run`)."""
        with torch.inference_mode():
            logits: Logits = self._pair(*map(torch.from_numpy, self._pair.inputs_of(lh, bm, ages))).numpy()
        return logits


def probabilities(logits: Logits, temperatures: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return the softmax over the last axis, in float64; each row sums to 1.

    Args:
        logits: float32 (..., models, classes).
        temperatures: of `temperatures_of`; ``None``: they stay as they are.
    """
    below = (logits - logits.max(axis=-1, keepdims=True)).astype(np.float64)
    powers = np.exp(below if temperatures is None else below / temperatures)
    scores: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return scores


def temperatures_of(cards: Sequence[ModelCard]) -> NDArray[np.float64] | None:
    """Return by what each model's logits are divided, float64 (models, 1); ``None`` where nothing is to be done."""
    temperatures = [card.temperature for card in cards]
    return None if all(one == 1 for one in temperatures) else np.array(temperatures).reshape(-1, 1)


def _normalization_of(convolution: str) -> str:
    """Return the name under which torchvision's ResNets keep the BatchNorm of a convolution."""
    return "1" if convolution == "0" else convolution.replace("conv", "bn")
