"""``dlr verdict``: what radiologists made of the lesions, beside the advice."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from db.errors import VerdictOutdated
from db.reads import study_queries
from db.reads.verdicts import verdicts
from worker.cli.failed import moment
from worker.cli.imported import EXIT_ROWS_LEFT_OUT, nothing_imported, print_imported
from worker.cli.lesion_options import SkipBadOption
from worker.cli.output import Card, Format, FormatOption, Report, ReportOption, print_rows
from worker.errors import Code, SetupRefused
from worker.monitoring.verdict_file import read_verdicts
from worker.monitoring.verdict_import import import_verdicts
from worker.reporting.lookup import look_up

app = typer.Typer(no_args_is_help=True)

LIST_COLUMNS = (
    "study_id", "lesion_id", "original", "outcome", "agrees", "final_birads", "reader", "read_at", "source", "tier",
    "lh_version", "bm_version", "rule_version", "scanner_model", "site", "notice",
)  # fmt: skip
LIST_CARD = Card(LIST_COLUMNS[:6], LIST_COLUMNS[6:])


@app.command("import")
def import_file(
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV or JSON with study, revision, lesion_id, final_birads, reader and read_at; optionally "
            "lh_version, bm_version, agrees and remark"
        ),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be imported, and import nothing")] = False,
    skip_bad: SkipBadOption = False,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Import verdicts: every row of a file, or none. Importing a file again changes nothing.

    Each study is marked as read. A verdict given later counts, and the earlier one is kept. A verdict on a revision, or
    on models, that are no longer current is refused. Exit status 1: a row is bad, and nothing was imported. 3: with
    --skip-bad, bad rows were left out.
    """
    from worker.runtime import sessions

    read = read_verdicts(file)
    try:
        with sessions()() as session:
            imported = import_verdicts(session, read, skip_bad=skip_bad)
            if not dry_run:
                session.commit()
    except VerdictOutdated:
        raise SetupRefused(Code.VERDICT_OUTDATED, "a study changed during the import: import the file again") from None
    print_imported(imported, fmt, "would be imported" if dry_run else "imported", dry_run=dry_run)
    if imported.bad and not skip_bad:
        codes = {row.code for row in imported.bad}
        code = Code.VERDICT_OUTDATED if codes == {Code.VERDICT_OUTDATED} else Code.VERDICT_INVALID
        raise SetupRefused(code, nothing_imported(imported))
    raise typer.Exit(EXIT_ROWS_LEFT_OUT if imported.bad else 0)


@app.command("list")
def list_verdicts(
    study: Annotated[
        str | None, typer.Option(help="Only of this study: its id, Study Instance UID or accession number")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(parser=moment, metavar="TIME", help="Only those given since then: ISO 8601, or 7d (ago)"),
    ] = None,
    disagreeing: Annotated[
        bool, typer.Option("--disagreeing", help="Only those that disagree with the advice")
    ] = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """List the verdict on each lesion beside the advice that was shown, the latest first. Remarks are on the page."""
    from worker.runtime import sessions

    with sessions()() as session:
        ids = None
        if study is not None:
            ids = {one.study_id for one in look_up(session, study, study_queries.study_details)}
        rows = [asdict(row) for row in verdicts(session, ids, since, disagreeing=disagreeing)]
    print_rows(rows, LIST_COLUMNS, fmt, "verdicts", LIST_CARD)
