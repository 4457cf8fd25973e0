"""``dlr models`` and ``dlr demo-models``: the model registry."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from db.schema.vocabulary import BM_MODEL, LH_MODEL
from worker.cli.calibration_check import shortfalls
from worker.cli.lazy_commands import COMMANDS, Entry, LazyGroup
from worker.cli.output import Card, Format, FormatOption, Report, ReportOption, print_json, print_rows, stderr
from worker.cli.progress import share_bar
from worker.cli.trained_card import print_by_site
from worker.inference.active_versions import Event
from worker.inference.calibration_checks import kept, outstanding
from worker.inference.registry import Registry
from worker.inference.shares import percent
from worker.settings import get_settings
from worker.training.config import DEMO, DEMO_SEED


class _Models(LazyGroup):
    panels = {  # noqa: RUF012
        COMMANDS: (
            Entry("compare", "worker.cli.compare", "compare", "Compare two versions of a model."),
            Entry(
                "calibrate", "worker.cli.calibrate", "calibrate", "Write a card with a temperature or conformal set."
            ),
            Entry("ensemble", "worker.cli.ensemble", "ensemble", "Make one version of several, with their mean score."),
        )
    }


models = typer.Typer(cls=_Models, no_args_is_help=True)


class Model(StrEnum):
    """One of the two models, where a command is asked for it alone."""

    DLR_LH = LH_MODEL
    DLR_BM = BM_MODEL


LIST_COLUMNS = (
    "name", "version", "stage", "active", "share", "forced", "shadow_since", "notice", "backbone", "networks",
    "input_size", "aggregation", "min_images", "threshold", "created_at",
)  # fmt: skip
MEMBER_COLUMNS = ("version", "weights_sha256")
INITIAL_COLUMNS = ("of", "name", "version", "weights_sha256", "training_data")
SCALE_COLUMNS = ("site", "threshold", "temperature", "coverage", "quantile", "lesions", "positives")
LIST_CARD = Card(LIST_COLUMNS[:2], LIST_COLUMNS[2:])
HISTORY_COLUMNS = ("at", "event", "name", "version", "replaced", "share", "forced", "actor")
HISTORY_CARD = Card(HISTORY_COLUMNS[:4], HISTORY_COLUMNS[4:])
CHECK_COLUMNS = ("name", "version", "active", "sound", "code", "reason")
CHECK_CARD = Card(CHECK_COLUMNS[:2], CHECK_COLUMNS[2:])
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

TAKEN_UP = "running workers take it up within seconds, for the studies that they start from then on"

NameArgument = Annotated[str, typer.Argument(help="DLR_LH or DLR_BM")]
VersionArgument = Annotated[str, typer.Argument(help="As listed by `dlr models list`")]


def _share(given: str) -> float:
    """Read ``10%`` as 0.1."""
    number = given.removesuffix("%").strip()
    try:
        share = float(number) / 100
    except ValueError:
        share = 0.0
    if not (given.endswith("%") and 0 < share < 1):
        raise typer.BadParameter("a percentage above 0 % and below 100 %, as 10%")
    return share


ShareOption = Annotated[
    float | None,
    typer.Option(
        parser=_share, metavar="PERCENT", help="Only for this share of the studies, as 10%; the active one stays"
    ),
]


def _registry() -> Registry:
    return Registry(get_settings().models_dir)


@models.command()
def add(
    card: Annotated[Path, typer.Argument(help="The model's card, a JSON file")],
    weights: Annotated[
        list[Path], typer.Argument(help="Its weights, a safetensors file; of an ensemble, one for each member")
    ],
) -> None:
    """Check a model's card and weights, and add it as a version. It does not become active yet."""
    added = _registry().add(card, *weights)
    _say(f"added {added.name} {added.version}; to use it: dlr models activate {added.name} {added.version}")


@models.command("list")
def list_models(fmt: FormatOption = Format.TABLE) -> None:
    """List the versions of both models: active ones, shares, shadows, and those activated with --force."""
    registry = _registry()
    rows = [
        entry.card.model_dump(mode="json")
        | {
            "active": entry.active,
            "share": entry.share,
            "forced": entry.forced,
            "shadow_since": entry.shadow_since,
            "networks": len(entry.card.weights_digests),
        }
        for entry in registry.list()
    ]
    print_rows(rows, LIST_COLUMNS, fmt, "models", LIST_CARD)
    unreadable = registry.count_unreadable()
    if unreadable:
        _say(f"{unreadable} more cannot be read: dlr models check")


@models.command()
def show(
    model: Annotated[str, typer.Argument(metavar="[NAME/]VERSION", help="As listed by `dlr models list`")],
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Show a version's card: what it is, what was measured, its members, and what its training started from."""
    found = _registry().named(model)
    if fmt is Report.JSON:
        print_json([entry.card.model_dump(mode="json") | {"active": entry.active} for entry in found])
        return
    for entry in found:
        card = entry.card.model_dump(mode="json")
        members, sites = card.pop("members"), card.pop("sites")
        started = [
            one | {"of": network["version"]} for network in members or [card] for one in network["initial_weights"]
        ]
        del card["initial_weights"], card["metrics_by_site"]
        rows = [{"field": name, "value": _shown(value)} for name, value in card.items() if value not in (None, {})]
        print_rows(rows, ("field", "value"), Format.TABLE, title=f"{entry.card.name} {entry.card.version}")
        if members:
            print_rows(members, MEMBER_COLUMNS, Format.TABLE, title="members, whose scores' mean is its score")
        if started:
            print_rows(started, INITIAL_COLUMNS, Format.TABLE, title="weights that its training started from")
        if sites:
            rows = [{"site": site, **(scale["conformal"] or {}), **scale} for site, scale in sites.items()]
            print_rows(rows, SCALE_COLUMNS, Format.TABLE, title="of single sites, in place of the card's")
        print_by_site(entry.card, "metrics by site")


def _shown(value: object) -> object:
    """A value of a card on one line; histograms are for programs."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {one}" for name, one in value.items() if not isinstance(one, dict))
    return ", ".join(map(str, value)) if isinstance(value, list) else value


@models.command()
def activate(
    name: NameArgument,
    version: VersionArgument,
    share: ShareOption = None,
    force: Annotated[
        bool, typer.Option("--force", help="Even without metrics, intended use or notice; the history says so")
    ] = False,
) -> None:
    """Put a version into service, without a restart. Its card needs metrics, intended use and notice.

    With --share it scores a share of the studies first, always the same ones. Without, it scores all: so the command
    goes on to it, or back to the version that was active.
    """
    registry = _registry()
    if share is None:
        card = registry.activate(name, version, force=force)
        _say(f"{card.name} {card.version} is active; {TAKEN_UP}")
    else:
        card = registry.give_share(name, version, share, force=force)
        beside = registry.active(card.name).card.version
        _say(f"{card.name} {card.version} scores {percent(share)} of the studies, {beside} the others; {TAKEN_UP}")
        _say(f"both are compared by: dlr monitor; on: dlr models activate {card.name} {card.version}; "
             f"back: dlr models activate {card.name} {beside}")  # fmt: skip
    for warning in shortfalls(outstanding(kept(registry.entry(card.name, card.version).folder))):
        _say(f"warning: {warning}")


@models.command()
def rollback(
    name: Annotated[str | None, typer.Argument(help="DLR_LH or DLR_BM (default: both)")] = None,
) -> None:
    """Go back to the previously active version. Repeat it to go back further. A share ends first."""
    for change in _registry().rollback(name):
        if change.event is Event.UNSHARED:
            _say(f"{change.name} {change.version} has no share of the studies any more; {TAKEN_UP}")
            continue
        _say(f"{change.name} {change.version} is active again instead of {change.replaced}; {TAKEN_UP}")


@models.command()
def shadow(name: NameArgument, version: VersionArgument) -> None:
    """Make a version a shadow: it scores live studies too (`dlr shadow`) but never reaches the worklist."""
    card = _registry().shadow(name, version)
    _say(f"{card.name} {card.version} is a shadow: `dlr shadow` scores new studies with it from now on")


@models.command()
def unshadow(name: NameArgument, version: VersionArgument) -> None:
    """Stop using a version as a shadow. Its scores stay."""
    _registry().unshadow(name, version)
    _say(f"{name} {version} is no longer a shadow; its scores stay")


@models.command()
def history(fmt: FormatOption = Format.TABLE) -> None:
    """Show who activated, rolled back, shared or shadowed which version, and when; the latest is last."""
    rows = [change.model_dump() for change in _registry().history()]
    print_rows(rows, HISTORY_COLUMNS, fmt, "what was in service", HISTORY_CARD)


@models.command()
def check(fmt: FormatOption = Format.TABLE) -> None:
    """Verify each version's card, hash and weight shapes. Exit status 1: one is not sound."""
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
    print_rows(rows, CHECK_COLUMNS, fmt, "models", CHECK_CARD)
    if any(finding.code is not None for finding in findings):
        raise typer.Exit(1)


def demo_models(
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same models")] = DEMO_SEED,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Train both demo models on phantoms, unless they exist, and activate them where no model is active.

    They show how the service works and are never for clinical use: every result carries that notice.
    """
    with share_bar("loading torch") as on_progress:
        from worker.training.demo_models import make_demo_models

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
    print_rows(rows, DEMO_COLUMNS, fmt, "demo models, on held-out phantoms", Card(DEMO_COLUMNS[:2], DEMO_COLUMNS[2:]))


def _say(line: str) -> None:
    stderr.print(line, markup=False, highlight=False)
