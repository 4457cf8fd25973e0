"""The words of the database's enumerations, in the order in which SQL sorts them.

``worker`` takes these words from here, all but the medicine: `worker.clinical` imports nothing, so its words are
repeated, and a test compares them.
"""

from enum import StrEnum

LH_MODEL = "DLR_LH"
"""The model that tells low from high risk."""

BM_MODEL = "DLR_BM"
"""The model that tells benign from malignant."""

ATTEMPTS_EXHAUSTED = "attempts_exhausted"
"""The error code of a study that was started as often as is allowed."""


class Priority(StrEnum):
    """How urgently the sender wants a study read; SQL sorts ``stat`` first."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"


class StudyState(StrEnum):
    """``queued -> running -> done | partial | failed``."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"


OPEN_STATES = (StudyState.QUEUED, StudyState.RUNNING)
"""States of a study that still waits for its result."""

ENDED_STATES = (StudyState.DONE, StudyState.PARTIAL, StudyState.FAILED)
"""States of a study that has ended."""


class WorklistClass(StrEnum):
    """What became of an ended study's 4A lesions; the tiers of the reading order ``outcome/1``."""

    UPGRADED = "upgraded"
    NEEDS_ATTENTION = "needs_attention"
    MAINTAINED = "maintained"
    NOT_APPLICABLE = "not_applicable"
    DOWNGRADED = "downgraded"


class LesionState(StrEnum):
    """Whether a lesion has its scores."""

    WAITING = "waiting"
    SCORED = "scored"
    FAILED = "failed"


class Birads(StrEnum):
    """The radiologist's category, in order of suspicion. ``4`` is 4 without a letter."""

    INCOMPLETE = "0"
    NEGATIVE = "1"
    BENIGN = "2"
    PROBABLY_BENIGN = "3"
    SUSPICIOUS = "4"
    LOW_SUSPICION = "4A"
    MODERATE_SUSPICION = "4B"
    HIGH_SUSPICION = "4C"
    HIGHLY_SUGGESTIVE = "5"
    KNOWN_MALIGNANCY = "6"


class Recommendation(StrEnum):
    """The recommended category, in order of suspicion."""

    INCOMPLETE = "0"
    NEGATIVE = "1"
    BENIGN = "2"
    PROBABLY_BENIGN = "3"
    SUSPICIOUS = "4"
    LOW_SUSPICION = "4A"
    ABOVE_LOW_SUSPICION = ">4A"
    MODERATE_SUSPICION = "4B"
    HIGH_SUSPICION = "4C"
    HIGHLY_SUGGESTIVE = "5"
    KNOWN_MALIGNANCY = "6"


class Outcome(StrEnum):
    """What re-stratification says about one lesion."""

    UPGRADED = "upgraded"
    MAINTAINED = "maintained"
    NOT_APPLICABLE = "not_applicable"
    DOWNGRADED = "downgraded"


class AgeSource(StrEnum):
    """Where a lesion's age came from."""

    JOB = "job"
    PATIENT_AGE = "patient_age"
    BIRTH_DATE = "birth_date"


class RegionSource(StrEnum):
    """Where a lesion's region came from."""

    JOB = "job"
    ULTRASOUND_REGION = "ultrasound_region"
    WHOLE_IMAGE = "whole_image"


class Laterality(StrEnum):
    """The breast that an image, or a study's images, show."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


class Plane(StrEnum):
    """How the transducer was held: along a line from the nipple, across it, across or along the body, or between."""

    RADIAL = "radial"
    ANTIRADIAL = "antiradial"
    TRANSVERSE = "transverse"
    LONGITUDINAL = "longitudinal"
    OBLIQUE = "oblique"


class PolicyState(StrEnum):
    """How far a policy of reading order is: its places are being computed, are served, or were."""

    BUILDING = "building"
    ACTIVE = "active"
    RETIRED = "retired"


class Mark(StrEnum):
    """What a place on the worklist is marked with.

    ``waiting``: not scored yet. ``corrected`` and ``requeued``: the place of an earlier result, kept until the new one
    is there. ``discordant``: both models are high on a lesion of BI-RADS 1, 2 or 3.
    """

    WAITING = "waiting"
    CORRECTED = "corrected"
    REQUEUED = "requeued"
    DISCORDANT = "discordant"


class PathologyFinding(StrEnum):
    """What pathology said of a lesion."""

    BENIGN = "benign"
    MALIGNANT = "malignant"


class FinalCategory(StrEnum):
    """The category that a radiologist ends at, in order of suspicion. ``4`` is 4 without a letter."""

    INCOMPLETE = "0"
    NEGATIVE = "1"
    BENIGN = "2"
    PROBABLY_BENIGN = "3"
    SUSPICIOUS = "4"
    LOW_SUSPICION = "4A"
    MODERATE_SUSPICION = "4B"
    HIGH_SUSPICION = "4C"
    HIGHLY_SUGGESTIVE = "5"
    KNOWN_MALIGNANCY = "6"


class ReadingSource(StrEnum):
    """How a reading came."""

    PAGE = "page"
    IMPORT = "import"


class Destination(StrEnum):
    """The destinations that had a name before a site could give one; the table `delivery` has these alone."""

    PACS = "pacs"
    UPS = "ups"
    WEBHOOK = "webhook"


class DeliveryState(StrEnum):
    """How far a delivery is; ``obsolete``: its result was replaced, put aside or purged before it was sent,
    or the destination does not take it."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"
    OBSOLETE = "obsolete"


class QualityFinding(StrEnum):
    """What speaks against scoring a lesion's region; ``lesion.gate`` holds those that were warnings.

    Each is an error code too (`worker.errors.Code`), for where it is no warning.
    """

    DOPPLER_IN_ROI = "doppler_in_roi"
    COLOUR_IN_ROI = "colour_in_roi"
    DUAL_VIEW_SEAM_IN_ROI = "dual_view_seam_in_roi"
    OVERLAY_IN_ROI = "overlay_in_roi"
    ROI_OUTSIDE_BMODE = "roi_outside_bmode"
    ROI_TOO_SMALL = "roi_too_small"
    ROI_BLANK = "roi_blank"
    ROI_SATURATED = "roi_saturated"


class Event(StrEnum):
    """What can happen to a study. A column of text: a new event needs no migration."""

    RECEIVED = "received"
    UNCHANGED = "unchanged"
    EARLIER_REVISION = "earlier_revision"
    PRIORITY_RAISED = "priority_raised"
    REVISED = "revised"
    SUPERSEDED = "superseded"
    REFUSED = "refused"
    RETIRED = "retired"
    CLAIMED = "claimed"
    ATTEMPT_FAILED = "attempt_failed"
    RELEASED = "released"
    STRANDED = "stranded"
    REQUEUED = "requeued"
    DISCARDED = "discarded"
    PURGED = "purged"
    PATHOLOGY = "pathology"
    UNREAD = "unread"
    READ = "read"
    DONE = "done"
    PARTIAL = "partial"
    FAILED = "failed"


class PathologyChange(StrEnum):
    """What a reported result changed."""

    NEW = "new"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"
    OUTDATED = "outdated"


class VerdictChange(StrEnum):
    """What a verdict changed; ``outdated``: it is kept, and a later reading's counts."""

    NEW = "new"
    CORRECTED = "corrected"
    UNCHANGED = "unchanged"
    OUTDATED = "outdated"


class Change(StrEnum):
    """What a pushed study changed."""

    NEW = "new"
    UNCHANGED = "unchanged"
    PRIORITY_RAISED = "priority_raised"
    REVISED = "revised"
    EARLIER_REVISION = "earlier_revision"
