"""``dlr dataset``: lesions to train on, from a hospital's or public images to splits that do not leak."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.bad_rows import print_faults, refuse_rows
from worker.cli.dataset_import import import_dataset
from worker.cli.dataset_options import ExcludeFindingOption, OutputOption, RootOption
from worker.cli.output import Format, FormatOption, Report, ReportOption, print_json, print_rows, say
from worker.cli.progress import progress_bar
from worker.dataset.finding import Finding
from worker.errors import Code, SetupRefused
from worker.extras import require_extra

if TYPE_CHECKING:
    from worker.dataset.check import Checked
    from worker.dataset.shortcuts import Association

app = typer.Typer(no_args_is_help=True)

EXIT_BAD_ROWS = 3
ASSOCIATION_COLUMNS = ("goes_together", "lesions", "test")
FLOW_COLUMNS = ("step", "of", "rows", "patients", "lesions", "benign", "malignant")
SPLIT_COLUMNS = ("split", "fold", "rows", "share", "patients", "benign", "malignant")


class By(StrEnum):
    """What a split keeps apart."""

    PATIENT = "patient"
    SITE = "site"


class Keys(StrEnum):
    """What the same patient_key in two manifests means."""

    REFUSE = "refuse"
    SAME = "same"
    APART = "apart"


ManifestArgument = Annotated[Path, typer.Argument(help="Manifest: CSV, or Parquet if its name ends in .parquet")]


app.command("import")(import_dataset)


@app.command()
def validate(
    manifest: ManifestArgument,
    root: RootOption = None,
    exclude_finding: ExcludeFindingOption = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Check each row, its image and its region, and list the bad ones. Exit status 3: some rows are bad.

    Says what goes together with pathology and with BI-RADS (high or low risk) besides the lesion: quality findings,
    calipers on the lesion or beside it, sizes, sites and scanners, each tested, with Holm's correction (the extra
    train). A model may learn that instead.

    No value of a row is printed. The digest covers the rows and files and goes on a model's card.
    """
    checked = _checked(manifest, root, exclude_finding, with_calipers=True)
    summary = _summary(checked)
    found, untested = _associations(checked)
    filled_in = _filled_in(checked)
    if fmt is Report.JSON:
        listed = {"bad_rows": list(map(asdict, checked.faults)), "warned_of": list(map(asdict, checked.warnings))}
        tested = [asdict(one) | {"significant": one.is_significant, "sentence": one.sentence} for one in found]
        print_json(summary | listed | {"associations": tested, "not_tested": untested, "ages_filled_in": filled_in})
    else:
        print_faults(checked.faults, "bad rows")
        if checked.warnings:
            counts = Counter(warning.code for warning in checked.warnings).most_common()
            rows = [{"code": code, "rows": count} for code, count in counts]
            print_rows(rows, ("code", "rows"), Format.TABLE, title="warnings (--format json lists their rows)")
        _print_associations(found, untested)
        if filled_in is not None:
            say(f"warning: {filled_in}")
        print_rows([summary], list(summary), Format.TABLE, title="manifest")
    raise typer.Exit(EXIT_BAD_ROWS if checked.faults else 0)


def _associations(checked: "Checked") -> "tuple[Sequence[Association], str | None]":
    """Return what was tested, and else why nothing was."""
    from worker.dataset.shortcuts import associations

    try:
        return associations(checked.sound, checked.seen, checked.calipers), None
    except ImportError:
        return (), "what goes together with the labels is tested with the extra: pip install 'dlr-worker[train]'"


def _filled_in(checked: "Checked") -> str | None:
    """Say which ages were filled in, of all patients or of those of a pathology; ``None`` where none were."""
    from worker.dataset.manifest import Pathology
    from worker.training.ages import FEWEST, filled_in

    aged = [(row, age) for line, row in checked.sound.items() if (age := checked.ages[line]) is not None]
    whose = {"patients": tuple(Pathology)} | {f"patients with a {one} lesion": (one,) for one in Pathology}
    for who, pathologies in whose.items():
        known = [(row.patient_key, age) for row, age in aged if row.pathology in pathologies]
        found = filled_in(known, who)
        if found is not None and (len(pathologies) > 1 or len({patient for patient, _ in known}) >= FEWEST):
            return f"{found}: it seems to be filled in, and `dlr train` refuses that for the classifier with age"
    return None


def _print_associations(found: "Sequence[Association]", untested: str | None) -> None:
    rows = [
        {"goes_together": one.sentence, "lesions": one.lesions, "test": one.test} for one in found if one.is_significant
    ]
    if rows:
        title = "goes together with a label: look whether a model could learn it instead of the lesion"
        print_rows(rows, ASSOCIATION_COLUMNS, Format.TABLE, title=title)
    elif untested is not None:
        say(f"not tested: {untested}")


@app.command()
def flow(
    manifest: ManifestArgument,
    root: RootOption = None,
    exclude_finding: ExcludeFindingOption = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show how many rows were found, left out (and why) and included, as a study's flow diagram does.

    Bad rows count as left out, under their error code.
    """
    from worker.dataset.inclusion_flow import flow_of

    steps = [asdict(step) for step in flow_of(_checked(manifest, root, exclude_finding))]
    print_rows(steps, FLOW_COLUMNS, fmt, title="inclusion and exclusion")


@app.command("join")
def join_manifests(
    manifests: Annotated[list[Path], typer.Argument(help="Two manifests or more")],
    output: OutputOption,
    keys: Annotated[
        Keys,
        typer.Option(
            help="The same patient_key in two manifests: refuse; same: it is one patient; apart: two, whose keys get "
            "their manifest's name"
        ),
    ] = Keys.REFUSE,
    root: RootOption = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Put manifests together, and check them as one: images, patients and splits that they share.

    Nothing is written if a row is bad. Lines are those of the joined manifest. A manifest none of whose images is in
    its own folder is read with --root.
    """
    from worker.cli.dataset_join import write_joined

    require_extra("worker", "dlr dataset", "PIL")
    if len(manifests) < 2:
        raise typer.BadParameter("two manifests or more", param_hint="MANIFESTS")
    write_joined(manifests, output, root, fmt, apart=keys is Keys.APART, same=keys is Keys.SAME)


@app.command()
def split(
    manifest: ManifestArgument,
    output: OutputOption,
    by: Annotated[By, typer.Option(help="site keeps whole sites together, for external validation")] = By.PATIENT,
    external: Annotated[
        list[str] | None, typer.Option(help="With --by site: a site held out from training; may be repeated")
    ] = None,
    train: Annotated[float, typer.Option(min=0, max=1, help="Share to train on")] = 0.7,
    validation: Annotated[float, typer.Option(min=0, max=1, help="Share to choose thresholds on")] = 0.15,
    test: Annotated[float, typer.Option(min=0, max=1, help="Share held out for testing")] = 0.15,
    folds: Annotated[
        int, typer.Option(min=0, max=100, help="Folds of a cross-validation on all but the test split")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed and rows give the same splits")] = 0,
    root: RootOption = None,
    exclude_finding: ExcludeFindingOption = None,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Split by patient, stratified by pathology and BI-RADS, and write the manifest with its splits.

    Nothing is written if a row is bad, or if a patient or an image would be in two splits.
    """
    from worker.dataset.check import digest_of
    from worker.dataset.inclusion_flow import parts_of
    from worker.dataset.manifest_file import require_free, write_manifest
    from worker.dataset.splits import Plan, leaks, split_rows

    require_free(output)

    if (by is By.SITE) != bool(external):
        raise SetupRefused(Code.SPLIT_IMPOSSIBLE, "--by site and --external go together: name the external sites")
    if root is None and output.parent.resolve() != manifest.parent.resolve():
        raise SetupRefused(
            Code.DATASET_INVALID, "its paths are relative to its folder: write the output there, or give --root"
        )
    plan = Plan(train, validation, test, seed, folds, frozenset(external or ()))
    checked = _checked(manifest, root, exclude_finding, anew=True)
    refuse_rows(checked.faults, Code.DATASET_INVALID, "are bad, so nothing was written: fix or exclude them", fmt)
    made = split_rows(checked.sound, checked.pairs, plan)
    refuse_rows(leaks(made, checked.pairs), Code.SPLIT_LEAKS, "would be in two splits, so nothing was written", fmt)
    write_manifest(output, (made.get(line, row) for line, row in checked.manifest.rows.items()))
    digest, counts = digest_of(made, checked.prints), [asdict(part) for part in parts_of(made.values())]
    if fmt is Report.JSON:
        print_json({"seed": seed, "digest": digest, "splits": counts})
        return
    print_rows(counts, SPLIT_COLUMNS, Format.TABLE, title="splits")
    say(f"digest for the model's card: {digest}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a manifest's row: its columns and their allowed values."""
    from worker.dataset.manifest import manifest_schema

    print_json(manifest_schema())


def _checked(
    path: Path,
    root: Path | None,
    excluding: "Sequence[Finding] | None" = None,
    *,
    anew: bool = False,
    with_calipers: bool = False,
) -> "Checked":
    require_extra("worker", "dlr dataset", "PIL")
    from worker.dataset.check import check, unsplit
    from worker.dataset.manifest_file import read_manifest

    manifest = read_manifest(path, root)
    manifest = unsplit(manifest) if anew else manifest
    with progress_bar("rows") as on_progress:
        return check(manifest, on_progress=on_progress, excluding=excluding or (), with_calipers=with_calipers)


def _summary(checked: "Checked") -> dict[str, object]:
    manifest, sound = checked.manifest, checked.sound
    return {
        "rows": len(manifest.rows) + len({fault.line for fault in manifest.faults}),
        "excluded": len(manifest.rows) - len(manifest.included),
        "bad": len({fault.line for fault in checked.faults}),
        "sound": len(sound),
        "with_birads": sum(row.high_risk is not None for row in sound.values()),
        "with_age": sum(checked.ages[line] is not None for line in sound),
        "digest": checked.digest,
    }
