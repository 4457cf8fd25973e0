"""``python -m benchmarks.real_lesions``: how well real lesions are told apart, and what training changes about it.

Takes a manifest with folds (BUS-BRA), which is cross-validated, and one of another set (BrEaST), on which the models of
the folds are tested that never saw it. Each fold of each recipe is kept as soon as it is there; the same command goes
on where it stopped, within a fold too. It trains in one thread, in one process, and takes hours.

Recipes are held against the plain one on the same lesions of the first set, by DeLong's paired test with Holm's
correction. Those that gain there, three at most, are chosen, and held against it once on the other set.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine
from benchmarks.measuring import say_on_stderr
from benchmarks.real_figures import SHOWN, OfSeed, figures_of
from benchmarks.real_training import PLAIN, Recipe, read_set, trained_fold
from benchmarks.served_folds import served
from worker.inference.version_folder import WEIGHTS_FILE

RECIPES = (
    Recipe("plain", "the trainer's defaults, but ResNet-18 at 64 pixels, 4 epochs, from random weights"),
    Recipe("calipers", "calipers painted over and others drawn in, each with probability 0.5", {"calipers": 0.5}),
    Recipe("flips", "scores: the mean of an image and its mirror image", flipped=True),
    Recipe("margin 0", "no context around the lesion's rectangle", {"roi_margin": 0.0}),
    Recipe("margin 0.5", "twice the context around the lesion's rectangle", {"roi_margin": 0.5}),
    Recipe("stretch", "the crop is stretched to a square, instead of padded", {"resize": "stretch"}),
    Recipe("label smoothing", "a tenth of each label is given to both classes alike", {"label_smoothing": 0.1}),
    Recipe("MixUp", "images are mixed in pairs, by shares of Beta(0.2, 0.2)", {"mixup": 0.2}),
    Recipe("96 pixels", "input of 96 pixels", {"input_size": 96}),
    Recipe("128 pixels", "input of 128 pixels", {"input_size": 128}),
    Recipe("longer", "12 epochs", {"epochs": 12}),
    Recipe("longer with MixUp", "12 epochs, and MixUp", {"epochs": 12, "mixup": 0.2}),
    Recipe("longer at 128 pixels", "12 epochs, and input of 128 pixels", {"epochs": 12, "input_size": 128}),
    Recipe("self-supervised start", "starts from 20 epochs of SimCLR on the same images", self_supervised=20),
)
NAMES = {"home": "BUS-BRA, cross-validated", "away": "BrEaST, external"}


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Write the tables for docs/models.md."""
    parts = [_what_was_run(figures), _by_group(figures), _screening(figures), _confirmation(figures)]
    parts += [_by_seed(figures), _ensembles(figures), _served(figures), _calipers(figures)]
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _what_was_run(figures: Mapping[str, Any]) -> list[str]:
    done = "; ".join(
        f"{recipe['name']} {', '.join(str(seed['folds']) for seed in recipe['seeds'])}" for recipe in figures["recipes"]
    )
    not_run = ", ".join(figures["not_run"])
    precision = "float32" if figures["recipe"]["amp"] == "none" else figures["recipe"]["amp"]
    said = f"In {precision}. Folds of {figures['folds']} that are done, of each seed: {done}."
    return [f"{said} Not run: {not_run}." if not_run else said]


def _by_group(figures: Mapping[str, Any]) -> list[str]:
    lines = heading("set", "lesions", "recipe", "how many (malignant)", "AUC")
    for where, name in NAMES.items():
        for recipe in (one for one in figures["recipes"] if one["name"] in (*SHOWN, *figures["chosen"])):
            for row in recipe["rows"][where]:
                count = f"{row['lesions']} ({row['malignant']})"
                lines.append(f"| {name} | {row['group']} | {recipe['name']} | {count} | {_auc(row)} |")
    return lines


def _screening(figures: Mapping[str, Any]) -> list[str]:
    less = "AUC less the plain recipe's"
    lines = heading("recipe, on BUS-BRA", "what is other", "folds", "seeds", less, "P", "P by Holm", "chosen")
    for recipe in figures["recipes"][1:]:
        counts = f"{recipe['folds_of_both']} | {recipe['seeds_of_both']}"
        chosen = "yes" if recipe["name"] in figures["chosen"] else "no"
        lines.append(f"| {recipe['name']} | {recipe['said']} | {counts} | {_tested(recipe['less_plain'])} | {chosen} |")
    return lines


def _confirmation(figures: Mapping[str, Any]) -> list[str]:
    if not figures["confirmed"]:
        return ["No recipe was chosen, so none is held against the plain one on BrEaST."]
    lines = heading("recipe, on BrEaST", "lesions", "AUC less the plain recipe's", "P", "P by Holm")
    for one in figures["confirmed"]:
        lines.append(f"| {one['name']} | {one['less_plain']['lesions']} | {_tested(one['less_plain'])} |")
    return lines


def _by_seed(figures: Mapping[str, Any]) -> list[str]:
    lines = heading("recipe", "seed", "folds", *(f"AUC, {name}" for name in NAMES.values()))
    for recipe in (one for one in figures["recipes"] if len(one["seeds"]) > 1):
        for one in recipe["seeds"]:
            away = f"{one['away']:.3f}" if one["away"] is not None else "not looked at"
            lines.append(f"| {recipe['name']} | {one['seed']} | {one['folds']} | {one['home']:.3f} | {away} |")
    return lines if len(lines) > 2 else []


def _ensembles(figures: Mapping[str, Any]) -> list[str]:
    lines = heading("ensemble", "set", "each alone, AUC", "together", "together less the mean of each", "P")
    for one in figures["ensembles"]:
        alone = ", ".join(f"{value:.3f}" for value in one["alone"])
        less = f"{_difference(one['less_alone'])} | {p_value(one['less_alone']['p_value'])}"
        lines.append(f"| {one['of']} | {NAMES[one['set']]} | {alone} | {one['together']:.3f} | {less} |")
    return lines if figures["ensembles"] else []


def _served(figures: Mapping[str, Any]) -> list[str]:
    lines = heading(f"on {NAMES['away']}", "AUC", "AUC of the version less it", "P", "P by Holm")
    for of in figures.get("served", ()):
        name = f"the version of {len(of['members'])} folds' networks, seed {of['seed']} (commit {of['commit']})"
        than = of["less_alone"]
        against = f"{_difference(than)}, than the mean of theirs | {p_value(than['p_value'])}"
        lines.append(f"| {name} | {_auc(of['together'])} | {against} | |")
        for one in of["members"]:
            lines.append(f"| fold {one['fold']}'s network alone | {_auc(one)} | {_tested(one['less'])} |")
    return lines if len(lines) > 2 else []


def _auc(of: Mapping[str, Any]) -> str:
    return with_interval(of["auc"], of)


def _calipers(figures: Mapping[str, Any]) -> list[str]:
    lines = heading("recipe", "BUS-BRA's lesions", "how many", "AUC less the plain recipe's", "P")
    for recipe in (one for one in figures["recipes"][1:] if one["name"] in ("calipers", *figures["chosen"])):
        for group, of in recipe["less_plain_of"].items():
            values = f"{of['lesions']} | {_difference(of)} | {p_value(of['p_value'])}"
            lines.append(f"| {recipe['name']} | {group} | {values} |")
    return lines if len(lines) > 2 else []


def heading(*names: str) -> list[str]:
    """Begin a table in Markdown."""
    return [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]


def with_interval(value: float, of: Mapping[str, Any]) -> str:
    """Write a value and, where there is one, its interval (``low``, ``high``)."""
    interval = "" if of["low"] is None else f" ({of['low']:.3f} to {of['high']:.3f})"
    return f"{value:.3f}{interval}"


def p_value(value: float | None) -> str:
    """Write a P value; nothing where there is none."""
    if value is None:
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _tested(of: Mapping[str, Any]) -> str:
    return f"{_difference(of)} | {p_value(of['p_value'])} | {p_value(of['p_holm'])}"


def _difference(of: Mapping[str, Any]) -> str:
    return with_interval(of["difference"], of)


def run(
    home: Path,
    away: Path,
    work: Path,
    recipes: Sequence[Recipe],
    out: Path | None,
    seeds: Sequence[int] = (1,),
    *,
    serve: bool = False,
    bfloat16: bool = False,
) -> dict[str, Any]:
    """Train what is not there yet: of each seed, one fold of each recipe after the other; write the figures after each.

    Args:
        home: manifest with folds.
        away: manifest that nothing is learned from.
        work: keeps what is done.
        recipes: which are trained; the figures are of all that are kept.
        out: the JSON file of the figures.
        seeds: of the trainings.
        serve: keep the weights of the plain recipe, and make one version of its folds' for each of the seeds. A fold
            without weights is trained again.
        bfloat16: train in that, and not in float32; ``work`` keeps one of the two.
    """
    import torch

    torch.set_num_threads(1)
    work.mkdir(parents=True, exist_ok=True)
    _require_one_precision(work, bfloat16=bfloat16)
    precision = {"amp": "bfloat16"} if bfloat16 else {}
    plain = RECIPES[0].config(seed=1)
    sets = read_set(home, plain, work), read_set(away, plain, work)
    folds = max(image.fold or 0 for image in sets[0].images)

    def told() -> dict[str, Any]:
        figures = {"machine": machine(), "recipe": {**PLAIN, **precision}, "folds": folds}
        figures |= figures_of(RECIPES, _runs(work), *sets, folds)
        figures["served"] = [json.loads(path.read_text()) for path in sorted(work.glob(_served_file("*")))]
        if out is not None:
            out.write_text(json.dumps(figures, indent=1) + "\n")
        return figures

    for seed in seeds:
        for fold in range(1, folds + 1):
            for recipe in (recipe for recipe in recipes if not recipe.flipped):
                keep = serve and recipe is RECIPES[0]
                asked = replace(recipe, changes={**recipe.changes, **precision})
                if _train(asked, seed, fold, folds, (home, away), work, keep_weights=keep):
                    told()
        if serve:
            _serve(RECIPES[0], seed, folds, away, work)
    return told()


def _serve(recipe: Recipe, seed: int, folds: int, away: Path, work: Path) -> None:
    """Measure the folds' networks as one version, once all are there, unless that is kept already."""
    weights = {fold: folder_of(work, recipe, seed, fold) / WEIGHTS_FILE for fold in range(1, folds + 1)}
    kept = work / _served_file(seed)
    if not kept.exists() and all(path.exists() for path in weights.values()):
        say_on_stderr(f"{recipe.name}: its {folds} folds as one version, seed {seed}")
        kept.write_text(json.dumps(served(recipe, seed, weights, away, work / "served")))


def _served_file(seed: object) -> str:
    return f"served-{seed}.json"


def folder_of(work: Path, recipe: Recipe, seed: int, fold: int) -> Path:
    suffix = "" if seed == 1 else f"-seed-{seed}"
    return work / f"{recipe.name.replace(' ', '-')}-{fold}{suffix}"


def _train(
    recipe: Recipe, seed: int, fold: int, folds: int, manifests: tuple[Path, Path], work: Path, *, keep_weights: bool
) -> bool:
    """Train and keep a fold, unless it is kept already."""
    import time

    kept = folder_of(work, recipe, seed, fold)
    if (kept / "scores.json").exists() and (not keep_weights or (kept / WEIGHTS_FILE).exists()):
        return False
    say_on_stderr(f"{recipe.name}: fold {fold} of {folds}, seed {seed}")
    config, begun = recipe.config(seed), time.monotonic()
    own, other = (read_set(manifest, config, work) for manifest in manifests)
    scores, losses = trained_fold(
        own, [other], fold, folds, config, kept, keep_weights=keep_weights, self_supervised=recipe.self_supervised
    )
    seconds = round(time.monotonic() - begun)
    told = {
        "recipe": recipe.name,
        "seed": seed,
        "fold": fold,
        "amp": config.amp,
        "commit": commit(),
        "seconds": seconds,
    }
    (kept / "scores.json").write_text(json.dumps({**told, "losses": losses, "scores": scores}))
    return True


def _require_one_precision(work: Path, *, bfloat16: bool) -> None:
    kept = {json.loads(path.read_text()).get("amp") for path in work.glob("*/scores.json")}
    if kept & {"none" if bfloat16 else "bfloat16"}:
        sys.exit("--work has folds that were trained in another precision: give another folder")


def _runs(work: Path) -> dict[str, dict[int, OfSeed]]:
    """What is kept, by recipe, seed and fold; what was kept before there were seeds is of the first."""
    found: defaultdict[str, defaultdict[int, dict[int, Any]]] = defaultdict(lambda: defaultdict(dict))
    for path in sorted(work.glob("*/scores.json")):
        one = json.loads(path.read_text())
        found[one["recipe"]][one.get("seed", 1)][one["fold"]] = one
    return {name: dict(seeds) for name, seeds in found.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_lesions", description=__doc__)
    parser.add_argument("folds", type=Path, help="manifest with folds, which is cross-validated")
    parser.add_argument("external", type=Path, help="manifest that nothing is learned from")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps what is done")
    parser.add_argument("--out", type=Path, help="the JSON file of the figures")
    names = [recipe.name for recipe in RECIPES]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="RECIPE", help=", ".join(names))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1], metavar="SEED", help="of the trainings")
    parser.add_argument(
        "--serve", action="store_true", help="keep the plain recipe's weights, and measure its folds as one version"
    )
    parser.add_argument(
        "--bfloat16", action="store_true", help="in place of float32; fast on a processor with AMX alone"
    )
    asked = parser.parse_args(arguments)
    recipes = [recipe for recipe in RECIPES if recipe.name in asked.only]
    figures = run(
        asked.folds, asked.external, asked.work, recipes, asked.out, asked.seeds, serve=asked.serve,
        bfloat16=asked.bfloat16,
    )  # fmt: skip
    sys.stdout.write(as_markdown(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
