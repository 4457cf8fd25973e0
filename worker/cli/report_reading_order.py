"""``dlr report reading-order``: how long cancers, and all others, would wait under several orders of the worklist."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.dataset_options import ExcludeFindingOption
from worker.cli.lesion_options import (
    BmThresholdOption,
    LhThresholdOption,
    ManifestOption,
    ReportFolderOption,
    RootOption,
    SkipBadOption,
    refuse_other_sources,
)
from worker.cli.monitor import SinceOption
from worker.cli.output import Card, Format, FormatOption, print_json, print_rows, say, stdout
from worker.cli.policy_given import policy_given
from worker.cli.progress import progress_bar
from worker.cli.refusals import refuse_bad_rows, refuse_without, scored_manifest
from worker.clinical.reading_order.policy import DEFAULT, Policy, built_in, parse_policy
from worker.dataset.finding import Finding
from worker.dataset.manifest import Split
from worker.errors import Code
from worker.evaluation.evaluation_options import SEED, Options
from worker.extras import require_extra
from worker.waiting_times.setting import DAYS, RESAMPLES, UTILIZATION, ReadingTime, Setting, Workload

if TYPE_CHECKING:
    from worker.waiting_times.cohort import Cohort
    from worker.waiting_times.comparison import Figures
    from worker.waiting_times.document import WaitingTimes

EXIT_LOOK = 3

FIGURE_COLUMNS = ("cancers_mean", "cancers_p90", "others_mean", "others_p90", "cancers_in_the_first_tenth")
ORDER_COLUMNS = ("order", *FIGURE_COLUMNS)
DIFFERENCE_COLUMNS = ("order", "less", *FIGURE_COLUMNS)
CSV_COLUMNS = ("order", "less", "figure", "unit", "value", "low", "high")
LEFT_OUT_COLUMNS = ("left_out", "how_many")


def reading_order(
    scores: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Table of lesions with scores, as `dlr evaluate` reads it"),
    ] = None,
    manifest: ManifestOption = None,
    from_database: Annotated[
        bool, typer.Option("--from-database", help="Studies on record that have a pathology result")
    ] = False,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|LABEL",
            help=f"Policy of reading order (default: {DEFAULT}; with --from-database the active one)",
        ),
    ] = None,
    output: ReportFolderOption = None,
    readers: Annotated[int, typer.Option(min=1, max=100, help="Readers who share the list")] = 2,
    utilization: Annotated[
        float | None,
        typer.Option(min=0.01, max=2, help=f"Share of their time that the studies take (default: {UTILIZATION})"),
    ] = None,
    per_day: Annotated[
        float | None, typer.Option(min=1, max=100_000, help="Studies a day, instead of --utilization")
    ] = None,
    hours: Annotated[float, typer.Option(min=1, max=24, help="Hours of a day in which studies come")] = 8,
    reading_minutes: Annotated[
        float, typer.Option(min=0.1, max=600, help="Minutes that reading a study takes, in the mean")
    ] = 10,
    reading_time: Annotated[ReadingTime, typer.Option(help="How reading times are spread")] = ReadingTime.EXPONENTIAL,
    reading_variation: Annotated[
        float, typer.Option(min=0.01, max=10, help="Standard deviation over mean, of lognormal reading times")
    ] = 0.5,
    cancer_share: Annotated[
        float | None,
        typer.Option(min=0.0001, max=0.9999, help="Share of the studies that are cancers (default: as in the lesions)"),
    ] = None,
    days: Annotated[
        int, typer.Option(min=1, max=100_000, help="Days of each resample; figures are of ten times as many")
    ] = DAYS,
    lh_threshold: LhThresholdOption = None,
    bm_threshold: BmThresholdOption = None,
    split: Annotated[Split, typer.Option(help="Split to take, where lesions have one")] = Split.TEST,
    root: RootOption = None,
    since: SinceOption = None,
    exclude_finding: ExcludeFindingOption = None,
    skip_bad: SkipBadOption = False,
    resamples: Annotated[
        int, typer.Option(min=0, max=100_000, help="Bootstrap resamples; 0 for no intervals")
    ] = RESAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all that is drawn")] = SEED,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Simulate how long cancers, and all others, wait to be read under four orders of the same studies.

    The orders: as they arrive, by the sender's priority alone, by the policy outcome/1, and by the site's policy.
    Exit status 3: bad rows were left out. 1: a row is bad, and nothing was simulated.
    """
    refuse_other_sources(scores, manifest, root, since, from_database=from_database)
    refuse_without("--exclude-finding", exclude_finding, "--manifest", manifest)
    if utilization is not None and per_day is not None:
        raise typer.BadParameter("give one of the two", param_hint="--utilization, --per-day")
    require_extra("train", "dlr report reading-order", "sklearn")
    from worker.waiting_times.document import waiting_times

    if output is not None:
        from worker.evaluation.report_folder import check_writable

        check_writable(output)
    asked = None if policy is None else policy_given(policy)[0]
    options = Options(lh_threshold=lh_threshold, bm_threshold=bm_threshold, split=split)
    comes = per_day or (UTILIZATION if utilization is None else utilization) * readers * hours * 60 / reading_minutes
    work = Workload(readers, comes, hours, reading_minutes, reading_time, reading_variation)
    if from_database:
        cohort, active = _recorded(since)
        listed_by, bad = asked or active, False
    else:
        cohort, bad = _judged(scores, manifest, root, options, exclude_finding, skip_bad=skip_bad)
        listed_by = asked or built_in(DEFAULT)
    with progress_bar("simulations") as on_progress:
        found = waiting_times(cohort, listed_by, Setting(work, days, cancer_share, resamples, seed), on_progress)
    if output is not None:
        _write(found, output)
    _print(found, fmt)
    raise typer.Exit(EXIT_LOOK if bad else 0)


def _recorded(since: datetime | None) -> "tuple[Cohort, Policy]":
    """Return the studies on record, and the policy that lists them."""
    from db.reads.study_queries import active_policy
    from worker.runtime import sessions
    from worker.waiting_times.recorded_cohort import recorded_cohort

    with sessions()() as session:
        return recorded_cohort(session, since), parse_policy(active_policy(session))


def _judged(
    scores: Path | None,
    manifest: Path | None,
    root: Path | None,
    options: Options,
    excluding: Sequence[Finding] | None,
    *,
    skip_bad: bool,
) -> "tuple[Cohort, bool]":
    """Return the studies, and whether rows were left out."""
    from worker.waiting_times.cohort import judged_cohort

    if scores is not None:
        from worker.evaluation.scores_file import read_scores

        read = read_scores(scores)
        refuse_bad_rows(read.bad, Code.SCORES_INVALID, "simulated", skip_bad=skip_bad)
        return judged_cohort(read.material, read.unscored, options), bool(read.bad)
    assert manifest is not None  # noqa: S101  one of the two is given
    scored, faults = scored_manifest(manifest, root, options.split, "simulated", excluding, skip_bad=skip_bad)
    return judged_cohort(scored.material, (), options), bool(faults)


def _write(found: "WaitingTimes", output: Path) -> None:
    from worker.evaluation.report_folder import REPORT_FILE
    from worker.waiting_times.report import write_report

    write_report(found, output)
    say(f"written: {output / REPORT_FILE}")


def _print(found: "WaitingTimes", fmt: Format) -> None:
    if fmt is Format.JSON:
        from worker.waiting_times.document import as_plain

        print_json(as_plain(found))
        return
    if fmt is Format.CSV:
        print_rows(list(_csv_rows(found)), CSV_COLUMNS, fmt)
        return
    from worker.waiting_times.formatting import order_name, said_of

    for notice in found.notices:
        stdout.print(f"note: {notice}", markup=False, highlight=False)
    left_out = [{"left_out": reason, "how_many": count} for reason, count in found.cohort.left_out.items()]
    if left_out:
        print_rows(left_out, LEFT_OUT_COLUMNS, fmt, title="left out")
    stdout.print(said_of(found), markup=False, highlight=False, soft_wrap=True)
    rows = [{"order": order_name(order)} | _cells(figures) for order, figures in found.orders.items()]
    print_rows(rows, ORDER_COLUMNS, fmt, "minutes until a study is opened", Card(ORDER_COLUMNS[:1], FIGURE_COLUMNS))
    differences = [
        {"order": order_name(one.first), "less": order_name(one.second)} | _cells(one.figures)
        for one in found.differences
    ]
    title = "differences on the same days, with paired 95 % intervals"
    print_rows(differences, DIFFERENCE_COLUMNS, fmt, title, Card(DIFFERENCE_COLUMNS[:2], FIGURE_COLUMNS))


def _cells(figures: "Figures") -> dict[str, object]:
    from worker.waiting_times.formatting import minutes, share

    waits = (figures.cancers_mean, figures.cancers_p90, figures.others_mean, figures.others_p90)
    return dict(zip(FIGURE_COLUMNS, (*map(minutes, waits), share(figures.first_tenth)), strict=True))


def _csv_rows(found: "WaitingTimes") -> Iterator[dict[str, object]]:
    """A row for each figure: of the orders, and of the differences, which name the other order under ``less``."""
    parts = [(order, None, figures) for order, figures in found.orders.items()]
    for order, less, figures in [*parts, *((one.first, one.second, one.figures) for one in found.differences)]:
        values = (
            figures.cancers_mean,
            figures.cancers_p90,
            figures.others_mean,
            figures.others_p90,
            figures.first_tenth,
        )
        for name, one in zip(FIGURE_COLUMNS, values, strict=True):
            unit = "share" if one is figures.first_tenth else "minutes"
            said = {"order": order, "less": less, "figure": name, "unit": unit}
            yield said | {"value": one.value, "low": one.low, "high": one.high}
