"""``python -m benchmarks.real_lesions``: how well real lesions are told apart, and what training changes about it.

Takes a manifest with folds (BUS-BRA), which is cross-validated, and one of another set (BrEaST), on which the models of
the folds are tested that never saw it. Each fold of each recipe is kept as soon as it is there; the same command goes
on where it stopped, within a fold too. It trains in one thread, in one process, and takes hours.

A lesion's score is the mean over its images, and a patient of BUS-BRA has one lesion, so DeLong's intervals are by
patient. Recipes are held against the plain one on the same lesions, by DeLong's paired test with Holm's correction.
"""

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.machine import commit, machine
from benchmarks.measuring import say_on_stderr
from benchmarks.real_training import PLAIN, Image, RealSet, Recipe, read_set, trained_fold
from worker.evaluation.discrimination import auc, compare_aucs

RECIPES = (
    Recipe("plain", "the trainer's defaults, but ResNet-18 at 64 pixels, 4 epochs, from random weights, bfloat16"),
    Recipe("calipers", "calipers painted over and others drawn in, each with probability 0.5", {"calipers": 0.5}),
    Recipe("flips", "scores: the mean of an image and its mirror image", flipped=True),
    Recipe("margin 0", "no context around the lesion's rectangle", {"roi_margin": 0.0}),
    Recipe("margin 0.5", "twice the context around the lesion's rectangle", {"roi_margin": 0.5}),
    Recipe("stretch", "the crop is stretched to a square, instead of padded", {"resize": "stretch"}),
    Recipe("label smoothing", "a tenth of each label is given to both classes alike", {"label_smoothing": 0.1}),
    Recipe("MixUp", "images are mixed in pairs, by shares of Beta(0.2, 0.2)", {"mixup": 0.2}),
    Recipe("96 pixels", "input of 96 pixels", {"input_size": 96}),
    Recipe("128 pixels", "input of 128 pixels", {"input_size": 128}),
)
BASE = RECIPES[0].name
FEWEST_OF_A_CLASS = 10
"""A group of lesions with fewer of either class has no row."""

NAMES = {"home": "BUS-BRA, cross-validated", "away": "BrEaST, external"}


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
        found = auc(*_columns(inside))
        if found.interval is not None:
            yield {
                "group": group,
                "lesions": len(inside),
                "malignant": sum(one.malignant for one in inside),
                "auc": found.value,
                "low": found.interval.low,
                "high": found.interval.high,
            }


def _columns(lesions: Sequence[Lesion]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.array([one.score for one in lesions]), np.array([one.malignant for one in lesions])


def compared(one: Sequence[Lesion], base: Sequence[Lesion]) -> dict[str, float | None]:
    """Hold a recipe's scores against the plain one's, on the lesions that both have."""
    of = {lesion.name: lesion for lesion in one}
    both = [(of[lesion.name], lesion) for lesion in base if lesion.name in of]
    scores, labels = _columns([first for first, _ in both])
    found = compare_aucs(scores, _columns([second for _, second in both])[0], labels)
    low, high = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    return {"lesions": len(both), "difference": found.value, "low": low, "high": high, "p_value": found.p_value}


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct P values by Holm's method: the smallest times their number, the next times one less, never less."""
    order = np.argsort(p_values, kind="stable")
    corrected, least = [0.0] * len(p_values), 0.0
    for place, at in enumerate(order):
        least = min(1.0, max(least, (len(p_values) - place) * p_values[at]))
        corrected[at] = least
    return corrected


def document(runs: Mapping[str, Mapping[str, Any]], home: RealSet, away: RealSet, folds: int) -> dict[str, Any]:
    """What the file holds: rows of each recipe that was run, and how it compares with the plain one."""
    run = [recipe for recipe in RECIPES if runs.get(_network_of(recipe).name)]
    recipes = [_row(recipe, runs[_network_of(recipe).name], home, away) for recipe in run]
    for recipe, row in zip(run, recipes, strict=True):
        if recipe.name != BASE:
            row |= _against_plain(recipe, runs, home, away)
    for where in NAMES:
        held = [row["less_plain"][where] for row in recipes if row["name"] != BASE]
        values = [1.0 if one["p_value"] is None else one["p_value"] for one in held]
        for one, corrected in zip(held, holm(values), strict=True):
            one["p_holm"] = corrected
    not_run = [recipe.name for recipe in RECIPES if recipe not in run]
    described = {"recipe": {**PLAIN}, "folds": folds, "not_run": not_run}
    return {"machine": machine(), **described, "recipes": recipes}


def _row(recipe: Recipe, kept: Mapping[str, Any], home: RealSet, away: RealSet) -> dict[str, Any]:
    done = [kept[fold] for fold in sorted(kept, key=int)]
    return {
        "name": recipe.name,
        "said": recipe.said,
        "folds": len(done),
        "commits": sorted({one["commit"] for one in done}),
        "seconds": round(sum(one["seconds"] for one in done)) if not recipe.flipped else 0,
        "last_losses": [round(one["losses"][-1], 4) for one in done],
        "rows": {where: list(rows_of(those)) for where, those in _scored(recipe, kept, home, away).items()},
    }


def _against_plain(
    recipe: Recipe, runs: Mapping[str, Mapping[str, Any]], home: RealSet, away: RealSet
) -> dict[str, Any]:
    """Hold a recipe against the plain one, both by the models of the folds that were done of both."""
    own, plain = runs[_network_of(recipe).name], runs.get(BASE, {})
    both = sorted(own.keys() & plain.keys(), key=int)
    one = _scored(recipe, {fold: own[fold] for fold in both}, home, away)
    base = _scored(RECIPES[0], {fold: plain[fold] for fold in both}, home, away)
    groups = {name: [lesion for lesion in one["home"] if belongs(lesion)] for name, belongs in GROUPS.items()}
    return {
        "folds_of_both": len(both),
        "less_plain": {where: compared(one[where], base[where]) for where in NAMES},
        "less_plain_of": {
            name: compared(inside, base["home"]) for name, inside in groups.items() if _is_large_enough(inside)
        },
    }


def _is_large_enough(lesions: Sequence[Lesion]) -> bool:
    malignant = sum(one.malignant for one in lesions)
    return min(malignant, len(lesions) - malignant) >= FEWEST_OF_A_CLASS


def _network_of(recipe: Recipe) -> Recipe:
    """The recipe whose networks one scores with: its own, unless it differs in the scoring alone."""
    return RECIPES[0] if recipe.flipped else recipe


def _scored(recipe: Recipe, kept: Mapping[str, Any], home: RealSet, away: RealSet) -> dict[str, list[Lesion]]:
    def of(scores: Mapping[str, Sequence[float]]) -> NDArray[np.float64]:
        plain, flipped = np.array(scores["plain"]), np.array(scores["flipped"])
        return (plain + flipped) / 2 if recipe.flipped else plain

    tested = [
        (image, score)
        for fold, run in kept.items()
        for image, score in zip(
            (image for image in home.images if image.fold == int(fold)), of(run["scores"]["home"]), strict=True
        )
    ]
    outside = np.mean([of(run["scores"]["away-1"]) for run in kept.values()], axis=0)
    return {
        "home": lesions_of([image for image, _ in tested], [float(score) for _, score in tested]),
        "away": lesions_of(away.images, outside.tolist()),
    }


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Write the tables for docs/models.md."""
    done = ", ".join(f"{recipe['name']} {recipe['folds']} of {figures['folds']}" for recipe in figures["recipes"])
    not_run = ", ".join(figures["not_run"])
    lines = [f"Folds that are done: {done}.{f' Not run yet: {not_run}.' if not_run else ''}", ""]
    lines += ["| set | lesions | recipe | how many (malignant) | AUC |", f"|{' --- |' * 5}"]
    for where, name in NAMES.items():
        for recipe in (one for one in figures["recipes"] if one["name"] in (BASE, "calipers")):
            for row in recipe["rows"][where]:
                said = f"{row['auc']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
                count = f"{row['lesions']} ({row['malignant']})"
                lines.append(f"| {name} | {row['group']} | {recipe['name']} | {count} | {said} |")
    lines += ["", "| recipe | what is other | folds | set | AUC less the plain recipe's | P | P by Holm |"]
    lines.append(f"|{' --- |' * 7}")
    for recipe in figures["recipes"][1:]:
        for where, name in NAMES.items():
            of, folds = recipe["less_plain"][where], recipe["folds_of_both"]
            values = " | ".join(_p_value(of[each]) for each in ("p_value", "p_holm"))
            lines.append(f"| {recipe['name']} | {recipe['said']} | {folds} | {name} | {_difference(of)} | {values} |")
    lines += ["", "| recipe | BUS-BRA's lesions | how many | AUC less the plain recipe's | P |", f"|{' --- |' * 5}"]
    for recipe in (one for one in figures["recipes"][1:] if one["name"] == "calipers"):
        for group, of in recipe["less_plain_of"].items():
            values = f"{of['lesions']} | {_difference(of)} | {_p_value(of['p_value'])}"
            lines.append(f"| {recipe['name']} | {group} | {values} |")
    return "\n".join(lines) + "\n"


def _difference(of: Mapping[str, Any]) -> str:
    interval = "" if of["low"] is None else f" ({of['low']:.3f} to {of['high']:.3f})"
    return f"{of['difference']:.3f}{interval}"


def _p_value(value: float | None) -> str:
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def run(home: Path, away: Path, work: Path, recipes: Sequence[Recipe], out: Path | None) -> dict[str, Any]:
    """Train what is not there yet, one fold of each recipe after the other, and write the figures after each."""
    import time

    import torch

    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    trained = [recipe for recipe in recipes if not recipe.flipped]
    plain = RECIPES[0].config(seed=1)
    sets = read_set(home, plain, work), read_set(away, plain, work)
    folds = max(image.fold or 0 for image in sets[0].images)
    figures = document(_runs(work), *sets, folds)
    for fold in range(1, folds + 1):
        for recipe in trained:
            kept = work / f"{recipe.name.replace(' ', '-')}-{fold}"
            if (kept / "scores.json").exists():
                continue
            say_on_stderr(f"{recipe.name}: fold {fold} of {folds}")
            config, begun = recipe.config(seed=1), time.monotonic()
            own = read_set(home, config, work), read_set(away, config, work)
            scores, losses = trained_fold(own[0], own[1:], fold, folds, config, kept)
            seconds = round(time.monotonic() - begun)
            told = {"recipe": recipe.name, "fold": fold, "commit": commit(), "seconds": seconds}
            (kept / "scores.json").write_text(json.dumps({**told, "losses": losses, "scores": scores}))
            figures = document(_runs(work), *sets, folds)
            if out is not None:
                out.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def _runs(work: Path) -> dict[str, dict[str, Any]]:
    """What is kept, by recipe and fold."""
    found: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for path in sorted(work.glob("*/scores.json")):
        one = json.loads(path.read_text())
        found[one["recipe"]][str(one["fold"])] = one
    return dict(found)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_lesions", description=__doc__)
    parser.add_argument("folds", type=Path, help="manifest with folds, which is cross-validated")
    parser.add_argument("external", type=Path, help="manifest that nothing is learned from")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps what is done")
    parser.add_argument("--out", type=Path, help="the JSON file of the figures")
    names = [recipe.name for recipe in RECIPES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="RECIPE", help=", ".join(names))
    asked = parser.parse_args(arguments)
    recipes = [recipe for recipe in RECIPES if recipe.name in asked.only]
    figures = run(asked.folds, asked.external, asked.work, recipes, asked.out)
    if asked.out is not None:
        asked.out.write_text(json.dumps(figures, indent=1) + "\n")
    sys.stdout.write(as_markdown(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
