"""What follows from a finding of the gate: the lesion is refused, or scored with a warning, or nobody is told."""

from collections.abc import Sequence

from worker.errors import Code, LesionRefused
from worker.image_access import GatePolicy, Policies
from worker.study import GateReason


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
