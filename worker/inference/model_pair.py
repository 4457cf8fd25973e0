"""Both models as one module, from a lesion's pixels and age to their logits: what every device runs."""

import copy
from collections.abc import Iterable, Sequence
from typing import Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from worker.inference.model_card import ModelCard
from worker.inference.network import DlrNetwork
from worker.inference.runner import Inputs, Logits, Pixels


class ScoringNetworks(nn.Module):
    """The passes of one model, of one network or the members of an ensemble, from pixels to logits.

    Args:
        card: says how pixels are normalized.
        networks: in evaluation mode, in the card's order.
        image_only: FC2 answers (Fig. S2), and the age is not looked at.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, card: ModelCard, networks: Sequence[DlrNetwork], *, image_only: bool = False) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.mirrors = card.test_time_flip
        self._image_only = image_only
        self.register_buffer("mean", torch.tensor(card.pixel_mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(card.pixel_std).reshape(1, 3, 1, 1))

    def forward(self, pixels: Tensor, normalized_age: Tensor) -> Tensor:
        """Return logits, float32 (N, passes, classes), of pixels, uint8 (N, 1 or 3, S, S), and ages, float32 (N,)."""
        plain = (pixels.float() / 255 - self.mean) / self.std
        both = (plain, plain.flip(-1)) if self.mirrors else (plain,)
        return torch.stack(
            [self._logits(network, images, normalized_age) for images in both for network in self.each], 1
        )

    def _logits(self, network: DlrNetwork, images: Tensor, normalized_age: Tensor) -> Tensor:
        """Return a network's logits, float32 (N, classes): where autocast is on, it is for the ResNet alone.

        In bfloat16, which has 8 bits, logits of different lesions would be the same, and the worklist have ties.
        """
        features = network.image.backbone(images)
        with torch.autocast(features.device.type, enabled=False):
            embedding = network.image.fc1(features.float())
            logits: Tensor = (
                network.image.fc2(embedding) if self._image_only else network.age(embedding, normalized_age)
            )
        return logits

    @property
    def each(self) -> Iterable[DlrNetwork]:
        """The networks, in the card's order."""
        return cast("Iterable[DlrNetwork]", self.networks)


class ModelPair(nn.Module):
    """DLR_LH and DLR_BM side by side, in evaluation mode.

    Args:
        cards: of DLR_LH and DLR_BM.
        networks: of each, in the same order.

    Attributes:
        inputs_of: makes what it takes.
    """

    def __init__(self, cards: Sequence[ModelCard], networks: Sequence[Sequence[DlrNetwork]]) -> None:
        super().__init__()
        self.lh, self.bm = (ScoringNetworks(*one) for one in zip(cards, networks, strict=True))
        self.cards = tuple(cards)
        self.inputs_of = Inputs.of(cards)
        self.eval().requires_grad_(False)

    def forward(self, normalized_ages: Tensor, lh_pixels: Tensor, bm_pixels: Tensor | None = None) -> Tensor:
        """Return logits, float32 (N, passes, classes), DLR_LH's passes first.

        Args:
            normalized_ages: float32 (N, 2).
            lh_pixels: uint8 (N, 1 or 3, S, S).
            bm_pixels: the same for DLR_BM, where it takes another crop.
        """
        lh = self.lh(lh_pixels, normalized_ages[:, 0])
        bm = self.bm(lh_pixels if bm_pixels is None else bm_pixels, normalized_ages[:, 1])
        return torch.cat([lh, bm], dim=1)

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

    def weights(self) -> list[list[dict[str, NDArray[np.float32]]]]:
        """Return the tensors of each network by name, as its file has them; not once BatchNorm is folded."""
        return [
            [{name: tensor.numpy() for name, tensor in network.state_dict().items()} for network in model.each]
            for model in (self.lh, self.bm)
        ]


class TorchRunner:
    """A pair run by PyTorch as it is: the reference of the others, and what any CPU can do (`worker.inference.runner`).

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


def _normalization_of(convolution: str) -> str:
    """Return the name under which torchvision's ResNets keep the BatchNorm of a convolution."""
    return "1" if convolution == "0" else convolution.replace("conv", "bn")
