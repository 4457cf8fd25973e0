"""``dlr models ensemble``: several versions of a model as one, whose score is the mean of theirs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.dataset_options import ExcludeFindingOption
from worker.cli.lesion_options import RootOption
from worker.cli.output import Report, ReportOption, print_json, say
from worker.cli.progress import progress_bar
from worker.cli.refusals import checked_manifest, refuse_without
from worker.cli.trained_card import print_card
from worker.extras import require_extra
from worker.inference.entry import Entry
from worker.inference.model_card import ModelCard, load_card
from worker.inference.registry import Registry
from worker.inference.version_folder import CARD_FILE, weights_files
from worker.settings import get_settings

if TYPE_CHECKING:
    from worker.dataset.check import Checked
    from worker.training.ensemble import Measured

SCORES_FILE = "scores.csv"


def ensemble(
    members: Annotated[
        list[str], typer.Argument(metavar="MEMBER...", help="Folders of `dlr train`, or [NAME/]VERSION in the registry")
    ],
    version: Annotated[str, typer.Option(help="Version of the ensemble")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="New or empty folder, for its card and weights")
    ],
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The members' manifest: measure on its test and external lesions"),
    ] = None,
    root: RootOption = None,
    exclude_finding: ExcludeFindingOption = None,
    threshold: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of the mean AI score (default: the mean of the members' thresholds)"),
    ] = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Make one version of several of a model: its AI score is the mean of theirs, before any temperature.

    Example: dlr models ensemble bm-1 bm-2 bm-3 --version 2026.12 --output bm --manifest folds.csv. They have to be of
    one backbone, input and label. It takes as many times the time and memory of one.
    """
    require_extra("worker", "dlr models ensemble")
    refuse_without("--root", root, "--manifest", manifest)
    refuse_without("--exclude-finding", exclude_finding, "--manifest", manifest)
    from worker.evaluation.report_folder import check_writable, write_folder
    from worker.inference.ensemble_card import ensemble_card

    found = [_member(one) for one in members]
    card = ensemble_card([one.card for one in found], version, threshold)
    check_writable(output)
    checked = None if manifest is None else checked_manifest(manifest, root, "measured", exclude_finding)
    made: list[tuple[ModelCard, Measured | None]] = []
    write_folder(output, lambda folder: made.append(_write(folder, card, found, checked)))
    [(card, measured)] = made
    _print(card, measured, output, fmt)
    if checked is not None and {training.get("data_digest") for training in card.trainings} != {checked.digest}:
        say("note: not every card says that its version was trained on this manifest: make sure that none was on these")


def _member(named: str) -> Entry:
    folder = Path(named)
    if (folder / CARD_FILE).is_file():
        return Entry(load_card(folder / CARD_FILE), active=False, folder=folder)
    entries = Registry(get_settings().models_dir).named(named)
    if len(entries) > 1:
        raise typer.BadParameter(f"both models have it: DLR_LH/{named} or DLR_BM/{named}", param_hint="MEMBER")
    return entries[0]


def _write(
    folder: Path, card: ModelCard, members: list[Entry], checked: "Checked | None"
) -> "tuple[ModelCard, Measured | None]":
    from worker.inference.version_folder import write_card, write_version

    write_version(card, [path for member in members for path in member.weights_paths], folder)
    if checked is None:
        return card, None
    from worker.training.ensemble import measured

    with progress_bar("lesions") as on_progress:
        found = measured(Entry(card, active=False, folder=folder), checked.manifest, on_progress)
    (folder / SCORES_FILE).write_bytes(found.scores)
    write_card(found.card, folder)
    return found.card, found


def _print(card: ModelCard, measured: "Measured | None", output: Path, fmt: Report) -> None:
    if fmt is Report.JSON:
        print_json({"output": str(output), "card": card.model_dump(mode="json")})
    else:
        print_card(card)
        say(f"{len(card.members)} members: {', '.join(member.version for member in card.members)}")
    for reason, count in (measured.left_out if measured is not None else {}).items():
        if count:
            say(f"left out: {count} {reason}")
    if measured is None:
        say("it has no metrics: give --manifest, or measure it yourself, before it is activated")
    files = " ".join(str(output / name) for name in weights_files(card))
    say(f"next: read {output / CARD_FILE}, state in it what the model is for, and a notice, then run")
    say(f"dlr models add {output / CARD_FILE} {files}")
