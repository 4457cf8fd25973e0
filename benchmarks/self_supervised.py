"""A start without labels for `benchmarks.real_training`: SimCLR on the images that a network is trained on afterwards.

Chen et al., "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020: each image is changed
at random twice, and a network learns to tell which two of a batch are of one image. The projection head, through which
it learns, is thrown away. Crops are milder than the paper's, since what a crop cuts off, a margin or a shadow, says
what a lesion is; and there are no colours to change.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR
from torchvision.transforms import v2

from benchmarks.measuring import say_on_stderr
from benchmarks.real_training import START_FILE
from worker.inference.network import DlrNetwork
from worker.training.augment import normalized
from worker.training.checkpoint_files import write_tensors
from worker.training.config import TrainingConfig
from worker.training.start import new_network

BATCH = 128
TEMPERATURE = 0.2
LEARNING_RATE = 1e-3
WEIGHT_DECAY = 1e-4
PROJECTED = 128
SMALLEST_CROP = 0.5
"""Of an image's area."""


def start_of(pixels: NDArray[np.uint8], config: TrainingConfig, epochs: int, work: Path) -> Path:
    """Train a backbone without labels, and keep it in ``work``; one that is there already is taken as it is.

    Args:
        pixels: of the images, uint8 (N, 1 or 3, S, S).
        config: seed, backbone, precision, and how images are normalized.
        epochs: how many.
        work: folder.

    Returns:
        The file, for `TrainingConfig.init`.
    """
    kept = work / START_FILE
    if not kept.exists():
        network = new_network(config)
        for epoch, loss in enumerate(contrastive_losses(network, pixels, config, epochs), start=1):
            say_on_stderr(f"{work.name}: without labels, epoch {epoch} of {epochs}, loss {loss:.4f}")
        tensors = network.state_dict()
        write_tensors(kept, {name: tensors[name] for name in tensors if name.startswith("image.backbone.")})
    return kept


def contrastive_losses(
    network: DlrNetwork, pixels: NDArray[np.uint8], config: TrainingConfig, epochs: int
) -> Iterator[float]:
    """Train a network's backbone, in place, by SimCLR; give the mean loss of each epoch.

    All that is drawn at random follows from the seed and the epoch.
    """
    batch = min(BATCH, len(pixels))
    steps = len(pixels) // batch
    backbone = network.image.backbone
    with _drawn_from(config.seed):
        head = nn.Sequential(nn.Linear(backbone.width, backbone.width), nn.ReLU(), nn.Linear(backbone.width, PROJECTED))
    through = nn.Sequential(backbone, head).train()
    through.to(memory_format=torch.channels_last)
    optimizer = AdamW(through.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps * epochs)
    for epoch in range(epochs):
        losses = []
        for views in epoch_of_views(pixels, config, epoch, batch):
            optimizer.zero_grad()
            images = normalized(views, config).to(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=config.amp == "bfloat16"):
                projections = through(images)
            loss = nt_xent(projections.float(), TEMPERATURE)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(float(loss.detach()))
        yield float(np.mean(losses))


def nt_xent(projections: Tensor, temperature: float) -> Tensor:
    """Return the normalized, temperature-scaled cross entropy, equation 1 of the paper, in the mean over the views.

    Args:
        projections: of 2 N views, float32 (2 N, W); rows i and i + N are of the same image.
        temperature: by which cosine similarities are divided.
    """
    directions = nn.functional.normalize(projections, dim=1)
    views = len(directions)
    itself = torch.eye(views, dtype=torch.bool)
    logits = (directions @ directions.T / temperature).masked_fill(itself, -torch.inf)
    return nn.functional.cross_entropy(logits, torch.arange(views).roll(views // 2))


def epoch_of_views(pixels: NDArray[np.uint8], config: TrainingConfig, epoch: int, batch: int) -> Iterator[Tensor]:
    """Give an epoch's batches of N images, each changed twice: float32 (2 N, C, S, S), 0 to 1."""
    changed = _changes(pixels.shape[-1])
    order = np.random.default_rng([config.seed, epoch]).permutation(len(pixels))
    for step in range(len(pixels) // batch):
        images = [torch.from_numpy(pixels[at]).float() / 255 for at in order[step * batch : (step + 1) * batch]]
        with _drawn_from(config.seed, epoch, step):
            views = torch.stack([changed(image) for image in (*images, *images)])
        yield views


def _changes(side: int) -> nn.Module:
    """Make the random change of one image, float32 (C, S, S), 0 to 1."""
    steps = [
        v2.RandomResizedCrop(side, scale=(SMALLEST_CROP, 1), ratio=(0.9, 1.1)),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(brightness=0.4, contrast=0.4),
        v2.RandomApply([v2.GaussianBlur(5, sigma=(0.1, 1.0))]),
    ]
    return nn.Sequential(*steps)


@contextmanager
def _drawn_from(*seed: int) -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        yield
