"""The vocabulary of the rules: BI-RADS categories, outcomes and recommendations.

BI-RADS is the American College of Radiology's Breast Imaging Reporting and Data System, 5th edition (2013).
"""

from enum import StrEnum


class Birads(StrEnum):
    """The assessment category that a radiologist gave a lesion."""

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
    """The category recommended for a lesion, in order of suspicion.

    The study says that an upgrade leads above 4A and not to which category, so an upgrade is ``>4A`` and never
    a category that nobody published. The declaration order is the sort order, in Python and in SQL.
    """

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
    """What re-stratification says about one lesion (Fig. S5)."""

    UPGRADED = "upgraded"
    MAINTAINED = "maintained"
    NOT_APPLICABLE = "not_applicable"
    DOWNGRADED = "downgraded"


class Priority(StrEnum):
    """How urgently the sender wants a study read."""

    STAT = "stat"
    URGENT = "urgent"
    ROUTINE = "routine"
