"""An image network of `dlr train --stages image`, trained and tested on folds of real lesions.

It is what `benchmarks.real_lesions` tells of: the study's first stage (Fig. S2, through FC2), which needs no age. None
of the public sets has both enough lesions and ages.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.measuring import say_on_stderr
from worker.dataset.manifest import ManifestRow, Split
from worker.inference.version_folder import WEIGHTS_FILE
from worker.training.cohort import Cohort, CohortRow, Lesions
from worker.training.config import RANDOM, TrainingConfig

PLAIN: Mapping[str, Any] = {
    "stages": "image", "backbone": "resnet18", "input_size": 64, "init": RANDOM, "epochs": 4, "patience": None,
    "learning_rate": 1e-3, "amp": "none", "pixel_mean": (0.5, 0.5, 0.5), "pixel_std": (0.25, 0.25, 0.25),
}  # fmt: skip

START_FILE = "start.safetensors"
"""What a network learned without labels, until the fold is done."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train.

    Attributes:
        name: short.
        said: what is other than in the plain recipe.
        changes: to `PLAIN`.
        flipped: scores are the mean of those of an image and of its mirror image.
        self_supervised: so many epochs without labels come first (`benchmarks.self_supervised`).
    """

    name: str
    said: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    flipped: bool = False
    self_supervised: int = 0

    def config(self, seed: int) -> TrainingConfig:
        """The configuration of the trainer."""
        return TrainingConfig.model_validate({**PLAIN, **self.changes, "seed": seed})


@dataclass(frozen=True, slots=True)
class Image:
    """What is known of one image; ``calipers``: on the lesion or beside it."""

    patient: str
    lesion: str
    malignant: bool
    birads: str | None
    fold: int | None
    scanner: str | None
    calipers: bool


@dataclass(frozen=True, slots=True)
class RealSet:
    """A set of images, as a network takes them.

    Attributes:
        images: N.
        pixels: uint8 (N, C, S, S).
        painted_over: the same without calipers, where the recipe asks for it.
    """

    images: tuple[Image, ...]
    pixels: NDArray[np.uint8]
    painted_over: NDArray[np.uint8] | None


def read_set(manifest: Path, config: TrainingConfig, work: Path) -> RealSet:
    """Read a manifest's images as a configuration takes them; what was read is kept in ``work``."""
    wanted = (
        json.dumps([config.preprocessing, config.calipers > 0, "calipers by their shape"], default=str)
        + manifest.read_text()
    )
    kept = work / f"{manifest.stem}-{sha256(wanted.encode()).hexdigest()[:12]}.npz"
    if not kept.exists():
        images, arrays = _read(manifest, config)
        np.savez(kept, said=json.dumps(images), **arrays)
    with np.load(kept, allow_pickle=False) as found:
        images = tuple(Image(*one) for one in json.loads(str(found["said"])))
        return RealSet(images, found["pixels"], found.get("painted_over"))


def _read(manifest: Path, config: TrainingConfig) -> tuple[list[list[Any]], dict[str, NDArray[np.uint8]]]:
    from worker.dataset.manifest_file import read_manifest
    from worker.dataset.manifest_image import read_lesion
    from worker.inference.preprocess import pixels_for_each
    from worker.training.calipers import painted_over

    read = read_manifest(manifest)
    rows: Sequence[ManifestRow] = list(read.included.values())
    said, pixels, without = [], [], []
    for done, row in enumerate(rows, start=1):
        lesion = read_lesion(read.root, row)
        pixels.append(pixels_for_each(lesion.frame, lesion.region, [config.preprocessing])[0])
        if config.calipers:
            frame = painted_over(lesion.frame)
            without.append(pixels_for_each(frame, lesion.region, [config.preprocessing])[0])
        birads = None if row.birads is None else str(row.birads)
        of_lesion = [row.patient_key, row.lesion_id, row.malignant is True, birads]
        said.append([*of_lesion, row.fold, lesion.appearance.scanner_model, lesion.has_calipers])
        if done % 200 == 0:
            say_on_stderr(f"{manifest.stem}: {done} of {len(rows)} images")
    arrays = {"pixels": np.stack(pixels)} | ({"painted_over": np.stack(without)} if without else {})
    return said, arrays


Scores = dict[str, list[float]]
"""Of each image, the probability of malignancy: ``plain`` and, of its mirror image, ``flipped``."""


def trained_fold(
    home: RealSet,
    away: Sequence[RealSet],
    fold: int,
    folds: int,
    config: TrainingConfig,
    work: Path,
    *,
    keep_weights: bool = False,
    self_supervised: int = 0,
) -> tuple[dict[str, Scores], list[float]]:
    """Train on all folds but two, choose the epoch on one of these, and score the other one and other sets.

    Args:
        home: with folds from 1.
        away: sets that nothing is learned from.
        fold: that is tested on; the next one says which epoch was best.
        folds: how many there are.
        config: how.
        work: where an interrupted training goes on from.
        keep_weights: leave those of the image network there (`WEIGHTS_FILE`).
        self_supervised: so many epochs without labels come first, on the images that it is trained on.

    Returns:
        Scores of the tested fold (``home``, in the set's order) and of each other set (``away-1`` and so on), and the
        losses of the epochs.
    """
    import torch

    from worker.inference.weights import tensors_of
    from worker.training.checkpoint import Checkpoints
    from worker.training.checkpoint_files import write_tensors
    from worker.training.fit import Fitting, fit, reproducible
    from worker.training.processes import Team
    from worker.training.start import new_network

    validation = fold % folds + 1
    splits = {fold: Split.TEST, validation: Split.VALIDATION}
    lesions = _lesions(home, lambda image: splits.get(image.fold or 0, Split.TRAIN))
    alone = Team(0, 1, torch.device("cpu"))
    losses: list[float] = []
    work.mkdir(parents=True, exist_ok=True)

    def keep(progress: Any) -> None:
        losses[:] = [epoch["loss"] for epoch in progress.history]
        if progress.history:
            say_on_stderr(f"{work.name}: {progress.history[-1]}")

    with reproducible(alone.device):
        network = new_network(_started(config, self_supervised, lesions.of(Split.TRAIN), work))
        checkpoints = Checkpoints(work / "checkpoint")
        fit(network, Fitting(lesions, config, alone, checkpoints, keep, lambda _share: None))
        scored = {"home": _scored(network, lesions.of(Split.TEST), config)}
        for number, other in enumerate(away, start=1):
            scored[f"away-{number}"] = _scored(network, _lesions(other, lambda _image: Split.EXTERNAL), config)
    if keep_weights:
        write_tensors(work / WEIGHTS_FILE, tensors_of(network, whole=False))
    checkpoints.remove()
    (work / START_FILE).unlink(missing_ok=True)
    return scored, losses


def _started(config: TrainingConfig, epochs: int, train: Lesions, work: Path) -> TrainingConfig:
    """Have a training start from what is learned without labels, if that is asked for."""
    if not epochs:
        return config
    from benchmarks.self_supervised import start_of

    start = start_of(train.cohort.pixels[train.places], config, epochs, work)
    return config.model_copy(update={"init": str(start)})


def _lesions(of: RealSet, split: Callable[[Image], Split]) -> Lesions:
    rows = tuple(
        CohortRow(one.lesion, one.patient, split(one), one.malignant, None, None, one.scanner) for one in of.images
    )
    cohort = Cohort(of.pixels, rows, "", "real lesions", painted_over=of.painted_over)
    labels = np.array([one.malignant for one in of.images], np.bool_)
    return Lesions(cohort, np.arange(len(rows)), labels)


def _scored(network: Any, lesions: Lesions, config: TrainingConfig) -> Scores:
    mirrored = replace(lesions, cohort=replace(lesions.cohort, pixels=lesions.cohort.pixels[..., ::-1].copy()))
    return {"plain": _probabilities(network, lesions, config), "flipped": _probabilities(network, mirrored, config)}


def _probabilities(network: Any, lesions: Lesions, config: TrainingConfig) -> list[float]:
    import torch

    from worker.training.fit import embed, positive_probabilities
    from worker.training.processes import Team

    embeddings = embed(network, lesions, config, Team(0, 1, torch.device("cpu")))
    with torch.no_grad():
        return [round(float(one), 6) for one in positive_probabilities(network.image.fc2(embeddings))]
