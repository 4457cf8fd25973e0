"""``dlr report``: the study's Table S1 and Fig. S5 for your own lesions, and how long studies wait to be read."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from worker.cli import report_rows
from worker.cli.monitor import SinceOption
from worker.cli.output import Format, FormatOption, print_json, print_rows, stderr, stdout, writing_to
from worker.cli.report_reading_order import reading_order
from worker.errors import Code, SetupRefused
from worker.reporting.cohort_file import CohortManifest, read_cohort
from worker.reporting.cohort_table import cohort_table
from worker.reporting.flow_diagram import svg_of, text_of
from worker.reporting.recorded_cohort import NoticedTable, recorded_cohort
from worker.reporting.restratification_flow import Flow, flows

app = typer.Typer(no_args_is_help=True)
app.command("reading-order")(reading_order)

EXIT_MISSED_CANCER = 3


class FlowFormat(StrEnum):
    """How a flow is drawn or written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    SVG = "svg"


@app.command("cohort")
def cohort(
    manifest: Annotated[
        Path | None,
        typer.Option(help="CSV, Parquet or JSON with a row per lesion, see docs/research.md (default: the database)"),
    ] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Summarise benign and malignant lesions as in the study's Table S1, with its tests.

    Uses a manifest, or the database's current lesions with scores and imported pathology results. Exit status 1: a row
    of the manifest is bad, and nothing was counted.
    """
    try:
        tables, notes = _recorded() if manifest is None else _listed(read_cohort(manifest), fmt)
    except ImportError:
        reason = "Table S1's tests need the extra: pip install 'dlr-worker[train]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    if fmt is Format.JSON:
        print_json({"notes": notes, "tables": [report_rows.table_document(one) for one in tables]})
    elif fmt is Format.CSV:
        rows = [row for one in tables for row in report_rows.csv_rows(one)]
        print_rows(rows, report_rows.CSV_COLUMNS, fmt)
    else:
        _print_tables(tables, "studies" if manifest is None else "patients")
    for sentence in notes.values():
        stderr.print(sentence, highlight=False, soft_wrap=True)


def _listed(read: CohortManifest, fmt: Format) -> tuple[Sequence[NoticedTable], dict[str, str]]:
    if read.bad:
        bad = [asdict(one) for one in read.bad]
        print_rows(bad, report_rows.BAD_COLUMNS, fmt, title="bad rows")
        rows = len(read.lines) + len(bad)
        reason = f"{len(bad)} of {rows} rows are bad, so nothing was counted: fix them"
        raise SetupRefused(Code.DATASET_INVALID, reason)
    said = {
        "excluded": (read.excluded, "left out: {} rows marked as excluded"),
        "repeated": (read.repeated, "counted once: lesions repeated in {} rows"),
        "absent": (len(read.absent), f"the manifest has no column {', '.join(read.absent)}"),
        "unread": (read.unread, "columns of the manifest that Table S1 does not use: {}"),
    }
    notes = {name: sentence.format(count) for name, (count, sentence) in said.items() if count}
    return [NoticedTable(None, cohort_table([line.lesion() for line in read.lines.values()]))], notes


def _recorded() -> tuple[Sequence[NoticedTable], dict[str, str]]:
    from db.reads.described_lesions import described_lesions
    from worker.runtime import sessions

    with sessions()() as session:
        found = recorded_cohort(described_lesions(session))
    notes = {}
    if found.unscored:
        notes["unscored"] = f"left out: {found.unscored} lesions with pathology but without scores (dlr failed)"
    if found.purged:
        notes["purged"] = f"left out: {found.purged} lesions of purged studies, whose descriptors are gone"
    return found.tables, notes


def _print_tables(tables: Sequence[NoticedTable], clusters: str) -> None:
    for one in tables:
        title = report_rows.title(one, clusters)
        print_rows(list(report_rows.table_rows(one)), report_rows.TABLE_COLUMNS, Format.TABLE, title=title)
    if not tables:
        stdout.print("no lesion with scores has a pathology result: dlr pathology import", highlight=False)


@app.command("restratification")
def restratification(
    since: SinceOption = None,
    fmt: Annotated[
        FlowFormat, typer.Option("--format", "-f", help="table and svg for people, json and csv for programs")
    ] = FlowFormat.TABLE,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File (default: standard output)")] = None,
) -> None:
    """Draw what happened to the 4A lesions as in the study's Fig. S5, with the pathology of each arm.

    Missed cancers (malignant lesions that were advised down) come first. Exit status 3: there is one.
    """
    from db.reads.monitoring import scored_lesions
    from worker.runtime import sessions

    with sessions()() as session:
        found = flows(scored_lesions(session, since))
    with writing_to(output):
        _print_flows(found, fmt, {"since": since})
    missed = sum(len(flow.missed) for flow in found)
    if missed and (fmt is not FlowFormat.TABLE or output is not None):
        stderr.print(f"malignant but advised down to 3: {missed}. See dlr monitor", style="red", highlight=False)
    raise typer.Exit(EXIT_MISSED_CANCER if missed else 0)


def _print_flows(found: Sequence[Flow], fmt: FlowFormat, head: dict[str, Any]) -> None:
    match fmt:
        case FlowFormat.SVG:
            sys.stdout.write(svg_of(found))
        case FlowFormat.JSON:
            print_json(head | {"flows": [report_rows.flow_document(flow) for flow in found]})
        case FlowFormat.CSV:
            rows = [row for flow in found for row in report_rows.flow_rows(flow)]
            print_rows(rows, report_rows.FLOW_COLUMNS, Format.CSV)
        case FlowFormat.TABLE:
            for flow in found:
                _draw(flow)
            if not found:
                stdout.print("no 4A lesion has scores", highlight=False)


def _draw(flow: Flow) -> None:
    missed = [asdict(one) | {"notice": flow.notice} for one in flow.missed]
    if missed:
        sentence = f"ALERT downgraded_cancer: {len(missed)} malignant lesions were advised down to BI-RADS 3"
        stdout.print(sentence, style="red", highlight=False)
        print_rows(missed, report_rows.MISSED_COLUMNS, Format.TABLE, title="missed cancers")
    for line in filter(None, [flow.notice, *text_of(flow)]):
        stdout.print(line, markup=False, highlight=False, soft_wrap=True)
    stdout.print("; ".join(flow.models), markup=False, highlight=False, soft_wrap=True)
