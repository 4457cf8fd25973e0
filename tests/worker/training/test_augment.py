"""What a training image looks like when it is seen: changed, never upside down, and the same again by its seed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.worker.training.small import cohort_row, config
from worker.training.augment import augmentation, batches_of_epoch
from worker.training.cohort import Cohort, Lesions
from worker.training.config import Augmentation, TrainingConfig

NOTHING = Augmentation(flip=0, rotation_degrees=0, translate=0, scale=0, brightness=0, contrast=0, gamma=0)
COUNT, SIDE = 20, 32


def lesions() -> Lesions:
    pixels = np.random.default_rng(0).integers(0, 256, (COUNT, 1, SIDE, SIDE), np.uint8)
    rows = tuple(cohort_row(age_years=float(20 + place), patient_key=f"P{place}") for place in range(COUNT))
    places = np.arange(COUNT)
    return Lesions(Cohort(pixels, rows, "0" * 64, "noise"), places, places % 2 == 0)


def seen(of: TrainingConfig, epoch: int = 0, part: tuple[int, int] = (0, 1), loaders: int = 0) -> list[torch.Tensor]:
    return [images for images, _, _ in batches_of_epoch(lesions(), of, epoch, part, loaders)]


def test_without_augmentation_each_lesion_is_seen_as_it_is_with_its_age_and_label() -> None:
    of = config(batch=5).model_copy(update={"augmentation": NOTHING})
    found = [part for batch in batches_of_epoch(lesions(), of, 0) for part in zip(*batch, strict=True)]
    assert len(found) == COUNT
    for image, age, label in found:
        place = round(float(age) * of.age_sd + of.age_mean - 20)
        assert torch.equal((image * 255).round().to(torch.uint8), torch.from_numpy(lesions().cohort.pixels[place]))
        assert int(label) == (place % 2 == 0)


def test_depth_keeps_its_direction() -> None:
    """Brighter below than above, as enhancement is: no image of the default augmentation shows it the other way."""
    image = torch.linspace(0.2, 0.8, SIDE).reshape(1, SIDE, 1).expand(1, SIDE, SIDE)
    change = augmentation(Augmentation())
    torch.manual_seed(0)
    for _ in range(100):
        middle = change(image)[0, :, SIDE // 4 : -SIDE // 4]
        assert middle[SIDE // 2 :].mean() > middle[: SIDE // 2].mean()
    turned = augmentation(Augmentation(vertical_flip=1))(image)[0]
    assert turned[SIDE // 2 :].mean() < turned[: SIDE // 2].mean()


def test_calipers_are_painted_over_and_drawn_in_as_often_as_asked_and_without_that_nothing_changes() -> None:
    plain = lesions()
    over = replace(plain.cohort, painted_over=np.zeros_like(plain.cohort.pixels))
    of = config(batch=5).model_copy(update={"augmentation": NOTHING, "calipers": 0.5})

    def images(epoch: int) -> torch.Tensor:
        return torch.cat([batch[0] for batch in batches_of_epoch(replace(plain, cohort=over), of, epoch)])

    assert torch.equal(images(0), images(0))
    found = torch.cat([images(epoch) for epoch in range(20)]).flatten(1)
    is_over = (found == 0).float().mean(dim=1) > 0.5
    has_drawn = (found > 0).any(dim=1)[is_over]
    assert 0.4 < float(is_over.float().mean()) < 0.6
    assert 0.4 < float(has_drawn.float().mean()) < 0.6
    assert [
        torch.equal(one, other)
        for one, other in zip(seen(config(batch=5)), seen(config(batch=5, calipers=0)), strict=True)
    ] == [True] * 4


@pytest.mark.parametrize(
    "amount",
    [{"flip": 1}, {"rotation_degrees": 5}, {"translate": 0.1}, {"scale": 0.2}, {"brightness": 0.3}, {"contrast": 0.3},
     {"gamma": 0.3}],
)  # fmt: skip
def test_each_amount_changes_an_image_and_keeps_it_between_black_and_white(amount: dict[str, float]) -> None:
    image = torch.from_numpy(lesions().cohort.pixels[0]).float() / 255
    torch.manual_seed(1)
    changed = augmentation(NOTHING.model_copy(update=amount))(image)
    assert changed.shape == image.shape
    assert not torch.equal(changed, image)
    assert 0 <= changed.min() <= changed.max() <= 1
    assert torch.equal(augmentation(NOTHING)(image), image)


def test_an_epoch_is_the_same_again_and_no_other_epoch_or_seed_is() -> None:
    first = torch.cat(seen(config(batch=5), 3))
    assert torch.equal(first, torch.cat(seen(config(batch=5), 3)))
    assert not torch.equal(first, torch.cat(seen(config(batch=5), 4)))
    assert not torch.equal(first, torch.cat(seen(config(batch=5, seed=9), 3)))


def test_the_state_of_torchs_generator_neither_matters_nor_changes() -> None:
    torch.manual_seed(1)
    first = next(iter(seen(config(batch=5))))
    torch.manual_seed(2)
    assert torch.equal(first, next(iter(seen(config(batch=5)))))


def test_processes_share_each_batch() -> None:
    of = config(batch=6)
    whole = seen(of)
    assert [len(batch) for batch in whole] == [6, 6, 6]
    shares = [seen(of, part=(rank, 2)) for rank in (0, 1)]
    for batch, one, other in zip(whole, *shares, strict=True):
        assert torch.equal(batch[0::2], one)
        assert torch.equal(batch[1::2], other)


LOADED = """
import torch
from tests.worker.training.small import config
from tests.worker.training.test_augment import seen

of = config(batch=6)
assert all(torch.equal(one, other) for one, other in zip(seen(of), seen(of, loaders=2), strict=True))
"""


def test_loaders_change_nothing_wherever_temporary_files_are(tmp_path: Path) -> None:
    """In a process of its own: loaders are forks, and a fork of pytest's process has pytest's connections."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "TMPDIR": str(deep)}
    subprocess.run([sys.executable, "-c", LOADED], check=True, timeout=120, env=environment)
