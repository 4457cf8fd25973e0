"""What `dlr report reading-order` finds, as one document: tables, report and plot are made of it alone."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

from pydantic import TypeAdapter

from worker.clinical.reading_order.policy import Policy
from worker.evaluation.lesions import Source
from worker.waiting_times.cohort import Cohort
from worker.waiting_times.comparison import Difference, Figures, compare
from worker.waiting_times.setting import Setting

SIMULATED = (
    "Simulated, not measured: studies come at random through the day, are scored when they come, and take equally long "
    "whatever is in them; readers share one list and lay no study aside. No hospital's waits are claimed."
)
ENRICHED = (
    "{:.0f} % of these studies are cancers, as of lesions with pathology many are. Of the studies of a day fewer are: "
    "--cancer-share."
)
OVERLOADED = "More comes than the readers can read in their hours: waits are those of overtime."
NO_INTERVALS = "There are too few patients with a cancer, or without, for intervals."


@dataclass(frozen=True, slots=True)
class CohortSize:
    """How many there are; and of what is left out how many, by the reason."""

    studies: int
    cancers: int
    patients: int
    lesions: int
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WaitingTimes:
    """All that was found.

    Attributes:
        schema_version: of this document.
        created_at: when.
        software: that found it, with its version.
        source: where the lesions come from.
        notices: what a reader has to know before any number.
        policy: the label of the policy that the other orders are held against.
        cohort: the studies.
        setting: how days were simulated.
        utilization: the share of the readers' time that the studies take.
        orders: what was measured of each, in minutes, by its name.
        differences: each order less each one before it, with paired intervals.
    """

    schema_version: Literal[1]
    created_at: datetime
    software: str
    source: Source
    notices: tuple[str, ...]
    policy: str
    cohort: CohortSize
    setting: Setting
    utilization: float
    orders: Mapping[str, Figures]
    differences: tuple[Difference, ...]


def waiting_times(
    cohort: Cohort,
    policy: Policy,
    setting: Setting,
    on_progress: Callable[[int, int], None] | None = None,
    created_at: datetime | None = None,
) -> WaitingTimes:
    """Simulate the reading of a cohort under a policy and the orders that it is held against.

    Args:
        cohort: the studies.
        policy: the site's.
        setting: how.
        on_progress: told how many simulations are done, and of how many.
        created_at: for the document; now, unless given.

    Raises:
        SetupRefused: ``lesions_too_few``: there are no studies with a cancer, or none without, or days too few.
    """
    from worker import __version__

    pool = cohort.pool(setting.cancer_share)
    found = compare(
        pool,
        cohort.orders(policy),
        setting.work,
        days=setting.days,
        resamples=setting.resamples,
        seed=setting.seed,
        on_progress=on_progress,
    )
    return WaitingTimes(
        schema_version=1,
        created_at=created_at or datetime.now(UTC),
        software=f"dlr-worker {__version__}",
        source=cohort.source,
        notices=(*cohort.notices, *_notices(cohort, setting, found.orders)),
        policy=policy.label,
        cohort=CohortSize(
            len(cohort.studies), cohort.cancers, int(pool.patients.max()) + 1, cohort.lesions, cohort.left_out
        ),
        setting=setting,
        utilization=setting.work.utilization,
        orders=found.orders,
        differences=found.differences,
    )


def _notices(cohort: Cohort, setting: Setting, orders: Mapping[str, Figures]) -> tuple[str, ...]:
    no_intervals = setting.resamples and next(iter(orders.values())).cancers_mean.low is None
    said = (
        (SIMULATED, True),
        (ENRICHED.format(100 * cohort.cancers / len(cohort.studies)), setting.cancer_share is None),
        (OVERLOADED, setting.work.utilization >= 1),
        (NO_INTERVALS, no_intervals),
    )
    return tuple(sentence for sentence, is_so in said if is_so)


@lru_cache(maxsize=1)
def _adapter() -> TypeAdapter[WaitingTimes]:
    return TypeAdapter(WaitingTimes)


def to_json(found: WaitingTimes) -> str:
    """Return the document ``waiting-times.json``."""
    return _adapter().dump_json(found, indent=2).decode() + "\n"


def as_plain(found: WaitingTimes) -> dict[str, Any]:
    """Return the document as plain values."""
    plain: dict[str, Any] = _adapter().dump_python(found, mode="json")
    return plain


def schema() -> str:
    """Return the document's JSON Schema."""
    return json.dumps(_adapter().json_schema(mode="serialization"), indent=2) + "\n"
