"""What follows from a finding of the gate: the lesion is refused, or scored with a warning, or nobody is told."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from worker.errors import Code, LesionRefused
from worker.study import GateReason


class GatePolicy(StrEnum):
    """What one finding does."""

    REFUSE = "refuse"
    WARN = "warn"
    OFF = "off"


Policies = Mapping[GateReason, GatePolicy]
"""What each finding does; ``warn`` where one is left out."""


def warnings_of(found: Sequence[GateReason], policies: Policies) -> tuple[GateReason, ...]:
    """Return the findings that are warnings, in their order.

    Raises:
        LesionRefused: the first finding that is to refuse, whose code has the finding's name.
    """
    told = [(reason, policies.get(reason, GatePolicy.WARN)) for reason in found]
    for reason, policy in told:
        if policy is GatePolicy.REFUSE:
            raise LesionRefused(Code(reason.value))
    return tuple(reason for reason, policy in told if policy is GatePolicy.WARN)
