"""``dlr models`` and ``dlr demo-models``: which models there are, and which are used."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.cli.progress import share_bar
from worker.inference.registry import Registry
from worker.settings import get_settings
from worker.training.config import DEMO, DEMO_SEED

models = typer.Typer(no_args_is_help=True)

LIST_COLUMNS = ("name", "version", "active", "notice", "backbone", "input_size", "threshold", "created_at")
CHECK_COLUMNS = ("name", "version", "active", "sound", "code", "reason")
DEMO_COLUMNS = (
    "name",
    "version",
    "active",
    "auc",
    "auc_age_only",
    "auc_gain_over_age_lower_95",
    "sensitivity",
    "specificity",
    "notice",
)


def _registry() -> Registry:
    return Registry(get_settings().models_dir)


@models.command()
def add(
    card: Annotated[Path, typer.Argument(help="The model's card, a JSON file")],
    weights: Annotated[Path, typer.Argument(help="Its weights, a safetensors file")],
) -> None:
    """Add a version of a model, once its card and weights are found to be sound. It is not active yet."""
    added = _registry().add(card, weights)
    _say(f"added {added.name} {added.version}; to use it: dlr models activate {added.name} {added.version}")


@models.command("list")
def list_models(fmt: FormatOption = Format.TABLE) -> None:
    """List the versions of both models, and which are active."""
    registry = _registry()
    rows = [entry.card.model_dump(mode="json") | {"active": entry.active} for entry in registry.list()]
    print_rows(rows, LIST_COLUMNS, fmt, title="models")
    unreadable = registry.count_unreadable()
    if unreadable:
        _say(f"{unreadable} more can not be read: dlr models check")


@models.command()
def activate(
    name: Annotated[str, typer.Argument(help="DLR_LH or DLR_BM")],
    version: Annotated[str, typer.Argument(help="As `dlr models list` has it")],
) -> None:
    """Use a version from the workers' next start on."""
    active = _registry().activate(name, version)
    _say(f"{active.name} {active.version} is active; workers that run already use it once they are started again")


@models.command()
def check(fmt: FormatOption = Format.TABLE) -> None:
    """Verify each version's card, hash and shapes; exit status 1 when one is not sound."""
    findings = _registry().check()
    rows = [
        {
            "name": finding.name,
            "version": finding.version,
            "active": finding.active,
            "sound": finding.code is None,
            "code": finding.code,
            "reason": finding.reason,
        }
        for finding in findings
    ]
    print_rows(rows, CHECK_COLUMNS, fmt, title="models")
    if any(finding.code is not None for finding in findings):
        raise typer.Exit(1)


def demo_models(
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same models")] = DEMO_SEED,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Train both demo models on phantoms, unless they are there, and activate them where no model is active.

    They show how the service works and say nothing about any patient: each result carries their notice.
    """
    with share_bar("loading torch") as on_progress:
        from worker.training.demo import make_demo_models

        registry = _registry()
        config = DEMO.model_copy(update={"seed": seed})
        made = make_demo_models(registry, on_progress=on_progress, config=config)
    active = {(entry.card.name, entry.card.version) for entry in registry.list() if entry.active}
    rows = [
        model.card.metrics
        | {
            "name": model.card.name,
            "version": model.card.version,
            "active": (model.card.name, model.card.version) in active,
            "notice": model.card.notice,
        }
        for model in made
    ]
    print_rows(rows, DEMO_COLUMNS, fmt, title="demo models, on held-out phantoms")


def _say(line: str) -> None:
    stderr.print(line, markup=False, highlight=False)
