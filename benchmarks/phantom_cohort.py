"""``python -m benchmarks.phantom_cohort``: what image and age tell together, against either alone, on phantoms.

Trains the demo's two models once a seed, with the trainer that hospitals use, and measures on the phantoms that nothing
learnt from. Each seed draws other phantoms, other starting weights and another order. It takes minutes a seed; each is
kept in the file as soon as it is there, and seeds that the file has are not trained again.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import erfc, sqrt
from pathlib import Path
from typing import Any

from benchmarks.machine import commit, machine
from benchmarks.measuring import say_on_stderr
from worker.inference.model_card import MODEL_NAMES
from worker.inference.version_folder import WEIGHTS_FILE
from worker.training.config import DEMO, TrainingConfig

OVER = {"over_image": "image alone", "over_age": "age alone", "over_without_age": "the same without age"}
"""What image and age are held against: FC2, the age, and a classifier that was trained alike and told no age."""

FIRST_SEED = 2
"""The second stage's learning rates were found on the phantoms of seed 1, so these cannot tell how good they are."""

_Z = 1.959963984540054


def config_of(seed: int, lesions: int) -> TrainingConfig:
    """The demo's configuration, with another seed and as many phantoms."""
    phantoms = DEMO.phantoms.model_copy(update={"count": lesions})
    return DEMO.model_copy(update={"seed": seed, "phantoms": phantoms})


def measured(seed: int, lesions: int) -> dict[str, Any]:
    """Train both models on a seed's phantoms; what held-out ones say of each."""
    from worker.training.cohort import phantom_cohort
    from worker.training.demo_models import config_of as config_of_model
    from worker.training.demo_models import train_both

    config = config_of(seed, lesions)
    with tempfile.TemporaryDirectory() as folder:
        cohort = phantom_cohort(config)
        made = train_both(cohort, config, Path(folder), lambda _what, _share: None)
        first = Path(folder) / MODEL_NAMES[0] / WEIGHTS_FILE
        models = {
            name: _measures(one, cohort, config_of_model(name, config, first), Path(folder) / name)
            for name, one in made.items()
        }
    return {"seed": seed, "commit": commit(), "models": models}


def _measures(made: Any, cohort: Any, config: TrainingConfig, folder: Path) -> dict[str, Any]:
    from worker.evaluation.discrimination import compare_aucs

    found, tested = made.judged.discrimination, made.judged.scored[made.judged.held_out]
    without = compare_aucs(tested.with_age, _scores_without_age(made, cohort, config, folder), tested.labels)
    return {
        "lesions": found.lesions,
        "positives": found.positives,
        "both": _auc(found.score),
        "image_only": _auc(found.image_only),
        "age_only": _auc(found.age.only),
        "over_image": _difference(found.age.over_image),
        "over_age": _difference(found.age.over_age),
        "over_without_age": _difference(without),
    }


def _scores_without_age(made: Any, cohort: Any, config: TrainingConfig, folder: Path) -> Any:
    """The scores of a classifier that was trained in the same way, on the same embeddings, and is told no age."""
    import torch

    from worker.inference.weights import load_network
    from worker.training.age_stage import fit_age
    from worker.training.cohort import labelled
    from worker.training.held_out import score
    from worker.training.labels import rule_of
    from worker.training.processes import Team
    from worker.training.start import new_network

    alone = Team(0, 1, torch.device("cpu"))
    rows = tuple(replace(row, age_years=config.age_mean) for row in cohort.rows)
    lesions = labelled(replace(cohort, rows=rows), rule_of(made.card.name, config))
    network = load_network(made.card, folder / WEIGHTS_FILE, alone.device)
    network.age.load_state_dict(new_network(config).age.state_dict())
    network.age.requires_grad_(True)
    fit_age(network, lesions, config, alone)
    return score(network, lesions.of(made.judged.held_out), config, alone).with_age


def _auc(of: Any) -> dict[str, float]:
    return {"auc": of.value, "low": of.interval.low, "high": of.interval.high}


def _difference(of: Any) -> dict[str, float]:
    return {
        "difference": of.value,
        "standard_error": (of.interval.high - of.interval.low) / (2 * _Z),
        "p_value": of.p_value,
    }


def combined(differences: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Join differences of independent cohorts by a random-effects model.

    A training from another seed gives another network, so the true differences differ too, beyond what the cohorts'
    size explains. Source: R. DerSimonian, N. Laird, Controlled Clinical Trials 7 (1986) 177. ``heterogeneity`` is
    Cochran's Q, which is about the number of cohorts less one where they differ by chance alone; ``between`` is the
    standard deviation between cohorts beyond that.
    """
    values = [one["difference"] for one in differences]
    _, weights, spread = _mean(values, [one["standard_error"] ** 2 for one in differences])
    scale = sum(weights) - sum(weight**2 for weight in weights) / sum(weights)
    between = max(0.0, (spread - len(values) + 1) / scale) if scale > 0 else 0.0
    mean, weights, _ = _mean(values, [one["standard_error"] ** 2 + between for one in differences])
    error = sum(weights) ** -0.5
    return {
        "difference": mean,
        "low": mean - _Z * error,
        "high": mean + _Z * error,
        "p_value": erfc(abs(mean) / error / sqrt(2)),
        "heterogeneity": spread,
        "between": sqrt(between),
    }


def _mean(values: Sequence[float], variances: Sequence[float]) -> tuple[float, list[float], float]:
    """The mean weighted by the inverse of the variances, the weights, and the weighted sum of squares around it."""
    weights = [1 / variance for variance in variances]
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True)) / sum(weights)
    return mean, weights, sum(weight * (value - mean) ** 2 for weight, value in zip(weights, values, strict=True))


def document(runs: Sequence[Mapping[str, Any]], lesions: int) -> dict[str, Any]:
    """What the file holds."""
    return {
        "machine": machine(),
        "lesions": lesions,
        "configuration": config_of(0, lesions).fingerprint(),
        "seeds": list(runs),
        "combined": {
            name: {over: combined([run["models"][name][over] for run in runs]) for over in OVER} for name in MODEL_NAMES
        },
    }


def as_markdown(figures: Mapping[str, Any]) -> str:
    """Write the tables for docs/models.md."""
    against = " | ".join(f"P against {what}" for what in OVER.values())
    lines = [f"| model | seed | image and age | image alone | age alone | {against} |", f"|{' --- |' * 8}"]
    for name in MODEL_NAMES:
        for run in figures["seeds"]:
            of = run["models"][name]
            aucs = [f"{of[part]['auc']:.3f} ({of[part]['low']:.3f} to {of[part]['high']:.3f})"
                    for part in ("both", "image_only", "age_only")]  # fmt: skip
            values = [_p(of[over]["p_value"]) for over in OVER]
            lines.append(f"| {' | '.join([name, str(run['seed']), *aucs, *values])} |")
    lines += ["", "| model | image and age less | difference of AUC, all seeds | P | Cochran's Q |", f"|{' --- |' * 5}"]
    for name in MODEL_NAMES:
        for over, what in OVER.items():
            of = figures["combined"][name][over]
            said = f"{of['difference']:.4f} ({of['low']:.4f} to {of['high']:.4f})"
            lines.append(f"| {name} | {what} | {said} | {_p(of['p_value'])} | {of['heterogeneity']:.1f} |")
    return "\n".join(lines) + "\n"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.01 else f"{value:.3f}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.phantom_cohort", description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help=f"how many, from {FIRST_SEED}")
    parser.add_argument("--lesions", type=int, default=DEMO.phantoms.count, help="phantoms a seed")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file that keeps the figures")
    asked = parser.parse_args(arguments)
    seeds = range(FIRST_SEED, FIRST_SEED + asked.seeds)
    runs = [run for run in _kept(asked.out, asked.lesions) if run["seed"] in seeds]
    for seed in seeds:
        if seed not in {run["seed"] for run in runs}:
            say_on_stderr(f"seed {seed}: starts")
            runs = sorted([*runs, measured(seed, asked.lesions)], key=lambda run: int(run["seed"]))
        asked.out.write_text(json.dumps(document(runs, asked.lesions), indent=1) + "\n")
    sys.stdout.write(as_markdown(document(runs, asked.lesions)))
    return 0


def _kept(path: Path, lesions: int) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    same = (found["lesions"], found["configuration"]) == (lesions, config_of(0, lesions).fingerprint())
    return list(found["seeds"]) if same else []


if __name__ == "__main__":
    sys.exit(main())
