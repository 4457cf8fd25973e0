"""``dlr worklist``: who is read first, and the policy that says so."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from db.reads import study_queries
from worker.cli.lazy_commands import COMMANDS, Entry, LazyGroup
from worker.cli.output import Card, Format, FormatOption, print_rows, stderr


class _Worklist(LazyGroup):
    panels = {  # noqa: RUF012
        COMMANDS: (Entry("policy", "worker.cli.policy", "app", "Show, check, compare and apply a reading order."),)
    }


app = typer.Typer(cls=_Worklist)

COLUMNS = (
    "position", "study_id", "study_instance_uid", "accession_number", "revision", "priority", "worklist_class", "state",
    "highest_birads", "lesions", "lesions_scored", "upgraded", "maintained", "downgraded", "not_applicable",
    "malignant_probability", "high_risk_probability", "error_code", "error_reason", "received_at", "finished_at",
    "notice", "uncertain", "tier", "tier_title", "place_reason", "marks", "source", "site", "scanner_model",
    "laterality", "study_date", "age_years", "images", "read_at", "read_by", "policy",
)  # fmt: skip
COLUMNS_FOR_PEOPLE = (
    "position", "study_id", "accession_number", "priority", "tier", "birads", "malignant", "why", "state", "error_code",
    "notice",
)  # fmt: skip
CARD = Card(
    ("position", "study_id", "tier", "why", "error_code"),
    ("4A_lesions", "priority", "birads", "malignant", "high_risk", "state", "accession_number", "finished", "notice"),
)


@app.callback(invoke_without_command=True)
def worklist(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, help="Maximum number of studies")] = 50,
    read: Annotated[bool, typer.Option("--read", help="Show studies that were read, too; they come last")] = False,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Show the worklist in reading order, and why each study stands where it stands. A recommendation only."""
    if context.invoked_subcommand is not None:
        return
    from worker.runtime import sessions

    with sessions()() as session:
        rows = [asdict(row) for row in study_queries.worklist(session, limit, read=read)]
        counts = study_queries.counts_by_state(session)
    if fmt is Format.TABLE:
        print_rows([row | _short(row) for row in rows], COLUMNS_FOR_PEOPLE, fmt, "worklist", CARD)
    else:
        print_rows(
            [row | {"marks": ", ".join(row["marks"])} if fmt is Format.CSV else row for row in rows], COLUMNS, fmt
        )
    waiting = counts["queued"] + counts["running"]
    if waiting:
        stderr.print(f"{waiting} studies wait for their scores, and stand by the radiologist's category until then")


def _short(row: Mapping[str, Any]) -> dict[str, Any]:
    arms = ("upgraded", "maintained", "downgraded")
    counts = [f"{row[arm]} {arm}" for arm in arms if row[arm]]
    if row["uncertain"]:
        counts.append(f"models uncertain about {row['uncertain']}")
    return {
        "birads": row["highest_birads"],
        "4A_lesions": ", ".join(counts),
        "malignant": row["malignant_probability"],
        "high_risk": row["high_risk_probability"],
        "finished": row["finished_at"],
        "why": row["place_reason"],
    }
