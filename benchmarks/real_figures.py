"""What is told of recipes that were trained on folds of real lesions: AUCs, differences, what was chosen and confirmed.

A lesion's score is the mean over its images. DeLong's method is by lesion, and a patient of BUS-BRA and of BrEaST has
one, so intervals and P values are by patient. Where a recipe has several seeds, the mean of their AUCs is compared, on
the same lesions: DeLong's covariance is of all scores at once, and a mean of AUCs is a sum of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.real_training import Image, RealSet, Recipe
from worker.clinical.proportions import CONFIDENCE
from worker.evaluation.discrimination import auc, delong

FEWEST_OF_A_CLASS = 10
"""A group of lesions with fewer of either class has no row."""

SHOWN = ("plain", "calipers")
"""Recipes whose AUCs are told by groups, and on the other set, besides those of the chosen ones."""

CHOSEN_AT_MOST = 3
SIGNIFICANT = 0.05
"""Of P values after Holm's correction: a recipe below it that gains on BUS-BRA is chosen, and confirmed on BrEaST."""

_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)

OfSeed = Mapping[int, Mapping[str, Any]]
"""What is kept of each fold."""

Runs = Mapping[str, Mapping[int, OfSeed]]
"""By recipe and seed."""


@dataclass(frozen=True, slots=True)
class Lesion:
    """A lesion with its score, the mean over its images, and what is known of these together."""

    name: tuple[str, str]
    malignant: bool
    score: float
    views: int
    calipers: bool
    scanner: str | None


def lesions_of(images: Sequence[Image], scores: Sequence[float]) -> list[Lesion]:
    """Put the images of each lesion together; a lesion has calipers if one of its images has."""
    together: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        together[image.patient, image.lesion].append(place)
    return [
        Lesion(
            name,
            images[places[0]].malignant,
            float(np.mean([scores[place] for place in places])),
            len(places),
            any(images[place].calipers for place in places),
            images[places[0]].scanner,
        )
        for name, places in together.items()
    ]


GROUPS: Mapping[str, Callable[[Lesion], bool]] = {
    "all": lambda _one: True,
    "with calipers": lambda one: one.calipers,
    "without calipers": lambda one: not one.calipers,
    "one image": lambda one: one.views == 1,
    "several images": lambda one: one.views > 1,
}


def rows_of(lesions: Sequence[Lesion]) -> Iterator[dict[str, Any]]:
    """Give the AUC of all lesions and of each part of them that is large enough, with DeLong's interval."""
    scanners = [name for name, _ in Counter(one.scanner for one in lesions).most_common() if name]
    groups = {**GROUPS, **{name: (lambda one, name=name: one.scanner == name) for name in scanners}}  # type: ignore[misc]
    for group, belongs in groups.items():
        inside = [one for one in lesions if belongs(one)]
        if (group != "all" and len(inside) == len(lesions)) or not _is_large_enough(inside):
            continue
        found = auc_of(inside)
        if found["low"] is not None:
            yield {"group": group, **found}


def auc_of(lesions: Sequence[Lesion]) -> dict[str, Any]:
    """Return how many lesions there are, and their AUC with DeLong's interval."""
    found = auc(*_columns(lesions))
    return {
        "lesions": len(lesions),
        "malignant": sum(one.malignant for one in lesions),
        "auc": found.value,
        "low": None if found.interval is None else found.interval.low,
        "high": None if found.interval is None else found.interval.high,
    }


def _columns(lesions: Sequence[Lesion]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.array([one.score for one in lesions]), np.array([one.malignant for one in lesions])


def _is_large_enough(lesions: Sequence[Lesion]) -> bool:
    malignant = sum(one.malignant for one in lesions)
    return min(malignant, len(lesions) - malignant) >= FEWEST_OF_A_CLASS


def compared(those: Sequence[Sequence[Lesion]], others: Sequence[Sequence[Lesion]]) -> dict[str, float | None]:
    """Hold the mean AUC of some scores against that of others, on the lesions that all have: DeLong's paired test."""
    tables = [{lesion.name: lesion for lesion in table} for table in (*those, *others)]
    names = [name for name in tables[0] if all(name in table for table in tables)]
    labels = np.array([tables[0][name].malignant for name in names], np.bool_)
    values, covariance = delong([np.array([table[name].score for name in names]) for table in tables], labels)
    weights = np.array([1 / len(those)] * len(those) + [-1 / len(others)] * len(others))
    difference, variance = float(weights @ values), float(weights @ covariance @ weights)
    if variance < 1e-18:
        return {"lesions": len(names), "difference": difference, "low": None, "high": None, "p_value": None}
    error = sqrt(variance)
    return {
        "lesions": len(names),
        "difference": difference,
        "low": difference - _Z * error,
        "high": difference + _Z * error,
        "p_value": erfc(abs(difference) / error / sqrt(2)),
    }


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct P values by Holm's method: the smallest times their number, the next times one less, never less."""
    order = np.argsort(p_values, kind="stable")
    corrected, least = [0.0] * len(p_values), 0.0
    for place, at in enumerate(order):
        least = min(1.0, max(least, (len(p_values) - place) * p_values[at]))
        corrected[at] = least
    return corrected


def figures_of(recipes: Sequence[Recipe], runs: Runs, home: RealSet, away: RealSet, folds: int) -> dict[str, Any]:
    """Tell of each recipe that was run, what was chosen by the home set alone, and how that did on the other set.

    Args:
        recipes: the first is the plain one.
        runs: what is kept.
        home: the set with folds.
        away: the set that nothing was learned from.
        folds: how many there are.
    """
    plain = recipes[0]
    told = _Told(plain, runs, home, away)
    run = [recipe for recipe in recipes if told.pairs(recipe)]
    held = [told.row(recipe) | told.against_plain(recipe) for recipe in run if recipe is not plain]
    correct([row["less_plain"] for row in held])
    chosen = sorted(
        (row for row in held if row["folds_of_both"] == folds and _gains(row["less_plain"])),
        key=lambda row: -float(row["less_plain"]["difference"]),
    )[:CHOSEN_AT_MOST]
    confirmed = [
        {"name": recipe.name, "less_plain": told.confirmation(recipe)}
        for recipe in run
        if recipe.name in {row["name"] for row in chosen}
    ]
    correct([one["less_plain"] for one in confirmed])
    for row in held:
        if row["name"] not in {*SHOWN, *(one["name"] for one in chosen)}:
            _keep_to_home(row)
    return {
        "recipes": [*(told.row(recipe) for recipe in run if recipe is plain), *held],
        "not_run": [recipe.name for recipe in recipes if recipe not in run],
        "chosen": [row["name"] for row in chosen],
        "confirmed": confirmed,
        "ensembles": list(told.ensembles(folds)),
    }


def correct(held: Sequence[dict[str, Any]]) -> None:
    """Add to comparisons their P values after Holm's correction over all of them (``p_holm``)."""
    values = [1.0 if one["p_value"] is None else one["p_value"] for one in held]
    for one, corrected in zip(held, holm(values), strict=True):
        one["p_holm"] = corrected


def _keep_to_home(row: dict[str, Any]) -> None:
    """What was not chosen is not looked at on the other set."""
    row["rows"]["away"] = []
    for seed in row["seeds"]:
        seed["away"] = None


def _gains(of: Mapping[str, Any]) -> bool:
    return bool(of["difference"] > 0 and of["p_holm"] < SIGNIFICANT)


@dataclass(frozen=True, slots=True)
class _Told:
    plain: Recipe
    runs: Runs
    home: RealSet
    away: RealSet

    def networks_of(self, recipe: Recipe) -> Mapping[int, OfSeed]:
        """By seed and fold; a recipe that differs in the scoring alone has the plain one's."""
        return self.runs.get(self.plain.name if recipe.flipped else recipe.name, {})

    def row(self, recipe: Recipe) -> dict[str, Any]:
        """AUCs of the first seed, and what was trained at all."""
        seeds = self.networks_of(recipe)
        first = seeds[min(seeds)]
        done = [run for of_seed in seeds.values() for run in of_seed.values()]
        return {
            "name": recipe.name,
            "said": recipe.said,
            "folds": len(first),
            "commits": sorted({one["commit"] for one in done}),
            "seconds": 0 if recipe.flipped else round(sum(one["seconds"] for one in done)),
            "last_losses": [round(first[fold]["losses"][-1], 4) for fold in sorted(first)],
            "rows": {
                "home": list(rows_of(self.at_home(recipe, first))),
                "away": list(rows_of(self.away_from_home(recipe, first))),
            },
            "seeds": [
                {
                    "seed": seed,
                    "folds": len(of_seed),
                    "home": auc(*_columns(self.at_home(recipe, of_seed))).value,
                    "away": auc(*_columns(self.away_from_home(recipe, of_seed))).value,
                }
                for seed, of_seed in sorted(seeds.items())
            ],
        }

    def against_plain(self, recipe: Recipe) -> dict[str, Any]:
        """Hold a recipe against the plain one at home, by the models of the seeds and folds that were done of both."""
        pairs = self.pairs(recipe)
        those = [self.at_home(recipe, own) for own, _ in pairs]
        others = [self.at_home(self.plain, base) for _, base in pairs]
        groups = {
            name: [[lesion for lesion in one if belongs(lesion)] for one in those] for name, belongs in GROUPS.items()
        }
        return {
            "folds_of_both": len(pairs[0][0]),
            "seeds_of_both": len(pairs),
            "less_plain": compared(those, others),
            "less_plain_of": {
                name: compared(inside, others) for name, inside in groups.items() if _is_large_enough(inside[0])
            },
        }

    def confirmation(self, recipe: Recipe) -> dict[str, Any]:
        """Hold a recipe against the plain one on the other set, where a score is the mean over the folds' models."""
        pairs = self.pairs(recipe)
        return compared(
            [self.away_from_home(recipe, own) for own, _ in pairs],
            [self.away_from_home(self.plain, base) for _, base in pairs],
        )

    def pairs(self, recipe: Recipe) -> list[tuple[OfSeed, OfSeed]]:
        """Its networks and the plain ones by fold: of the first seed, and of each other with as many folds of both."""
        own, plain = self.networks_of(recipe), self.networks_of(self.plain)
        pairs: list[tuple[OfSeed, OfSeed]] = []
        for seed in sorted(own.keys() & plain.keys()):
            both = own[seed].keys() & plain[seed].keys()
            if both and (not pairs or both >= pairs[0][0].keys()):
                pairs.append(({fold: own[seed][fold] for fold in both}, {fold: plain[seed][fold] for fold in both}))
        return pairs

    def ensembles(self, folds: int) -> Iterator[dict[str, Any]]:
        """Hold mean scores, of several plain networks or images, against the mean AUC of each of them by itself."""
        seeds = {seed: of for seed, of in sorted(self.networks_of(self.plain).items()) if len(of) == folds}
        if not seeds:
            return
        first = seeds[min(seeds)]
        alone = [self.away_from_home(self.plain, {fold: first[fold]}) for fold in sorted(first)]
        yield _ensemble("of the folds' networks", "away", alone, self.away_from_home(self.plain, first))
        several = [lesion for lesion in self.at_home(self.plain, first) if lesion.views > 1]
        yield _ensemble("of a lesion's images", "home", _single_images(*self._tested(self.plain, first)), several)
        if len(seeds) > 1:
            at_home = [self.at_home(self.plain, of) for of in seeds.values()]
            yield _ensemble("of the seeds' networks", "home", at_home, _mean_of(at_home))

    def at_home(self, recipe: Recipe, of_seed: OfSeed) -> list[Lesion]:
        return lesions_of(*self._tested(recipe, of_seed))

    def _tested(self, recipe: Recipe, of_seed: OfSeed) -> tuple[list[Image], list[float]]:
        """The images of the folds, with the score by the network that saw none of them."""
        tested = [
            (image, score)
            for fold, run in sorted(of_seed.items())
            for image, score in zip(
                (image for image in self.home.images if image.fold == fold),
                _scores(recipe, run["scores"]["home"]),
                strict=True,
            )
        ]
        return [image for image, _ in tested], [float(score) for _, score in tested]

    def away_from_home(self, recipe: Recipe, of_seed: OfSeed) -> list[Lesion]:
        scores = np.mean([_scores(recipe, run["scores"]["away-1"]) for run in of_seed.values()], axis=0)
        return lesions_of(self.away.images, scores.tolist())


def _scores(recipe: Recipe, of: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
    plain, flipped = np.array(of["plain"]), np.array(of["flipped"])
    return (plain + flipped) / 2 if recipe.flipped else plain


def _single_images(images: Sequence[Image], scores: Sequence[float]) -> list[list[Lesion]]:
    """The lesions with several images, scored by the first of them alone, and by the last alone."""
    together: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, image in enumerate(images):
        together[image.patient, image.lesion].append(place)
    several = [places for places in together.values() if len(places) > 1]
    return [
        lesions_of([images[places[end]] for places in several], [scores[places[end]] for places in several])
        for end in (0, -1)
    ]


def _mean_of(tables: Sequence[Sequence[Lesion]]) -> list[Lesion]:
    scores = np.mean([[one.score for one in table] for table in tables], axis=0)
    return [
        Lesion(one.name, one.malignant, float(score), one.views, one.calipers, one.scanner)
        for one, score in zip(tables[0], scores, strict=True)
    ]


def _ensemble(of: str, where: str, alone: Sequence[Sequence[Lesion]], together: Sequence[Lesion]) -> dict[str, Any]:
    return {
        "of": of,
        "set": where,
        "alone": [auc(*_columns(one)).value for one in alone],
        "together": auc(*_columns(together)).value,
        "less_alone": compared([together], alone),
    }
