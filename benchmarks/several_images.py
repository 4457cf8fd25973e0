"""``python -m benchmarks.several_images``: what a lesion's score gains from all its images, on a manifest.

Takes pairs of a manifest with splits and a folder that `dlr train` wrote from it, each with other held-out lesions (the
parts of a cross-validation, say). Each lesion of the split ``test`` that is on several images is scored by its first
image alone, by its last alone, and by all of them, put together in each way that a card may say.

An AUC is the mean over the parts, since scores of several models are not on one scale. Intervals are by the bootstrap
over patients within each part, and so are those of the differences from the mean of the images.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.measuring import say_on_stderr
from worker.clinical.aggregation import AGGREGATIONS, aggregate, spread, views_disagree
from worker.clinical.proportions import proportion

WAYS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "first image alone": lambda scores: scores[0],
    "last image alone": lambda scores: scores[-1],
    **{method: lambda scores, method=method: aggregate(method, scores) for method in AGGREGATIONS},  # type: ignore[misc]
}
BASE = "mean"
RESAMPLES = 2000
_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True, slots=True)
class Seen:
    """A held-out lesion on several images: whose it is, what it was, and the score of each image, 0 to 1."""

    patient: str
    malignant: bool
    scores: tuple[float, ...]


def compared(parts: Sequence[Sequence[Seen]], resamples: int = RESAMPLES, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Measure each way to score a lesion: AUC and Brier score, each with its interval and its difference from the mean.

    Args:
        parts: lesions that one model scored, of both classes each.
        resamples: of the bootstrap.
        seed: of its draws.
    """
    labels = [np.array([one.malignant for one in part]) for part in parts]
    scores = {way: [np.array([of(one.scores) for one in part]) for part in parts] for way, of in WAYS.items()}
    everything = [np.arange(len(part)) for part in parts]
    at_hand = {way: _measures(labels, scores[way], everything) for way in WAYS}
    drawn = [
        {way: _measures(labels, scores[way], places) for way in WAYS}
        for places in _draws(parts, labels, resamples, seed)
    ]
    return {
        way: {
            name: {
                "value": at_hand[way][name],
                "interval": _interval([draw[way][name] for draw in drawn]),
                "less_mean": at_hand[way][name] - at_hand[BASE][name],
                "less_mean_interval": _interval([draw[way][name] - draw[BASE][name] for draw in drawn]),
            }
            for name in at_hand[way]
        }
        for way in WAYS
    }


def _measures(
    labels: Sequence[NDArray[np.bool_]], scores: Sequence[NDArray[np.float64]], places: Sequence[NDArray[np.intp]]
) -> dict[str, float]:
    taken = [(of[at], said[at]) for of, said, at in zip(labels, scores, places, strict=True)]
    squares = np.concatenate([(of - said) ** 2 for of, said in taken])
    return {"auc": float(np.mean([roc_auc_score(*one) for one in taken])), "brier": float(squares.mean())}


def _draws(
    parts: Sequence[Sequence[Seen]], labels: Sequence[NDArray[np.bool_]], resamples: int, seed: int
) -> Iterator[list[NDArray[np.intp]]]:
    rng = np.random.default_rng(seed)
    patients = [np.unique([one.patient for one in part], return_inverse=True)[1] for part in parts]
    for _ in range(resamples):
        yield [_draw(of, label, rng) for of, label in zip(patients, labels, strict=True)]


def _draw(patients: NDArray[np.intp], labels: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
    """Draw patients with all their lesions, again until both classes are there."""
    while True:
        count = int(patients.max()) + 1
        times = np.bincount(rng.integers(count, size=count), minlength=count)[patients]
        places = np.repeat(np.arange(len(patients)), times)
        if 0 < labels[places].sum() < len(places):
            return places


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.percentile(values, _PERCENTILES)
    return float(low), float(high)


def _seen(manifest: Path, folder: Path) -> tuple[list[Seen], float]:
    """The lesions of a manifest's split ``test`` that are on several images, and the card's threshold."""
    import torch

    from worker.dataset.manifest import Split
    from worker.dataset.manifest_file import read_manifest
    from worker.inference.entry import Entry
    from worker.inference.lesion_score import ImageProbabilities
    from worker.inference.model_card import load_card
    from worker.inference.single_model import SingleModel
    from worker.training.manifest_rows import Reading

    torch.set_num_threads(1)
    card = load_card(folder / "card.json")
    model = SingleModel(Entry(card, active=False, folder=folder), torch.device("cpu"))
    say_on_stderr(f"scores {manifest} with {folder}")
    reading = Reading(read_manifest(manifest, None), Split.TEST)
    lesions = [
        Seen(
            str(lesion.rows[0].patient_key),
            lesion.rows[0].malignant is True,
            tuple(
                said[card.positive_index]
                for said in ImageProbabilities.of(
                    card, np.stack([model.logits(image) for image in lesion.images])
                ).alone
            ),
        )
        for lesion in reading.lesions(lambda _done, _total: None)
        if len(lesion.images) > 1
    ]
    return lesions, card.threshold


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.several_images", description=__doc__)
    parser.add_argument("pairs", nargs="+", metavar="MANIFEST FOLDER", type=Path)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if len(asked.pairs) % 2:
        parser.error("give a folder for each manifest")
    parts = [_seen(*pair) for pair in zip(asked.pairs[::2], asked.pairs[1::2], strict=True)]
    lesions = [(one, threshold) for part, threshold in parts for one in part]
    disagree = proportion(sum(views_disagree(one.scores, at) for one, at in lesions), len(lesions))
    json.dump(
        {
            "lesions": len(lesions),
            "malignant": sum(one.malignant for one, _ in lesions),
            "images": sum(len(one.scores) for one, _ in lesions),
            "views_disagree": {
                "count": disagree.count,
                "rate": disagree.rate,
                "interval": (disagree.low, disagree.high),
            },
            "mean_spread": float(np.mean([spread(one.scores) for one, _ in lesions])),
            "ways": compared([part for part, _ in parts], asked.resamples, asked.seed),
        },
        sys.stdout,
        indent=2,
    )


if __name__ == "__main__":
    main()
