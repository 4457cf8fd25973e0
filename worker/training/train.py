"""Training of one model in the study's two stages: the image network through its FC2, then the classifier with age."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from worker.inference.network import DlrNetwork
from worker.training.cohort import Cohort
from worker.training.recipe import Recipe

OnProgress = Callable[[float], None]
_EVALUATION_BATCH = 64


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Make what torch does inside follow from the seed; its state outside is left as it was."""
    strict = torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)


def new_network(recipe: Recipe) -> DlrNetwork:
    """Make an untrained network. The last BatchNorm of each block starts at zero: each block starts as the identity."""
    network = DlrNetwork(recipe.backbone)
    for module in network.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)
    return network


def train_image_network(
    network: DlrNetwork,
    cohort: Cohort,
    labels: NDArray[np.bool_],
    recipe: Recipe,
    epochs: int,
    on_progress: OnProgress,
) -> None:
    """Train the image network through its FC2 (Fig. S2), in place.

    Args:
        network: to train.
        cohort: what it learns from.
        labels: bool (N,), whether each lesion is of the positive class, the network's second.
        recipe: how.
        epochs: how often it sees each lesion.
        on_progress: told the share that is done.
    """
    # Channels last is the layout that the CPU's convolutions are quickest in.
    network.to(memory_format=torch.channels_last)
    images = torch.from_numpy(cohort.images).to(memory_format=torch.channels_last)
    targets = torch.from_numpy(labels).long()
    steps = epochs * (len(targets) // recipe.batch)
    parameters = network.image.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=steps)
    network.train()
    for step, chosen in enumerate(_batches(len(targets), recipe.batch, epochs), start=1):
        batch = images[chosen]
        mirrored = torch.rand(len(batch)) < 0.5
        batch[mirrored] = batch[mirrored].flip(-1)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.image_logits(batch), targets[chosen]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        on_progress(step / steps)
    network.eval()


def train_age_classifier(network: DlrNetwork, cohort: Cohort, labels: NDArray[np.bool_], recipe: Recipe) -> None:
    """Train the classifier with age (Fig. S3) on the embeddings of a trained image network, in place.

    Args:
        network: its image network stays as it is.
        cohort: lesions; some that the image network did not learn from, so that their embeddings are what service sees.
        labels: bool (N,), whether each lesion is of the positive class, the network's second.
        recipe: how.
    """
    embeddings = embed(network, cohort)
    ages, targets = normalized_ages(cohort, recipe), torch.from_numpy(labels).long()
    parameters = network.age.parameters()
    optimizer = torch.optim.AdamW(parameters, lr=recipe.age_learning_rate, weight_decay=recipe.age_weight_decay)
    for _ in range(recipe.age_steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network.age(embeddings, ages), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def embed(network: DlrNetwork, cohort: Cohort) -> Tensor:
    """Return the US embeddings of a cohort, float32 (N, 128), in evaluation mode."""
    network.eval()
    with torch.no_grad():
        return torch.cat(
            [network.embed(batch) for batch in torch.split(torch.from_numpy(cohort.images), _EVALUATION_BATCH)]
        )


def normalized_ages(cohort: Cohort, recipe: Recipe) -> Tensor:
    """Return the normalized ages of a cohort, float32 (N,)."""
    return torch.from_numpy((cohort.ages - recipe.age_mean) / recipe.age_sd).float()


def _batches(count: int, batch: int, epochs: int) -> Iterator[Tensor]:
    """Each epoch in an order of its own; what does not fill a batch is left out, as BatchNorm is unsteady on few."""
    for _ in range(epochs):
        order = torch.randperm(count)
        yield from torch.split(order[: count // batch * batch], batch)
