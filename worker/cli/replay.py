"""``dlr replay``: what other thresholds would have advised. Read-only."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from db.reads import monitoring
from worker.cli.monitor import (
    SinceOption,
    comparison_document,
    comparison_row,
    malignant_cells,
    proportions_document,
)
from worker.cli.output import Card, Format, Report, ReportOption, print_json_stream, print_rows, stdout
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS
from worker.monitoring.replay import Replay, Replayed, ReplayedRates, sum_up, under
from worker.monitoring.threshold_policy import Policy, read_policy

EXIT_MISSED_CANCER = 3

LESION_COLUMNS = (
    "study_id", "lesion_id", "from", "to", "high_risk", "malignant", "not_certain", "pathology", "models", "notice",
)  # fmt: skip
LESION_CARD = Card(LESION_COLUMNS[:4], LESION_COLUMNS[4:])
MOVE_COLUMNS = ("from", "to_downgraded", "to_maintained", "to_upgraded", "notice")
RATE_COLUMNS = (
    "thresholds", "4A_lesions", "downgraded", "maintained", "upgraded", "p_value", "against_the_study", "models",
    "notice",
)  # fmt: skip
PATHOLOGY_COLUMNS = (
    "thresholds", "malignant_of_downgraded", "malignant_of_maintained", "malignant_of_upgraded", "notice",
)  # fmt: skip


def replay(
    policy: Annotated[Path, typer.Option(help="Thresholds to try, a JSON file (docs/safety.md)")],
    since: SinceOption = None,
    limit: Annotated[
        int, typer.Option(min=0, help="Maximum number of changed lesions in the table; JSON has all")
    ] = 50,
    fmt: ReportOption = Report.TABLE,
) -> None:
    """Show what other thresholds would have advised on the lesions on record, from their stored scores.

    Lists first the cancers that would be advised down, then how many lesions would change and which. Nothing is written
    and no model runs. Exit status 3: a known cancer would be advised down.
    """
    tried = read_policy(policy)
    with snapshot() as session:
        tried.require_known(monitoring.model_versions(session))
        found = sum_up(_replayed(session, tried, since), limit if fmt is Report.TABLE else 0)
        if fmt is Report.JSON:
            moved = (_row(one) for one in _replayed(session, tried, since) if one.moved)
            print_json_stream(_document(tried, since, found), "moved", moved)
        else:
            _print(found)
    raise typer.Exit(EXIT_MISSED_CANCER if found.missed else 0)


@contextmanager
def snapshot() -> Iterator[Session]:
    """A session that sees one moment of the ledger and can write nothing."""
    from worker.runtime import sessions

    with sessions()() as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True})
        yield session


def _replayed(session: Session, policy: Policy, since: datetime | None) -> Iterator[Replayed]:
    return under(policy, monitoring.scored_lesions(session, since))


def _document(policy: Policy, since: datetime | None, found: Replay) -> dict[str, Any]:
    return {
        "policy": policy.model_dump(exclude_none=True),
        "since": since,
        "missed_cancers": [_row(one) for one in found.missed],
        "rates": [_rates(one) for one in found.rates],
    }


def _rates(one: ReplayedRates) -> dict[str, Any]:
    return {
        "notice": one.notice,
        "models": one.models,
        "moves": {before.value: {after.value: one.moves[before, after] for after in ARMS} for before in ARMS},
        "before": comparison_document(one.before) | {"malignant": proportions_document(one.malignant_before)},
        "after": comparison_document(one.after) | {"malignant": proportions_document(one.malignant_after)},
    }


def _row(one: Replayed) -> dict[str, object]:
    lesion = one.lesion
    return {
        "study_id": lesion.study_id,
        "lesion_id": lesion.lesion_id,
        "from": one.before.value,
        "to": one.after.value,
        "high_risk_probability": lesion.high_risk_probability,
        "lh_threshold": one.lh_threshold,
        "malignant_probability": lesion.malignant_probability,
        "bm_threshold": one.bm_threshold,
        "uncertain": one.uncertain,
        "pathology": {None: None, True: "malignant", False: "benign"}[lesion.malignant],
        "lh_version": lesion.lh_version,
        "bm_version": lesion.bm_version,
        "notice": lesion.notice,
    }


def _cells(one: Replayed) -> dict[str, object]:
    """A lesion as a row of a table, each score with the policy's threshold."""
    lesion = one.lesion
    return _row(one) | {
        "high_risk": f"{lesion.high_risk_probability:.4f} / {one.lh_threshold:.4g}",
        "malignant": f"{lesion.malignant_probability:.4f} / {one.bm_threshold:.4g}",
        "not_certain": "kept" if one.uncertain else None,
        "models": f"LH {lesion.lh_version}, BM {lesion.bm_version}",
    }


def _print(found: Replay) -> None:
    if found.missed:
        sentence = f"ALERT downgraded_cancer: this policy advises {len(found.missed)} known cancers down to BI-RADS 3"
        stdout.print(sentence, style="red", highlight=False)
        print_rows(
            [_cells(one) for one in found.missed],
            LESION_COLUMNS,
            Format.TABLE,
            "missed cancers (score / threshold of the policy)",
            LESION_CARD,
        )
    for one in found.rates:
        print_rows([_move_row(one, arm) for arm in ARMS], MOVE_COLUMNS, Format.TABLE, title="lesions, from and to")
    sides = [side for one in found.rates for side in _sides(one)]
    print_rows(sides, RATE_COLUMNS, Format.TABLE, title="rates of the 4A lesions")
    print_rows(sides, PATHOLOGY_COLUMNS, Format.TABLE, title="malignant, of those with a pathology result")
    shown = [_cells(one) for one in found.moved]
    print_rows(
        shown, LESION_COLUMNS, Format.TABLE, "lesions that change (score / threshold of the policy)", LESION_CARD
    )
    more = sum(count for one in found.rates for (before, after), count in one.moves.items() if before is not after)
    if more > len(shown):
        stdout.print(f"and {more - len(shown)} more (--limit, or --format json)", highlight=False)


def _move_row(one: ReplayedRates, before: Outcome) -> dict[str, object]:
    return {"from": before.value, "notice": one.notice} | {
        f"to_{after.value}": one.moves[before, after] for after in ARMS
    }


def _sides(one: ReplayedRates) -> list[dict[str, object]]:
    sides = (("on record", one.before, one.malignant_before), ("the policy's", one.after, one.malignant_after))
    return [
        comparison_row(comparison)
        | malignant_cells(malignant)
        | {"thresholds": name, "models": "; ".join(one.models), "notice": one.notice}
        for name, comparison, malignant in sides
    ]
