"""``dlr failed``: studies without a full result, and messages that could not be a study."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from db import ledger, queries
from worker.cli.output import Format, FormatOption, print_rows, stderr
from worker.cli.study import show as show_study
from worker.clinical.categories import Priority
from worker.errors import MEANINGS, Code, SetupRefused

app = typer.Typer(no_args_is_help=True)

COLUMNS = ("study_id", "state", "error_code", "error_reason", "lesions_failed", "source", "received_at", "what_to_do")


@app.command("list")
def list_failed(
    code: Annotated[Code | None, typer.Option(help="Only studies with this code")] = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """List failed and partial studies, each with its code, its reason and what to do."""
    from worker.runtime import sessions

    with sessions()() as session:
        rows = [asdict(row) for row in queries.failed(session)]
    shown = [row | {"what_to_do": _advice(row)} for row in rows if code in (None, row["error_code"])]
    print_rows(shown, COLUMNS, fmt, title="failed and partial studies")


@app.command("show")
def show_failed(
    study: Annotated[str, typer.Argument(help="The study's id, its Study Instance UID or its accession number")],
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show one failed study, with all that happened to it."""
    show_study(study, fmt)


@app.command()
def requeue(
    studies: Annotated[list[str], typer.Argument(help="Ids, Study Instance UIDs or accession numbers")],
) -> None:
    """Queue failed or partial studies again, with all their attempts, once the cause is mended."""
    from worker.app import enqueue
    from worker.runtime import sessions

    for key in studies:
        with sessions().begin() as session:
            found = queries.study_details(session, key)
            if not found:
                raise SetupRefused(Code.STUDY_NOT_FOUND)
            queued = [study for study in found if ledger.requeue(session, study.study_id)]
        for study in queued:
            enqueue(str(study.study_id), Priority(study.priority))
            stderr.print(f"{study.study_id} is queued again", highlight=False)
        if not queued:
            stderr.print(
                f"{found[0].study_id} is {found[0].state}: only a failed or partial study that was accepted can be "
                "queued again; a refused message has to be corrected and pushed anew",
                highlight=False,
            )
            raise typer.Exit(1)


def _advice(row: Mapping[str, Any]) -> str:
    code, reason = row["error_code"], row["error_reason"] or ""
    meaning = MEANINGS[Code(code)] if code in set(Code) else ""
    return "" if meaning in reason else meaning
