"""``dlr pathology``: pathology results of lesions, beside the advice."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from db.reads.monitoring import downgraded_cancers, taken_back
from db.schema.vocabulary import PathologyFinding
from db.writes import pathology as on_record
from worker.cli.confirmation import who_asks
from worker.cli.failed import moment
from worker.cli.imported import EXIT_ROWS_LEFT_OUT, nothing_imported, print_imported
from worker.cli.lesion_options import SkipBadOption
from worker.cli.output import Card, Format, FormatOption, Report, ReportOption, print_rows, stderr
from worker.errors import Code, SetupRefused
from worker.monitoring.pathology_file import read_pathology
from worker.monitoring.pathology_import import import_pathology

app = typer.Typer(no_args_is_help=True)

LIST_COLUMNS = (
    "study_id", "lesion_id", "original", "outcome", "result", "histology", "reported_on", "recorded_at", "notice",
)  # fmt: skip
LIST_CARD = Card(LIST_COLUMNS[:5], LIST_COLUMNS[5:])


@app.command("import")
def import_results(
    file: Annotated[
        Path, typer.Argument(help="CSV or JSON with study, lesion_id, result, reported_on and optionally histology")
    ],
    skip_bad: SkipBadOption = False,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Import pathology results: every row of a file, or none. Importing a file again changes nothing.

    A result reported later replaces the earlier one, which is kept. Exit status 1: a row is bad, and nothing was
    imported. 3: with --skip-bad, bad rows were left out.
    """
    from worker.runtime import sessions

    read = read_pathology(file)
    with sessions().begin() as session:
        imported = import_pathology(session, read, who_asks(), skip_bad=skip_bad)
    print_imported(imported, fmt)
    _warn_of_missed_cancers()
    if imported.bad and not skip_bad:
        raise SetupRefused(Code.PATHOLOGY_INVALID, nothing_imported(imported))
    raise typer.Exit(EXIT_ROWS_LEFT_OUT if imported.bad else 0)


def _warn_of_missed_cancers() -> None:
    from worker.runtime import sessions

    with sessions()() as session:
        missed, once = len(downgraded_cancers(session)), len(taken_back(session))
    if missed:
        stderr.print(f"malignant but advised down to 3: {missed}. See dlr monitor", style="red", highlight=False)
    if once:
        said = f"reported malignant, then benign, and advised down to 3: {once}. See dlr monitor"
        stderr.print(said, style="red", highlight=False)


@app.command("list")
def list_results(
    result: Annotated[PathologyFinding | None, typer.Option(help="Only benign or only malignant results")] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only results imported since then: ISO 8601, or 7d (ago)"),
    ] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """List pathology results beside the advice, the latest import first."""
    from worker.runtime import sessions

    with sessions()() as session:
        rows = [asdict(row) for row in on_record.results(session, result, since)]
        left_behind = len(on_record.detached(session))
    print_rows(rows, LIST_COLUMNS, fmt, "pathology", LIST_CARD)
    if left_behind:
        stderr.print(f"{left_behind} more belong to replaced revisions: import them again", highlight=False)
