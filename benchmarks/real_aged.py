"""``python -m benchmarks.real_aged``: both models on real lesions: AUC, calibration, coverage, and what age adds.

Takes a manifest with folds (BUS-BRA) and one of another set (BrEaST). The image stage of each model is trained by the
plain recipe of `benchmarks.real_lesions` on the folds. Each network's temperature and conformal set are made on the
fold that chose its epoch, and held against the fold that it is tested on, and against the other set, which is external.
The age stage is cross-validated within the other set, which alone has ages: that is internal.

Each fold of a model is kept once it is there; the same command goes on where it stopped, within a training too. In the
work folder of `benchmarks.real_lesions --serve`, DLR_BM's networks of that seed are there already.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.aged_figures import COVERAGE, OVER, figures_of, network_scores
from benchmarks.machine import commit, machine
from benchmarks.measuring import say_on_stderr
from benchmarks.real_lesions import NAMES, RECIPES, folder_of, heading, p_value, with_interval
from benchmarks.real_training import RealSet, read_set, trained_fold
from worker.dataset.manifest_file import read_manifest
from worker.inference.model_card import MODEL_NAMES, ModelName
from worker.inference.version_folder import WEIGHTS_FILE
from worker.training.labels import LabelRule, rule_of

AGES = tuple[float | None, ...]


def run(home: Path, away: Path, work: Path, out: Path | None, seed: int = 1) -> dict[str, Any]:
    """Train and score what is not there yet, and write the figures after each fold of a model.

    Args:
        home: manifest with folds.
        away: manifest of lesions, of which some have an age; no image network learns from it.
        work: keeps what is done.
        out: the JSON file of the figures.
        seed: of the trainings, and of the age stage's folds.
    """
    import torch

    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    plain = RECIPES[0].config(seed)
    sets = read_set(home, plain, work), read_set(away, plain, work)
    ages = tuple(row.age_years for row in read_manifest(away).included.values())
    folds = max(image.fold or 0 for image in sets[0].images)

    def told() -> dict[str, Any]:
        figures = {"machine": machine(), "folds": folds, "models": _models(work, seed)}
        if out is not None:
            out.write_text(json.dumps(figures, indent=1) + "\n")
        return figures

    for model in MODEL_NAMES:
        for fold in range(1, folds + 1):
            if _keep(model, seed, fold, folds, sets, ages, work):
                told()
    return told()


def _models(work: Path, seed: int) -> list[dict[str, Any]]:
    kept = {model: sorted(work.glob(_kept(model, seed, "*"))) for model in MODEL_NAMES}
    return [figures_of([json.loads(path.read_text()) for path in paths]) for paths in kept.values() if paths]


def _kept(model: ModelName, seed: int, fold: object) -> str:
    return f"aged-{model}-{fold}-seed-{seed}.json"


def _keep(
    model: ModelName, seed: int, fold: int, folds: int, sets: tuple[RealSet, RealSet], ages: AGES, work: Path
) -> bool:
    """Train and score a fold of a model, and keep its scores, unless they are kept already."""
    to = work / _kept(model, seed, fold)
    if to.exists():
        return False
    recipe = RECIPES[0] if model == "DLR_BM" else replace(RECIPES[0], name=f"{RECIPES[0].name} {model}")
    config, folder = recipe.config(seed), folder_of(work, recipe, seed, fold)
    rule = rule_of(model, config)
    (home, _), (away, ages_of_away) = labelled(sets[0], rule), labelled(sets[1], rule, ages)
    weights = folder / WEIGHTS_FILE
    if not weights.exists():
        say_on_stderr(f"{model}: the image network of fold {fold} of {folds}, seed {seed}")
        trained_fold(home, [], fold, folds, config, folder, keep_weights=True)
    say_on_stderr(f"{model}: scores, and the age stage, on the image network of fold {fold} of {folds}")
    scores = network_scores(weights, _fold(home, fold % folds + 1), _fold(home, fold), away, ages_of_away, seed)
    left_out = {
        "home": len(sets[0].images) - len(home.images),
        "away": len(sets[1].images) - len(away.images),
        "without_age": sum(age is None for age in ages_of_away),
    }
    said = {"model": model, "rule": str(rule), "seed": seed, "fold": fold, "commit": commit(), "left_out": left_out}
    to.write_text(json.dumps(said | scores))
    return True


def labelled(of: RealSet, rule: LabelRule, ages: AGES | None = None) -> tuple[RealSet, AGES]:
    """Give images a model's labels, which stand in ``malignant``; those of neither class are left out.

    Args:
        of: N images.
        rule: the model's.
        ages: of the images, N, of which the same are left out.
    """
    labels = [rule(image.birads, malignant=image.malignant) for image in of.images]  # type: ignore[arg-type]
    places = [place for place, label in enumerate(labels) if label is not None]
    part = _part(of, places)
    images = tuple(replace(one, malignant=bool(labels[place])) for one, place in zip(part.images, places, strict=True))
    return replace(part, images=images), tuple((ages or [None] * len(labels))[place] for place in places)


def _fold(of: RealSet, fold: int) -> RealSet:
    return _part(of, [place for place, image in enumerate(of.images) if image.fold == fold])


def _part(of: RealSet, places: Sequence[int]) -> RealSet:
    return RealSet(tuple(of.images[place] for place in places), of.pixels[np.array(places, np.int64)], None)


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Write the tables for docs/models.md."""
    parts = [_what_was_run(figures), _image_stage(figures), _age_stage(figures), _what_age_adds(figures)]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _what_was_run(figures: Mapping[str, Any]) -> list[str]:
    said = []
    for of in figures["models"]:
        done, left = f"{len(of['folds'])} of {figures['folds']} folds' networks", of["left_out"]
        said.append(
            f"{of['model']} (label: {of['rule']}), seed {of['seed']}: {done}. Images left out, since their category "
            f"says neither: {left['home']} of BUS-BRA, {left['away']} of BrEaST. {left['without_age']} others of "
            "BrEaST have no age."
        )
    missing = [model for model in MODEL_NAMES if model not in {of["model"] for of in figures["models"]}]
    return ["\n\n".join([*said, *(f"{model}: not run." for model in missing)])]


def _image_stage(figures: Mapping[str, Any]) -> list[str]:
    errors = ("ECE as scored", "ECE at the temperature of BUS-BRA")
    lines = heading("image stage of", "on", "lesions (positive)", "AUC", *errors, f"coverage, {COVERAGE} promised")
    for of in figures["models"]:
        for where, name in NAMES.items():
            row = of["image"][where]
            measures = (_value(row[one]) for one in ("auc", "error_as_scored", "error_calibrated", "coverage"))
            lines.append(f"| {of['model']} | {name} | {_count(row)} | {' | '.join(measures)} |")
    return lines


def _age_stage(figures: Mapping[str, Any]) -> list[str]:
    lines = heading("INTERNAL: age stage of", "on", "lesions (positive)", "image and age", *OVER.values())
    for of in figures["models"]:
        aucs = (_value(of["age"]["auc"][name]) for name in ("both", *OVER))
        where = "BrEaST, cross-validated within it"
        lines.append(f"| {of['model']} | {where} | {_count(of['age'])} | {' | '.join(aucs)} |")
    return lines


def _what_age_adds(figures: Mapping[str, Any]) -> list[str]:
    lines = heading("INTERNAL: age stage of", "AUC of image and age less that of", "difference", "P")
    for of in figures["models"]:
        for name, what in OVER.items():
            less = of["age"]["less"][name]
            lines.append(f"| {of['model']} | {what} | {_value(less)} | {p_value(less['p_value'])} |")
    return lines


def _count(of: Mapping[str, Any]) -> str:
    return f"{of['lesions']} ({of['positives']})"


def _value(of: Mapping[str, Any]) -> str:
    return with_interval(of["value"], of)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_aged", description=__doc__)
    parser.add_argument("folds", type=Path, help="manifest with folds, which the image networks learn from")
    parser.add_argument("external", type=Path, help="manifest of another set, with ages")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps what is done")
    parser.add_argument("--out", type=Path, help="the JSON file of the figures")
    parser.add_argument("--seed", type=int, default=1, help="of the trainings")
    asked = parser.parse_args(arguments)
    sys.stdout.write(as_markdown(run(asked.folds, asked.external, asked.work, asked.out, asked.seed)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
