"""How waits are said to people, in the report and on a terminal."""

from worker.waiting_times.cohort import ARRIVAL, PRIORITY
from worker.waiting_times.comparison import LONGER, Estimate
from worker.waiting_times.document import WaitingTimes

NAMES = {ARRIVAL: "order of arrival", PRIORITY: "sender's priority alone"}
"""The orders that are no policy."""


def order_name(order: str) -> str:
    """Say an order: ``order of arrival``, or a policy's label."""
    return NAMES.get(order, order)


def said_of(found: WaitingTimes) -> str:
    """Say what was simulated: ``600 studies, 248 of them cancers. 1000 days, each 76.8 studies in 8 hours; ...``."""
    size, work, share_of = found.cohort, found.setting.work, found.setting.cancer_share
    come = "" if share_of is None else f" ({100 * share_of:.3g} % of them cancers)"
    return (
        f"{size.studies} studies, {size.cancers} of them cancers. {LONGER * found.setting.days} days, each "
        f"{work.per_day:.4g} studies{come} in {work.hours:.4g} hours; {work.readers} readers, "
        f"{work.reading_minutes:.4g} minutes a study ({work.reading_time.value}), "
        f"{100 * found.utilization:.0f} % of their time."
    )


def minutes(one: Estimate, digits: int = 1) -> str:
    """Say minutes, or a difference, with its interval: ``12.8 (11.5 to 14.9)``."""
    return _said(one, 1, digits, "")


def share(one: Estimate) -> str:
    """Say a share in percent: ``20.8 % (17.7 to 23.7)``."""
    return _said(one, 100, 1, " %")


def _said(one: Estimate, times: float, digits: int, unit: str) -> str:
    value = f"{times * one.value:.{digits}f}{unit}"
    if one.low is None or one.high is None:
        return value
    return f"{value} ({times * one.low:.{digits}f} to {times * one.high:.{digits}f})"
