"""Training images, changed at random each time that they are seen, by a seed of their own."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from worker.training.calipers import with_calipers
from worker.training.cohort import Lesions
from worker.training.config import Augmentation, TrainingConfig

Batch = tuple[Tensor, Tensor, Tensor]


class RandomGamma(nn.Module):
    """Raise values, 0 to 1, to a power that is drawn from 1 - amount to 1 + amount: a scanner's grey map.

    torchvision has gamma as a function and not as a random transform.
    """

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, image: Tensor) -> Tensor:
        """Return the image, float32, changed."""
        power = 1 + self.amount * (2 * float(torch.rand(())) - 1)
        changed: Tensor = v2.functional.adjust_gamma(image, power)
        return changed


def augmentation(amounts: Augmentation) -> nn.Module:
    """Make the transform of one image, float32 (C, S, S), 0 to 1; steps that do nothing are left out.

    What a turn or a shift leaves empty becomes 0, as the preprocessing's own padding is.
    """
    turned = any((amounts.rotation_degrees, amounts.translate, amounts.scale))
    looks = any((amounts.brightness, amounts.contrast))
    affine = v2.RandomAffine(
        amounts.rotation_degrees,
        translate=(amounts.translate, amounts.translate),
        scale=(1 - amounts.scale, 1 + amounts.scale),
        interpolation=v2.InterpolationMode.BILINEAR,
    )
    steps = [
        (amounts.flip, v2.RandomHorizontalFlip(amounts.flip)),
        (amounts.vertical_flip, v2.RandomVerticalFlip(amounts.vertical_flip)),
        (turned, affine),
        (looks, v2.ColorJitter(brightness=amounts.brightness, contrast=amounts.contrast)),
        (amounts.gamma, RandomGamma(amounts.gamma)),
    ]
    return nn.Sequential(*(step for wanted, step in steps if wanted))


class _Seen(Dataset[Batch]):
    """The lesions as one epoch sees them: (image float32 (C, S, S) 0 to 1, normalized age, label)."""

    def __init__(self, lesions: Lesions, config: TrainingConfig, epoch: int) -> None:
        self._lesions = lesions
        self._ages = normalized_ages(lesions, config)
        self._transform = augmentation(config.augmentation)
        self._calipers = config.calipers
        self._key = (config.seed, epoch)

    def __getitem__(self, at: int) -> Batch:
        # Of seed, epoch and lesion alone: neither an interruption nor the number of processes changes what is seen.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_seed_of(*self._key, at))
            image = self._transform(self._image(at))
        return image, self._ages[at], torch.tensor(int(self._lesions.labels[at]))

    def _image(self, at: int) -> Tensor:
        """Return a lesion's image, with the calipers that it has, without them, or with others."""
        cohort, place = self._lesions.cohort, self._lesions.places[at]
        pixels = cohort.pixels
        if cohort.painted_over is not None and torch.rand(()) < self._calipers:
            pixels = cohort.painted_over
        image = torch.from_numpy(pixels[place]).float() / 255
        return with_calipers(image) if self._calipers and torch.rand(()) < self._calipers else image


def batches_of_epoch(
    lesions: Lesions, config: TrainingConfig, epoch: int, part: tuple[int, int] = (0, 1), loaders: int = 0
) -> Iterator[Batch]:
    """Give an epoch's batches, in an order of its own.

    What does not fill a batch is left out this time, as BatchNorm is unsteady on few.

    Args:
        lesions: to learn from.
        config: seed, batch and augmentation.
        epoch: from 0.
        part: which process this is, and of how many; each takes its share of every batch.
        loaders: processes that prepare images; they change no result.

    Returns:
        Images, float32 (N, C, S, S), 0 to 1; normalized ages, float32 (N,); labels, int64 (N,).
    """
    rank, processes = part
    order = np.random.default_rng([config.seed, epoch]).permutation(len(lesions)).tolist()
    whole = [order[at : at + config.batch] for at in range(0, len(order) // config.batch * config.batch, config.batch)]
    mine = [batch[rank::processes] for batch in whole]
    loader = DataLoader(_Seen(lesions, config, epoch), batch_sampler=mine, num_workers=loaders, collate_fn=_stacked)
    for images, ages, labels in loader:
        yield torch.from_numpy(images), torch.from_numpy(ages), torch.from_numpy(labels)


def _stacked(seen: Sequence[Batch]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    # Arrays pass a pipe. Tensors would be handed over by a socket in the folder for temporary files, and where its path
    # is too long for one, a loader drops the batch and the training waits for it for ever.
    images, ages, labels = (torch.stack(part).numpy() for part in zip(*seen, strict=True))
    return images, ages, labels


def normalized_ages(lesions: Lesions, config: TrainingConfig) -> Tensor:
    """Return the normalized ages of lesions, float32 (N,)."""
    return torch.from_numpy((lesions.ages - config.age_mean) / config.age_sd).float()


def normalized(images: Tensor, config: TrainingConfig) -> Tensor:
    """Return images as the network takes them, float32 (N, 3, S, S), of images, float32 (N, 1 or 3, S, S), 0 to 1.

    The same arithmetic as `worker.inference.model_pair.ScoringNetworks` does in service.
    """
    both = (config.pixel_mean, config.pixel_std)
    mean, std = (torch.tensor(one, device=images.device).reshape(1, 3, 1, 1) for one in both)
    return (images - mean) / std


def _seed_of(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> 1)
