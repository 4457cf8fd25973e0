"""What `worker.inference.cuda.CudaRunner` might do otherwise, read and doubted: to be measured on a card.

The first three are pairs that the runner takes as they are; the last is two of it.
"""

from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Self

import torch
from torch import Tensor, nn

from worker.inference.model_pair import ModelPair, ScoringNetworks
from worker.inference.runner import Logits, Pixels, Runner


class Bf16Weights(ModelPair):
    """Holds the convolutions' weights in bfloat16 once it is folded: autocast then converts none in a replay."""

    def fold(self) -> Self:
        super().fold()
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                module.bfloat16()
        return self


class NhwcBytes(ModelPair):
    """Takes pixels as (N, S, S, C) and makes them images in one step, channels last: nothing is turned round.

    A grey image's bytes are the same either way; this is for cards whose ``channels`` are ``gray``.
    """

    def forward(self, normalized_ages: Tensor, lh_pixels: Tensor, bm_pixels: Tensor | None = None) -> Tensor:
        lh = _scored(self.lh, lh_pixels, normalized_ages[:, 0])
        bm = _scored(self.bm, lh_pixels if bm_pixels is None else bm_pixels, normalized_ages[:, 1])
        return torch.cat([lh, bm], dim=1)


class Bf16WeightsNhwcBytes(NhwcBytes, Bf16Weights):
    """Both."""


def _scored(model: ScoringNetworks, pixels: Tensor, normalized_age: Tensor) -> Tensor:
    scale, shift = (1 / (255 * model.std)).flatten(), (-model.mean / model.std).flatten()
    images = torch.addcmul(shift, pixels.permute(0, 2, 3, 1).float(), scale).permute(0, 3, 1, 2)
    return torch.stack([model._logits(network, images, normalized_age) for network in model.each], dim=1)  # noqa: SLF001


class TwoStreams:
    """Two runners, each with its graphs and its stream: small batches of both may be at work on the card at once.

    Args:
        make: puts both models on the card once more.
    """

    def __init__(self, make: Callable[[], Runner]) -> None:
        runners = make(), make()
        one = runners[0]
        self.tolerance, self.batch_max, self.studies, self.gather_s = (
            one.tolerance, one.batch_max, one.studies, one.gather_s,
        )  # fmt: skip
        self.threads = sum(runner.threads for runner in runners)
        self._free: SimpleQueue[Runner] = SimpleQueue()
        for _ in range(one.threads):
            for runner in runners:
                self._free.put(runner)

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> Logits:
        runner = self._free.get()
        try:
            return runner.run(lh, bm, ages)
        finally:
            self._free.put(runner)
