"""The rows and documents of ``dlr report``."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from worker.cli.monitor import proportions_document
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS, Proportion
from worker.reporting.cohort_table import Column, Feature, Level, Share, Spread
from worker.reporting.recorded_cohort import NoticedTable
from worker.reporting.restratification_flow import Flow
from worker.reporting.significance import printed

TABLE_COLUMNS = ("feature", "level", *Column, "p_value", "statistic", "remark", "notice")
CSV_COLUMNS = (
    "feature", "level", *Column, "p_value", "statistic",
    *(f"{column}_percent" for column in Column), "remark", "notice",
)  # fmt: skip
BAD_COLUMNS = ("line", "code", "reason")
FLOW_COLUMNS = (
    "part", "dlr_lh", "dlr_bm", "outcome", "lesions", "percent_of_4a", "with_pathology", "malignant",
    "percent_malignant", "models", "notice", "study_id", "lesion_id",
)  # fmt: skip
MISSED_COLUMNS = ("study_id", "lesion_id", "notice")
MISSING = "missing"


def title(one: NoticedTable, clusters: str) -> str:
    """Return what stands above a table: how many lesions, and of how many clusters (``patients``, ``studies``)."""
    return f"Table S1: {one.table.lesions[Column.TOTAL]} lesions of {one.table.clusters} {clusters}"


def table_rows(one: NoticedTable) -> Iterator[dict[str, object]]:
    """Return a table's rows for people: counts with their percentages, and each feature named once."""
    named = None
    for row in csv_rows(one):
        cells = {column: _with_percent(row[column], row[f"{column}_percent"]) for column in Column}
        yield row | cells | {"feature": None if row["feature"] == named else row["feature"]}
        named = row["feature"]


def _with_percent(cell: object, percent: object) -> str:
    return f"{cell}" if percent is None else f"{cell} ({percent} %)"


def csv_rows(one: NoticedTable) -> Iterator[dict[str, object]]:
    """Return a table's rows as ``table_s1.csv`` has them, with percentages of the column's known lesions."""
    yield {"feature": "n", "notice": one.notice} | dict(one.table.lesions) | _percents({})
    for feature in one.table.features:
        for row in _feature_rows(feature):
            yield row | {"feature": feature.name, "notice": one.notice}


def _feature_rows(feature: Feature) -> Iterator[dict[str, object]]:
    difference = feature.difference
    test: dict[str, object] = {
        "p_value": None if difference.p_value is None else printed(difference.p_value),
        "statistic": difference.statistic.value,
        "remark": difference.remark,
    }
    for level in feature.levels:
        yield _level_row(level) | test
        test = {}
    if feature.missing[Column.TOTAL]:
        yield {"level": MISSING} | dict(feature.missing) | _percents({})


def _level_row(level: Level) -> dict[str, object]:
    cells: dict[str, object] = {column: _cell(cell) for column, cell in level.cells.items()}
    return {"level": level.name} | cells | _percents(level.cells)


def _cell(cell: Share | Spread) -> object:
    if isinstance(cell, Share):
        return cell.count
    mean, sd = ("–" if number is None else f"{number:.2f}" for number in (cell.mean, cell.sd))
    return f"{mean}±{sd}"


def _percents(cells: Mapping[Column, Share | Spread]) -> dict[str, object]:
    return {f"{column}_percent": _percent(cells.get(column)) for column in Column}


def _percent(cell: Share | Spread | None) -> str | None:
    return f"{cell.percent:.1f}" if isinstance(cell, Share) and cell.percent is not None else None


def table_document(one: NoticedTable) -> dict[str, Any]:
    """Return a table as JSON has it, every number as it was computed."""
    return {
        "notice": one.notice,
        "lesions": dict(one.table.lesions),
        "clusters": one.table.clusters,
        "features": [_feature_document(feature) for feature in one.table.features],
    }


def _feature_document(feature: Feature) -> dict[str, Any]:
    p_value = feature.difference.p_value
    return {
        "feature": feature.name,
        "test": asdict(feature.difference) | {"printed": None if p_value is None else printed(p_value)},
        "missing": dict(feature.missing),
        "levels": [
            {"level": level.name} | {column: _cell_document(cell) for column, cell in level.cells.items()}
            for level in feature.levels
        ],
    }


def _cell_document(cell: Share | Spread) -> dict[str, Any]:
    return asdict(cell) | ({"percent": cell.percent} if isinstance(cell, Share) else {})


def flow_document(flow: Flow) -> dict[str, Any]:
    """Return a flow as JSON has it: rates from 0 to 1 with their 95 % intervals."""
    return {
        "notice": flow.notice,
        "models": flow.models,
        "lesions": flow.lesions,
        "missed_cancers": [asdict(one) for one in flow.missed],
        "arms": proportions_document(flow.arms),
        "malignant": proportions_document(flow.malignant),
        "branches": [asdict(branch) for branch in flow.branches],
        "uncertain": {"lesions": asdict(flow.uncertain), "malignant": asdict(flow.uncertain_malignant)},
    }


def flow_rows(flow: Flow) -> Iterator[dict[str, object]]:
    """Return a flow as rows: missed cancers, the four branches, what the models are not sure of, the three arms."""
    same = {"models": "; ".join(flow.models), "notice": flow.notice}
    for missed in flow.missed:
        yield {"part": "missed_cancer", "outcome": Outcome.DOWNGRADED.value} | asdict(missed) | same
    for branch in flow.branches:
        said = {
            "part": "branch",
            "dlr_lh": "high_risk" if branch.high_risk else "low_risk",
            "dlr_bm": "malignant" if branch.positive else "benign",
            "outcome": branch.outcome.value,
        }
        yield said | _counts(branch.lesions, branch.malignant) | same
    if flow.uncertain.count:
        kept = {"part": "uncertain", "outcome": Outcome.MAINTAINED.value}
        yield kept | _counts(flow.uncertain, flow.uncertain_malignant) | same
    for arm in ARMS:
        yield {"part": "arm", "outcome": arm.value} | _counts(flow.arms[arm], flow.malignant[arm]) | same


def _counts(lesions: Proportion, malignant: Proportion) -> dict[str, object]:
    return {
        "lesions": lesions.count,
        "percent_of_4a": _rounded(lesions),
        "with_pathology": malignant.total,
        "malignant": malignant.count,
        "percent_malignant": _rounded(malignant),
    }


def _rounded(one: Proportion) -> str | None:
    return None if one.rate is None else f"{100 * one.rate:.1f}"
