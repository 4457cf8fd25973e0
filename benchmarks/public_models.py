"""``python -m benchmarks.public_models SETS OUT``: both models from public sets as they were downloaded, and reports.

SETS holds ``BUSBRA`` (BUS-BRA) and ``breast`` (BrEaST: its workbook, and its images below). The image network learns
from BUS-BRA, which has no ages (`--stages image`); the classifier with age from the lesions of BrEaST that have one. So
what the image stage says on BrEaST is external, and what the model with age says on BrEaST's test lesions is internal.

It is the commands of ``dlr``, one after the other. What a step makes is looked for first, so the same command goes on
where it stopped, within a training too. The commit, the seconds and the arguments of each step are kept in
``OUT/steps.json``, and a step that was done with other arguments is refused, not used.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import commit
from benchmarks.measuring import say_on_stderr

DLR = Path(sys.executable).with_name("dlr")
FOLDERS = {"bus-bra": "BUSBRA", "breast": "breast"}
MODELS = {"lh": "DLR_LH", "bm": "DLR_BM"}
NOTICE = "research only, trained on public sets, not for clinical use"
INTENDED_USE = (
    "Research and teaching only: to show that the recipe works, and as a peer for other models. Not for patients, and "
    "not validated on any population that is served."
)
_IMAGE_NETWORK = (
    "Image network: BUS-BRA (Gomez-Flores et al., Medical Physics 51, 2024, 3110-3123; free use with this citation). "
)
_CLASSIFIER = (
    "Classifier with age: BrEaST (Pawlowska et al., Scientific Data 11, 2024, 148, doi 10.7937/9WKK-Q141; CC BY 4.0), "
    "whose lesions with an age are few. "
)
_FAILS_AT = (
    "DLR_LH: BI-RADS 3 and below is low risk, 4 and above is high risk. What it fails at: of BrEaST's 44 lesions in 4A "
    "one is malignant, so missed cancers in 4A cannot be measured; BUS-BRA's category 4 has no letter; other scanners, "
    "and other ways to mark a lesion, were not seen."
)
LEARNED_FROM = {"image": _IMAGE_NETWORK + _FAILS_AT, "age": _IMAGE_NETWORK + _CLASSIFIER + _FAILS_AT}
"""By the stage that a card is of."""

LOOK = 3
"""The exit status of a report that has something to look at first."""


@dataclass(frozen=True, slots=True)
class Step:
    """A command of ``dlr``, and the file that is there once it is done."""

    name: str
    makes: Path
    arguments: tuple[str | Path, ...]


def training_steps(sets: Path, out: Path, seed: int, options: Sequence[str]) -> Iterator[Step]:
    """Give the steps from the sets to the trained models."""
    for name, folder in FOLDERS.items():
        made = out / f"{name}.csv"
        imported = ("dataset", "import", name, (sets / folder).resolve(), *_root(sets, name), "--output", made)
        yield Step(f"import {name}", made, imported)
    for name, shares in (("bus-bra", (0.7, 0.15, 0.15)), ("breast", (0.5, 0.25, 0.25))):
        made = out / f"{name}-split.csv"
        parts = [str(word) for pair in zip(("--train", "--validation", "--test"), shares, strict=True) for word in pair]
        on = (out / f"{name}.csv", *_root(sets, name), "--seed", str(seed))
        yield Step(f"split {name}", made, ("dataset", "split", *on, *parts, "--output", made))
    for which in MODELS:
        image, whole = out / f"{which}-image", out / which
        plain = ("train", which, "--seed", str(seed), *options)
        on_home = ("--manifest", out / "bus-bra-split.csv", *_root(sets, "bus-bra"), "--output", image)
        yield Step(f"{which}: the image stage", image / "card.json", (*plain, "--stages", "image", *on_home))
        # After the options, of which `--init random` is the first stage's alone.
        start = ("--stages", "age", "--init", image / "weights.safetensors", "--age-learns-on", "train")
        aged = ("--manifest", out / "breast-split.csv", *_root(sets, "breast"))
        on_aged = (*aged, "--missing-age", "exclude", "--output", whole)
        yield Step(f"{which}: the stage with age", whole / "card.json", (*plain, *start, *on_aged))


def report_steps(sets: Path, out: Path) -> Iterator[Step]:
    """Give the steps from the trained models to the registry and the reports."""
    for which in MODELS:
        for folder in (out / f"{which}-image", out / which):
            version = _version(folder)
            made = out / "home" / "models" / MODELS[which] / version / "card.json"
            files = (folder / "stated-card.json", folder / "weights.safetensors")
            yield Step(f"register {folder.name}", made, ("models", "add", *files))
    for suffix, manifest, only in (("-image", "breast.csv", ("--image-only",)), ("", "breast-split.csv", ())):
        versions = [
            word for which in MODELS for word in ("--model", f"{MODELS[which]}/{_version(out / f'{which}{suffix}')}")
        ]
        folder = out / ("report-external-image" if suffix else "report-internal")
        on = ("--manifest", out / manifest, *_root(sets, "breast"))
        yield Step(folder.name, folder / "metrics.json", ("evaluate", *on, *versions, *only, "--output", folder))


def _root(sets: Path, name: str) -> tuple[str, Path]:
    """What a set's images are named below: where the folder really is, since SETS may hold links to it."""
    return "--root", (sets / FOLDERS[name]).resolve().parent


def _version(folder: Path) -> str:
    return str(json.loads((folder / "card.json").read_text())["version"])


def state(folder: Path) -> None:
    """Write beside a card one that says what the model is for, which sets it learned from and what it fails at.

    The counts and the digest of what its own stage learned from stay.
    """
    card = json.loads((folder / "card.json").read_text())
    learned = f"{card['training_data']}. {LEARNED_FROM[card['stage']]}"
    said = {"intended_use": INTENDED_USE, "training_data": learned, "notice": NOTICE}
    (folder / "stated-card.json").write_text(json.dumps(card | said, indent=2) + "\n")


def run(step: Step, out: Path) -> None:
    """Do a step, unless what it makes is there; keep what it took.

    Raises:
        SystemExit: it failed, or what it makes is there and was made with other arguments.
    """
    kept = out / "steps.json"
    steps: list[dict[str, Any]] = json.loads(kept.read_text()) if kept.exists() else []
    # Where files lie does not count: a folder may be moved.
    given = [argument if isinstance(argument, str) else "PATH" for argument in step.arguments]
    if step.makes.exists():
        # Those of before arguments were kept have none, and are gone on with.
        before = next((each.get("arguments") for each in reversed(steps) if each["step"] == step.name), None)
        if before not in (None, given):
            sys.exit(
                f"{step.name} was done by other options: give those of before, or another folder OUT\n"
                f"then: dlr {' '.join(before)}\nnow:  dlr {' '.join(given)}"
            )
        return
    say_on_stderr(step.name)
    begun = time.monotonic()
    environment = {**os.environ, "DLR_HOME": str(out / "home")}
    done = subprocess.run([DLR, *step.arguments], env=environment, check=False)
    if done.returncode not in (0, LOOK) or not step.makes.exists():
        sys.exit(f"{step.name} failed: correct what it says, and give the same command again")
    seconds = round(time.monotonic() - begun)
    steps.append({"step": step.name, "commit": commit(), "seconds": seconds, "arguments": given})
    kept.write_text(json.dumps(steps, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.public_models", description=__doc__)
    parser.add_argument("sets", type=Path, help="folder with BUSBRA and breast, as they were downloaded")
    parser.add_argument("out", type=Path, help="folder for manifests, models and reports")
    parser.add_argument("--seed", type=int, default=1, help="of splits and trainings")
    parser.add_argument("options", nargs="*", help="after --: options of `dlr train`, such as --device cuda")
    asked = parser.parse_args(arguments)
    sets, out = asked.sets.resolve(), asked.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    for step in training_steps(sets, out, asked.seed, asked.options):
        run(step, out)
    for which in MODELS:
        for folder in (out / f"{which}-image", out / which):
            state(folder)
    for step in report_steps(sets, out):
        run(step, out)
    say_on_stderr(f"done: {out / 'report-external-image' / 'report.html'}, {out / 'report-internal' / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
