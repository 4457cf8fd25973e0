"""``dlr train``: a model from lesions with known pathology."""

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.bad_rows import refuse_rows
from worker.cli.dataset_options import ExcludeFindingOption
from worker.cli.output import Report, ReportOption, print_json, say
from worker.cli.progress import share_bar
from worker.cli.trained_card import print_card
from worker.errors import Code
from worker.extras import require_extra
from worker.training.config import DEMO, Log, read_config

if TYPE_CHECKING:
    from worker.dataset.finding import Finding
    from worker.inference.model_card import ModelCard, ModelName
    from worker.training.cohort import Cohort
    from worker.training.config import TrainingConfig


class Which(StrEnum):
    """One of the two models."""

    LH = "lh"
    BM = "bm"


class Stages(StrEnum):
    """How image network and classifier with age are trained."""

    TWO = "two"
    JOINT = "joint"
    IMAGE = "image"
    AGE = "age"


class LearnsOn(StrEnum):
    """Which lesions the classifier with age is trained on."""

    VALIDATION = "validation"
    TRAIN = "train"
    BOTH = "both"


class By(StrEnum):
    """What DLR_LH's label is derived from."""

    BIRADS = "birads"
    PATHOLOGY = "pathology"


class MissingAge(StrEnum):
    """What is done with rows that have no age."""

    REFUSE = "refuse"
    EXCLUDE = "exclude"


class How(StrEnum):
    """How the scores of a lesion's images become one."""

    MEAN = "mean"
    MAX = "max"
    LOGIT_MEAN = "logit_mean"


def train(
    which: Annotated[Which, typer.Argument(help="lh: low or high risk; bm: benign or malignant", metavar="lh|bm")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="New or empty folder, or an interrupted run's to resume it"),
    ],
    manifest: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lesions with splits (`dlr dataset split`)")
    ] = None,
    phantom: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Instead: N phantom lesions, with the demo's configuration")
    ] = None,
    root: Annotated[Path | None, typer.Option(help="Folder that the manifest's paths are relative to")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml", help="Configuration (docs/model-owner.md); options override it"),
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(metavar="imagenet|random|FILE", help="Initial weights (default: imagenet; for phantoms: random)"),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The same seed, lesions and machine give the same model")
    ] = None,
    backbone: Annotated[str | None, typer.Option(help="A torchvision ResNet; the study used resnet50")] = None,
    input_size: Annotated[int | None, typer.Option(help="Side of the square input in pixels")] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of epochs; training stops early without a better AUC")
    ] = None,
    patience: Annotated[int | None, typer.Option(min=1, help="Epochs to wait for a better validation AUC")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Lesions per step, over all processes")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Maximum of the one-cycle schedule")] = None,
    stages: Annotated[
        Stages | None,
        typer.Option(
            help=(
                "two, as in the study: the image network, then the classifier with age; joint: both at once; image: "
                "the first alone, which needs no age; age: the second alone, from --init"
            )
        ),
    ] = None,
    age_learns_on: Annotated[
        LearnsOn | None, typer.Option(help="Lesions to train the classifier with age on (default: validation)")
    ] = None,
    label_rule: Annotated[
        By | None, typer.Option(help="Label of DLR_LH: birads, as in the study, or pathology")
    ] = None,
    low_risk_up_to: Annotated[
        str | None,
        typer.Option(metavar="CATEGORY", help="Highest BI-RADS category that is low risk for DLR_LH (default: 3)"),
    ] = None,
    missing_age: Annotated[MissingAge | None, typer.Option(help="Refuse or exclude rows without an age")] = None,
    aggregation: Annotated[
        How | None, typer.Option(help="How the scores of a lesion's images become one (default: mean)")
    ] = None,
    test_time_flip: Annotated[
        bool, typer.Option("--test-time-flip", help="Score an image by the mean of it and its mirror image")
    ] = False,
    exclude_finding: ExcludeFindingOption = None,
    calipers: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Probability that calipers in an image are painted over, and that others are drawn in"
        ),
    ] = None,
    label_smoothing: Annotated[
        float | None, typer.Option(metavar="SHARE", help="Share of each label that goes to both classes alike")
    ] = None,
    mixup: Annotated[
        float | None,
        typer.Option(metavar="ALPHA", help="Mix training images in pairs, by shares of Beta(ALPHA, ALPHA)"),
    ] = None,
    fold: Annotated[int | None, typer.Option(min=1, help="Fold to validate on, where the manifest has folds")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; with torchrun, one GPU per process")] = "auto",
    log: Annotated[Log, typer.Option(help="Log of the epochs: log.csv, TensorBoard events, or none")] = Log.CSV,
    loaders: Annotated[
        int, typer.Option(min=0, help="Processes that prepare images; they do not change the result")
    ] = 0,
    version: Annotated[str | None, typer.Option(help="Version on the card (default: a generated one)")] = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Train a model on lesions with known pathology, or resume an interrupted run.

    Example: dlr train bm --manifest split.csv --output bm-1. Writes weights, card, scores of held-out lesions, and a
    log. The same command resumes a run, however it was interrupted, and ends with the same weights.

    On several GPUs: torchrun --nproc-per-node 4 --no-python dlr train bm ...
    """
    if (manifest is None) == (phantom is None):
        raise typer.BadParameter("give exactly one", param_hint="--manifest, --phantom")
    if which is Which.BM and (label_rule is not None or low_risk_up_to is not None):
        raise typer.BadParameter("DLR_BM is trained on pathology only", param_hint="--label-rule, --low-risk-up-to")
    require_extra("worker", "dlr train")
    overrides = {
        "init": init, "seed": seed, "backbone": backbone, "input_size": input_size, "epochs": epochs,
        "patience": patience, "batch": batch, "learning_rate": learning_rate, "stages": stages,
        "label_rule": label_rule, "low_risk_up_to": low_risk_up_to, "missing_age": missing_age, "fold": fold,
        "aggregation": aggregation, "calipers": calipers, "label_smoothing": label_smoothing, "mixup": mixup,
        "test_time_flip": test_time_flip or None,
        "phantoms.count": phantom, "age.learns_on": age_learns_on,
    }  # fmt: skip
    read_config(config, overrides, None if phantom is None else DEMO)  # a wrong one is refused before torch is loaded
    name: ModelName = "DLR_LH" if which is Which.LH else "DLR_BM"
    from worker.training.processes import leads

    with _told_when_interrupted(), share_bar("loading torch", hidden=not leads()) as on_progress:
        from worker.training.start_card import configured
        from worker.training.train import Running, require_startable
        from worker.training.train import train as trained

        running = Running(device, log, version, loaders, lambda share: on_progress(f"training {name}", share))
        read = configured(config, overrides, None if phantom is None else DEMO)
        require_startable(name, read, running)
        _say_if_slow(read, device)
        cohort = _cohort(name, manifest, root, exclude_finding, read, fmt, on_progress)
        made = trained(name, cohort, read, output, running)
    if made is not None:
        _print(made.card, cohort, output, fmt, was_finished=made.judged is None)
        _print_next(made.card, read, exclude_finding or (), output)


def _say_if_slow(config: "TrainingConfig", device: str) -> None:
    from worker.inference.devices import choose_device, emulates_bfloat16
    from worker.training.processes import leads

    if config.amp == "bfloat16" and emulates_bfloat16(choose_device(device)) and leads():
        say('note: this processor has no AVX-512, and bfloat16 takes many times as long as amp = "auto"')


@contextmanager
def _told_when_interrupted() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        say("stopped: run the same command to resume after the last saved epoch")
        raise


def _cohort(
    name: "ModelName",
    manifest: Path | None,
    root: Path | None,
    excluding: "Sequence[Finding] | None",
    config: "TrainingConfig",
    fmt: Report,
    on_progress: "Callable[[str, float], None]",
) -> "Cohort":
    if manifest is None:
        from worker.training.cohort import phantom_cohort

        return phantom_cohort(config, lambda done, total: on_progress("drawing phantoms", done / total))
    from worker.dataset.check import check
    from worker.dataset.manifest_file import read_manifest
    from worker.training.labels import rule_of
    from worker.training.manifest_cohort import faults_of, manifest_cohort, require_ages, require_ages_found
    from worker.training.processes import leads

    read, rule = read_manifest(manifest, root), rule_of(name, config)
    if not excluding:  # else it is not known yet which rows are left
        require_ages(read, rule, config)
    checked = check(
        read,
        on_progress=lambda done, total: on_progress("checking rows", done / total),
        excluding=excluding or (),
    )
    if checked.warnings and leads():
        say(f"{len(checked.warnings)} warnings: see `dlr dataset validate`")
    what = "are bad, so nothing was trained: fix or exclude them"
    refuse_rows(faults_of(checked, config), Code.DATASET_INVALID, what, fmt, silent=not leads())
    require_ages_found(checked, rule, config)
    return manifest_cohort(checked, config, lambda done, total: on_progress("reading images", done / total))


def _print(card: "ModelCard", cohort: "Cohort", output: Path, fmt: Report, *, was_finished: bool) -> None:
    if fmt is Report.JSON:
        print_json({"output": str(output), "was_finished": was_finished, "card": card.model_dump(mode="json")})
    else:
        print_card(card)
    left_out = {**cohort.excluded, "of neither class": card.training.get("images_of_neither_class", 0)}
    for reason, count in left_out.items():
        if count:
            say(f"left out: {count} rows, {reason}")
    if was_finished:
        say("this run had already finished; nothing was done")
    if any(one.training.get("data_digest") != card.training["data_digest"] for one in card.initial_weights):
        say("note: not all of its initial weights are known to be of this manifest: make sure that none learned from "
            "its validation or test")  # fmt: skip


def _print_next(card: "ModelCard", config: "TrainingConfig", excluding: "Sequence[Finding]", output: Path) -> None:
    if card.stage == "image":
        say("it cannot serve without age; train the second stage from it on lesions that have one:")
        say(shlex.join(_second_stage(card, config, excluding, output)))
        return
    say(f"next: read {output / 'card.json'}, state in it what the model is for, and a notice, then run")
    say(f"dlr models add {output / 'card.json'} {output / 'weights.safetensors'}")


def _second_stage(
    card: "ModelCard", config: "TrainingConfig", excluding: "Sequence[Finding]", output: Path
) -> Iterator[str]:
    """Give the command: what else than by default the first stage was told, and holds for the second one too."""
    yield from ("dlr", "train", "lh" if card.name == "DLR_LH" else "bm", "--stages", "age")
    yield from ("--init", str(output / "weights.safetensors"))
    plain = type(config)()
    for field in ("backbone", "input_size", "label_rule", "low_risk_up_to", "aggregation", "fold"):
        if (value := getattr(config, field)) != getattr(plain, field):
            yield from (f"--{field.replace('_', '-')}", str(value))
    if config.test_time_flip:
        yield "--test-time-flip"
    for finding in excluding:
        yield from ("--exclude-finding", str(finding))
    yield from ("--manifest", "FILE", "--output", "DIR")
