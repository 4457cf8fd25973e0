"""The image network's training through its FC2 (Fig. S2), or the whole network's: epochs that can be resumed."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils import deterministic

from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.discrimination import delong
from worker.inference.network import DlrNetwork
from worker.training.augment import Batch, batches_of_epoch, normalized, normalized_ages
from worker.training.checkpoint import Checkpoints, Progress
from worker.training.cohort import Lesions
from worker.training.config import TrainingConfig
from worker.training.mixup import mixed, mixed_loss, share_kept
from worker.training.processes import Team

EVALUATION_BATCH = 64

_FILL = "fill_uninitialized_memory"
"""Torch would fill all memory first. Nothing here reads what it has not written, and it takes a twelfth of a step."""

OnEpoch = Callable[[Progress], None]
OnShare = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Fitting:
    """What the epochs need besides the network.

    Attributes:
        lesions: of all splits; it learns from ``train``, and ``validation`` says which epoch was best.
        config: how.
        team: the processes that train it.
        checkpoints: where it goes on from, and what each epoch is kept in.
        on_epoch: told of each epoch once it is kept, of those before a resumption too.
        on_share: told the share of the epochs that is done.
        loaders: processes that prepare images.
    """

    lesions: Lesions
    config: TrainingConfig
    team: Team
    checkpoints: Checkpoints
    on_epoch: OnEpoch
    on_share: OnShare
    loaders: int = 0


class _Through(nn.Module):
    """What is trained: logits of the image alone, and with age where both are learnt at once."""

    def __init__(self, network: DlrNetwork, *, jointly: bool) -> None:
        super().__init__()
        # What is not trained is no part of this module: several processes wait for each parameter's gradient.
        self.image = network.image
        self.age = network.age if jointly else None

    def forward(self, images: Tensor, normalized_age: Tensor) -> tuple[Tensor, ...]:
        """Return one or two logits, float32 (N, classes)."""
        embedding = self.image.embed(images)
        image_only = self.image.fc2(embedding)
        return (image_only,) if self.age is None else (image_only, self.age(embedding, normalized_age))


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Allow torch only what gives the same again; on the CPU, where all that is needed has such a way."""
    strict, filled = torch.are_deterministic_algorithms_enabled(), getattr(deterministic, _FILL)
    torch.use_deterministic_algorithms(device.type == "cpu")
    setattr(deterministic, _FILL, False)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(strict)
        setattr(deterministic, _FILL, filled)


def fit(network: DlrNetwork, fitting: Fitting) -> Progress:
    """Train a network, in place, and leave it as it was after its best epoch, in evaluation mode.

    With several processes, it is the first one's that is left so.

    Raises:
        SetupRefused: ``lesions_too_few``: fewer than a batch; ``training_diverged``.
    """
    config, team, train = fitting.config, fitting.team, fitting.lesions.of(Split.TRAIN)
    steps = len(train) // config.batch
    if not steps:
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"{len(train)} training images do not fill a batch (--batch)")
    # Channels last is the layout that convolutions are quickest in.
    network.to(team.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    through = _Through(network, jointly=config.stages == "joint")
    optimizer = AdamW(through.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    schedule = OneCycleLR(optimizer, config.learning_rate, total_steps=steps * config.epochs, pct_start=config.warm_up)
    progress = fitting.checkpoints.restore(network, optimizer)
    schedule.load_state_dict({"last_epoch": progress.epochs * steps, "_step_count": progress.epochs * steps + 1})
    wrapped = team.wrapped(through)
    if team.leads:
        fitting.on_epoch(progress)
    while not _is_over(progress, config):
        started = time.monotonic()
        loss = _epoch(wrapped, optimizer, schedule, train, fitting, progress.epochs)
        team.as_the_first(network)
        _judge_epoch(network, fitting, progress, loss, time.monotonic() - started)
        if team.leads:
            fitting.checkpoints.save(progress, network, optimizer)
            fitting.on_epoch(progress)
    if team.leads:
        fitting.checkpoints.take_best(progress, network)
    network.eval()
    return progress


def _is_over(progress: Progress, config: TrainingConfig) -> bool:
    waited = progress.epochs - progress.best_epoch
    return progress.epochs >= config.epochs or (config.patience is not None and waited >= config.patience)


def _epoch(
    through: nn.Module, optimizer: Optimizer, schedule: OneCycleLR, train: Lesions, fitting: Fitting, epoch: int
) -> float:
    """Train for an epoch; return the mean loss."""
    config, team = fitting.config, fitting.team
    weights = class_weights(train.labels, config).to(team.device)
    losses = []
    steps = len(train) // config.batch
    through.train()
    batches = batches_of_epoch(train, config, epoch, (team.rank, team.size), fitting.loaders)
    for step, batch in enumerate(batches, start=1):
        optimizer.zero_grad()
        loss = _loss(through, batch, weights, fitting, share_kept(config, epoch, step))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(loss.detach())
        fitting.on_share((epoch + step / steps) / config.epochs)
    mean = float(team.summed(torch.stack(losses).mean()) / team.size)
    if not math.isfinite(mean):
        raise SetupRefused(Code.TRAINING_DIVERGED)
    return mean


def _loss(through: nn.Module, batch: Batch, weights: Tensor, fitting: Fitting, share: float) -> Tensor:
    config, device = fitting.config, fitting.team.device
    pixels, ages, labels = (part.to(device, non_blocking=True) for part in batch)
    images = normalized(mixed(pixels, share), config).to(memory_format=torch.channels_last)
    half = config.amp == "bfloat16" or (config.amp == "auto" and device.type == "cuda")
    with torch.autocast(device.type, torch.bfloat16, enabled=half):
        logits = through(images, mixed(ages, share))
    losses = [
        mixed_loss(
            partial(weighted_loss, one.float(), weights=weights, smoothing=config.label_smoothing), labels, share
        )
        for one in logits
    ]
    if len(losses) == 1:
        return losses[0]
    return config.image_loss_share * losses[0] + (1 - config.image_loss_share) * losses[1]


def weighted_loss(logits: Tensor, labels: Tensor, weights: Tensor, smoothing: float = 0.0) -> Tensor:
    """Return the mean cross entropy, each lesion times its class's weight.

    Not divided by the weights' sum, as torch would: then the mean over processes is the loss of the whole batch.

    Args:
        logits: float32 (N, classes).
        labels: int64 (N,).
        weights: of the classes, float32 (classes,).
        smoothing: so much of each label goes to all classes alike, 0 to 1 (Szegedy et al., CVPR 2016, section 7); a
            lesion keeps the weight of its own class.
    """
    each = nn.functional.cross_entropy(logits, labels, reduction="none", label_smoothing=smoothing) * weights[labels]
    return each.mean()


def class_weights(labels: NDArray[np.bool_], config: TrainingConfig) -> Tensor:
    """Return what a lesion of each class counts, float32 (2,), 1 in the mean over the lesions."""
    counts = np.array([(~labels).sum(), labels.sum()], np.float64)
    weights = counts.sum() / (2 * counts) if config.class_weights == "balanced" else np.ones(2)
    return torch.from_numpy(weights).float()


def _judge_epoch(network: DlrNetwork, fitting: Fitting, progress: Progress, loss: float, seconds: float) -> None:
    """Write an epoch into the progress, with its validation AUC; the same in every process."""
    validation = fitting.lesions.of(Split.VALIDATION)
    embeddings = embed(network, validation, fitting.config, fitting.team)
    with torch.no_grad():
        ages = normalized_ages(validation, fitting.config).to(embeddings.device)
        joint = fitting.config.stages == "joint"
        logits = network.age(embeddings, ages) if joint else network.image.fc2(embeddings)
    scores = positive_probabilities(logits)
    if not np.isfinite(scores).all():
        raise SetupRefused(Code.TRAINING_DIVERGED)
    auc = float(delong([scores], validation.labels)[0][0])
    progress.epochs += 1
    if auc > progress.best_auc:
        progress.best_auc, progress.best_epoch = auc, progress.epochs
    progress.history.append(
        {"epoch": progress.epochs, "loss": loss, "validation_auc": auc, "seconds": round(seconds, 3)}
    )


def embed(
    network: DlrNetwork, lesions: Lesions, config: TrainingConfig, team: Team, *, mirrored: bool = False
) -> Tensor:
    """Return the US embeddings of lesions, float32 (N, 128), in evaluation mode; each process makes its share.

    Args:
        network: it stays in evaluation mode.
        lesions: N of them.
        config: how their images are normalized.
        team: the processes.
        mirrored: of their mirror images.
    """
    network.eval()
    places = lesions.places[team.rank :: team.size]
    embeddings = torch.zeros(len(lesions), network.image.fc1.out_features, device=team.device)
    with torch.no_grad():
        parts = np.split(places, range(EVALUATION_BATCH, len(places), EVALUATION_BATCH))
        images = (torch.from_numpy(lesions.cohort.pixels[part]).to(team.device).float() / 255 for part in parts)
        seen = (normalized(one.flip(-1) if mirrored else one, config) for one in images)
        embeddings[team.rank :: team.size] = torch.cat([network.embed(one) for one in seen])
    return team.summed(embeddings)


def positive_probabilities(logits: Tensor) -> NDArray[np.float64]:
    """Return the probability of the positive class, the second, float64 (N,)."""
    probabilities: NDArray[np.float64] = torch.softmax(logits.detach().cpu().double(), dim=1)[:, 1].numpy()
    return probabilities
