"""What radiologists made of the advice, as ``dlr monitor`` prints it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from worker.cli.output import Card, Format, print_rows
from worker.cli.proportion_cells import counted
from worker.clinical.agreement import Kappa, Override
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS, Proportion
from worker.monitoring.monitor import Rates
from worker.monitoring.verdicts import Agreement, Heard, Overridden

AGREEMENT_COLUMNS = (
    "group", "verdicts", "agrees_with_downgraded", "agrees_with_maintained", "agrees_with_upgraded", "kappa",
    *(way.value for way in Override), "notice",
)  # fmt: skip
OVERRIDE_COLUMNS = (
    "override", "study_id", "lesion_id", "outcome", "final_birads", "agrees", "read_at", "models", "notice",
)  # fmt: skip
OVERRIDE_CARD = Card(OVERRIDE_COLUMNS[:3], OVERRIDE_COLUMNS[3:])
CSV_COLUMNS = (
    "group", "notice", "models", "outcome", "lesions", "rate", "rate_low", "rate_high", "with_pathology", "malignant",
    "malignant_rate", "malignant_low", "malignant_high", "verdicts", "agreed", "agreed_rate", "agreed_low",
    "agreed_high", "kappa", *(way.value for way in Override), "kappa_low", "kappa_high",
)  # fmt: skip
DANGEROUS = (Override.LET_GO, Override.TOO_LOW)


def print_verdicts(heard: Heard) -> None:
    """Print the overrides in the dangerous directions, and the agreement of each group; nothing without verdicts."""
    if not heard.totals:
        return
    dangerous = [one for one in heard.overridden if one.override in DANGEROUS]
    if dangerous:
        title = "advice that radiologists found too low; let_go: down to 3, on a lesion that ends at 4 or above"
        print_rows([_override(one) for one in dangerous], OVERRIDE_COLUMNS, Format.TABLE, title, OVERRIDE_CARD)
    rows = [_agreement_row(one) for one in (*heard.totals, *heard.groups)]
    print_rows(rows, AGREEMENT_COLUMNS, Format.TABLE, title="radiologists who agree with the advice")


def verdicts_document(heard: Heard) -> dict[str, Any]:
    """Return what radiologists said as JSON has it."""
    return {
        "totals": [_agreement(one) for one in heard.totals],
        "groups": [_agreement(one) for one in heard.groups],
        "overrides": [{"override": one.override.value} | asdict(one.verdict) for one in heard.overridden],
    }


def print_csv(rates: Iterable[Rates], agreements: Iterable[Agreement]) -> None:
    """Print a row for each group and outcome: its rate, its pathology, and the verdicts on it."""
    rate_of = {(one.group, one.notice): one for one in rates}
    said_of = {(one.group, one.notice): one for one in agreements}
    rows = [
        _csv_row(key, arm, rate_of.get(key), said_of.get(key))
        for key in dict.fromkeys([*rate_of, *said_of])
        for arm in ARMS
    ]
    print_rows(rows, CSV_COLUMNS, Format.CSV)


def _csv_row(
    key: tuple[str | None, str | None], arm: Outcome, rates: Rates | None, said: Agreement | None
) -> dict[str, object]:
    group, notice = key
    models = {model for one in (rates, said) if one is not None for model in one.models}
    row: dict[str, object] = {
        "group": group,
        "notice": notice,
        "models": "; ".join(sorted(models)),
        "outcome": arm.value,
    }
    if rates is not None:
        row |= {"lesions": rates.comparison.rates[arm].count, **_interval("rate", rates.comparison.rates[arm])}
        malignant = rates.malignant[arm]
        row |= {"with_pathology": malignant.total, "malignant": malignant.count}
        row |= {name.replace("_rate_", "_"): value for name, value in _interval("malignant_rate", malignant).items()}
    if said is not None:
        agreed = said.agreed[arm]
        row |= {"verdicts": agreed.total, "agreed": agreed.count, **_kappa(said.kappa)}
        row |= {name.replace("_rate_", "_"): value for name, value in _interval("agreed_rate", agreed).items()}
        row |= {way.value: count for way, count in said.overrides.items()}
    return row


def _interval(name: str, one: Proportion) -> dict[str, float | None]:
    return {name: one.rate, f"{name}_low": one.low, f"{name}_high": one.high}


def _kappa(one: Kappa | None) -> dict[str, float | None]:
    value, low, high = (None, None, None) if one is None else (one.value, one.low, one.high)
    return {"kappa": value, "kappa_low": low, "kappa_high": high}


def _read(one: Kappa) -> str:
    """Return kappa as people read it: ``0.62 (0.48 to 0.76)``, since its ends may be negative."""
    return f"{one.value:.2f}" + ("" if one.low is None else f" ({one.low:.2f} to {one.high:.2f})")


def _agreement(one: Agreement) -> dict[str, Any]:
    return {
        "group": one.group,
        "notice": one.notice,
        "models": one.models,
        "verdicts": one.verdicts,
        "agreed": {arm.value: asdict(part) for arm, part in one.agreed.items()},
        **_kappa(one.kappa),
        "kappa_lesions": one.placed,
        "overrides": {way.value: count for way, count in one.overrides.items()},
    }


def _agreement_row(one: Agreement) -> dict[str, object]:
    return {
        "group": one.group or "all",
        "verdicts": one.verdicts,
        **{f"agrees_with_{arm.value}": counted(part) for arm, part in one.agreed.items()},
        "kappa": None if one.kappa is None else f"{_read(one.kappa)}, of {one.placed}",
        **{way.value: count or None for way, count in one.overrides.items()},
        "notice": one.notice,
    }


def _override(one: Overridden) -> Mapping[str, object]:
    verdict = one.verdict
    models = f"LH {verdict.lh_version}, BM {verdict.bm_version}"
    return asdict(verdict) | {"override": one.override.value, "models": models}
