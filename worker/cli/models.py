"""``dlr models``: the registry of models, and ``dlr demo-models``."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.inference.registry import Registry
from worker.settings import get_settings

models = typer.Typer(no_args_is_help=True)

LIST_COLUMNS = ("name", "version", "active", "backbone", "input_size", "threshold", "notice", "created_at")
CHECK_COLUMNS = ("name", "version", "active", "code", "reason")


@models.command()
def add(
    card: Annotated[Path, typer.Argument(help="The model card, JSON")],
    weights: Annotated[Path, typer.Argument(help="The weights, safetensors")],
) -> None:
    """Add a version of a model to the registry, once its card and weights are found to fit each other."""
    added = Registry(get_settings().models_dir).add(card, weights)
    stderr.print(
        f"added {added.name} {added.version}; `dlr models activate {added.name} {added.version}` puts it to use"
    )


@models.command("list")
def list_models(fmt: FormatOption = Format.TABLE) -> None:
    """List every version in the registry, and which are active."""
    entries = Registry(get_settings().models_dir).list()
    rows: list[dict[str, Any]] = [entry.card.model_dump(mode="json") | {"active": entry.active} for entry in entries]
    print_rows(rows, LIST_COLUMNS, fmt, title="models")


@models.command()
def activate(
    name: Annotated[str, typer.Argument(help="DLR_LH or DLR_BM")],
    version: Annotated[str, typer.Argument(help="A version that `dlr models list` shows")],
) -> None:
    """Make a version the one that workers load at their next start."""
    card = Registry(get_settings().models_dir).activate(name, version)
    stderr.print(f"{card.name} {card.version} is active; restart the inference workers to load it")


@models.command()
def check(fmt: FormatOption = Format.TABLE) -> None:
    """Verify every version's card, hash and shapes; exit status 1 when one is not sound."""
    findings = Registry(get_settings().models_dir).check()
    print_rows([asdict(finding) for finding in findings], CHECK_COLUMNS, fmt, title="models")
    raise typer.Exit(1 if any(finding.code for finding in findings) else 0)


def demo_models(
    seed: Annotated[int, typer.Option(help="The same seed makes the same models")] = 20261123,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Make DLR_LH and DLR_BM from a synthetic cohort; never for clinical use. Made once, then reused.

    They are activated only where no model is active.
    """
    from worker.training.demo import make_demo_models

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=stderr) as progress:
        task = progress.add_task("demo models", total=1.0)
        made = make_demo_models(
            Registry(get_settings().models_dir),
            seed=seed,
            on_progress=lambda what, done: progress.update(task, description=what, completed=done),
        )
    rows = [
        {"name": one.card.name, "version": one.card.version, "trained": one.trained, "activated": one.activated,
         **one.card.metrics, "notice": one.card.notice}
        for one in made
    ]  # fmt: skip
    print_rows(rows, list(rows[0]), fmt, title="demo models")
