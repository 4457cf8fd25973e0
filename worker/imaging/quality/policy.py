"""What follows from a quality finding: the lesion is refused, or scored with a warning, or nobody is told."""

from collections.abc import Sequence

from db.schema.vocabulary import QualityFinding
from worker.errors import Code, LesionRefused
from worker.image_access import QualityPolicies, QualityPolicy


def quality_warnings(findings: Sequence[QualityFinding], policies: QualityPolicies) -> tuple[QualityFinding, ...]:
    """Return the findings that are warnings, in their order.

    Raises:
        LesionRefused: the first finding that is to refuse, whose code has the finding's name.
    """
    with_policy = [(finding, policies.get(finding, QualityPolicy.WARN)) for finding in findings]
    for finding, policy in with_policy:
        if policy is QualityPolicy.REFUSE:
            raise LesionRefused(Code(finding.value))
    return tuple(finding for finding, policy in with_policy if policy is QualityPolicy.WARN)
