"""``dlr monitor``: the advice on 4A lesions against the study and pathology. Missed cancers come first."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from worker.cli.failed import moment
from worker.cli.output import Card, Format, FormatOption, print_json, print_rows, say, stdout
from worker.cli.proportion_cells import counted, percent
from worker.cli.verdict_rows import print_csv, print_verdicts, verdicts_document
from worker.clinical.categories import Outcome
from worker.clinical.proportions import (
    ARMS,
    STUDY,
    STUDY_UPGRADED_MALIGNANT,
    Comparison,
    Proportion,
    proportion,
    study_rate,
)
from worker.inference.registry import Registry
from worker.inference.shares import percent as share_percent
from worker.monitoring.monitor import By, Rates, Watched, watch
from worker.monitoring.verdicts import Heard, hear
from worker.settings import get_settings

EXIT_ALERT = 3

CANCER_COLUMNS = (
    "study_id", "lesion_id", "high_risk_probability", "malignant_probability", "models", "recorded_at", "notice",
)  # fmt: skip
CANCER_CARD = Card(CANCER_COLUMNS[:2], CANCER_COLUMNS[2:])
RATE_COLUMNS = (
    "group", "4A_lesions", "downgraded", "maintained", "upgraded", "p_value", "against_the_study", "models", "notice",
)  # fmt: skip
PATHOLOGY_COLUMNS = ("group", "malignant_of_downgraded", "malignant_of_maintained", "malignant_of_upgraded", "notice")
ALL = "all"

SinceOption = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="DATE", help="Only lesions scored since then: ISO 8601, or 30d (ago)"),
]


def monitor(
    by: Annotated[By | None, typer.Option(help="Also show the rates for each of these")] = None,
    since: SinceOption = None,
    fmt: FormatOption = Format.TABLE,
) -> None:
    """Compare the advice on 4A lesions with the study's rates, with pathology and with radiologists' verdicts.

    Lists first the cancers that were advised down, then advice that radiologists found too low, then the rates of
    downgraded, maintained and upgraded lesions and of agreement, with 95 % intervals. While a version has a share of
    the studies, the rates are shown by model unless --by says else. Exit status 3: there is an alert, and a person has
    to look.
    """
    from worker.runtime import sessions

    shares = Registry(get_settings().models_dir).shares()
    by = by or (By.MODEL if shares else None)
    with sessions()() as session:
        seen, heard = watch(session, by, since), hear(session, by, since)
    match fmt:
        case Format.JSON:
            verdicts = {"verdicts": verdicts_document(heard)}
            print_json({"since": since, "by": by, "study": _study()} | _document(seen) | verdicts)
        case Format.CSV:
            print_csv((*seen.totals, *seen.groups), (*heard.totals, *heard.groups))
        case _:
            _print(seen, heard)
    for name, one in shares.items():
        say(f"{name} {one.version} scores {share_percent(one.share)} of the studies; "
            f"both versions in the same time: dlr monitor --since {one.since.isoformat()}")  # fmt: skip
    raise typer.Exit(EXIT_ALERT if seen.alerts else 0)


def _print(seen: Watched, heard: Heard) -> None:
    for alert in seen.alerts:
        stdout.print(f"ALERT {alert.alarm.value}: {alert.sentence}", style="red", markup=False, highlight=False)
    if seen.cancers:
        cancers = [asdict(one) | {"models": f"LH {one.lh_version}, BM {one.bm_version}"} for one in seen.cancers]
        print_rows(cancers, CANCER_COLUMNS, Format.TABLE, "downgraded cancers", CANCER_CARD)
    rates = (*seen.totals, *seen.groups)
    print_rows(
        [_study_row(), *map(rate_row, rates)],
        RATE_COLUMNS,
        Format.TABLE,
        title="rates of the 4A lesions; *: the study's rate is outside the interval",
    )
    print_rows([_study_pathology_row(), *map(_pathology_row, rates)], PATHOLOGY_COLUMNS, Format.TABLE,
               title="malignant, of those with a pathology result")  # fmt: skip
    print_verdicts(heard)
    if not seen.alerts:
        stdout.print("no alert", highlight=False)


def _document(seen: Watched) -> dict[str, Any]:
    return {
        "alerts": [asdict(alert) for alert in seen.alerts],
        "downgraded_cancers": [asdict(one) for one in seen.cancers],
        "cancers_taken_back": [asdict(one) for one in seen.taken_back],
        "pathology_left_behind": [asdict(one) for one in seen.left_behind],
        "totals": [_rates(one) for one in seen.totals],
        "groups": [_rates(one) for one in seen.groups],
    }


def _study() -> dict[str, Any]:
    upgraded = STUDY[Outcome.UPGRADED]
    return {
        "lesions": sum(STUDY.values()),
        "rates": {arm.value: asdict(study_rate(arm)) for arm in ARMS},
        "malignant": {Outcome.UPGRADED.value: asdict(proportion(STUDY_UPGRADED_MALIGNANT, upgraded))},
    }


def _rates(one: Rates) -> dict[str, Any]:
    return {
        "group": one.group,
        "notice": one.notice,
        "models": one.models,
        **comparison_document(one.comparison),
        "malignant": proportions_document(one.malignant),
    }


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it."""
    return {
        "lesions": comparison.lesions,
        "rates": proportions_document(comparison.rates),
        "outside": [arm.value for arm in comparison.outside],
        "chi_squared": comparison.chi_squared,
        "p_value": comparison.p_value,
        "verdict": comparison.verdict.value,
    }


def proportions_document(proportions: Mapping[Outcome, Proportion]) -> dict[str, Any]:
    """Return proportions as JSON has them, by the names of their arms."""
    return {arm.value: asdict(one) for arm, one in proportions.items()}


def rate_row(one: Rates) -> dict[str, object]:
    """Return rates as one row of a table; a star marks an interval that does not hold the study's rate."""
    return comparison_row(one.comparison) | {
        "group": one.group or ALL, "models": "; ".join(one.models), "notice": one.notice,
    }  # fmt: skip


def comparison_row(comparison: Comparison) -> dict[str, object]:
    """Return a comparison's cells: the lesions, each arm's rate, the test and what it says."""
    cells: dict[str, object] = {
        arm.value: f"{percent(rate)}{' *' if arm in comparison.outside else ''}"
        for arm, rate in comparison.rates.items()
    }
    return cells | {
        "4A_lesions": comparison.lesions,
        "p_value": None if comparison.p_value is None else f"{comparison.p_value:.2g}",
        "against_the_study": comparison.verdict.value.replace("_", " "),
    }


def _study_row() -> dict[str, object]:
    rates: dict[str, object] = {arm.value: percent(study_rate(arm)) for arm in ARMS}
    return rates | {"group": "the study", "4A_lesions": sum(STUDY.values())}


def _study_pathology_row() -> dict[str, object]:
    upgraded = proportion(STUDY_UPGRADED_MALIGNANT, STUDY[Outcome.UPGRADED])
    return {"group": "the study", "malignant_of_upgraded": counted(upgraded)}


def _pathology_row(one: Rates) -> dict[str, object]:
    return malignant_cells(one.malignant) | {"group": one.group or ALL, "notice": one.notice}


def malignant_cells(malignant: Mapping[Outcome, Proportion]) -> dict[str, object]:
    """Return the malignant lesions of each arm as cells of a table."""
    return {f"malignant_of_{arm.value}": counted(part) for arm, part in malignant.items()}
