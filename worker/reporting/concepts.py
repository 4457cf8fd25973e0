"""The codes of every document: standard ones where there are, else of our own scheme 99DLR.

What DLR recommends is never coded as a radiologist's assessment is: it has a name and values of its own, so that no
reader of Assessment Category (111005, DCM) takes one for the other.
"""

from typing import Final, NamedTuple

from db.schema.vocabulary import AgeSource, Laterality, Plane, QualityFinding, RegionSource
from worker.clinical.birads_codes import CATEGORIES, MEANINGS
from worker.clinical.categories import Birads, Outcome, Recommendation

OWN: Final = "99DLR"
OWN_UID: Final = "2.25.177045756323611896799636850352734573293"
"""Of the coding scheme 99DLR (PS3.3, C.12.1.1, Coding Scheme Identification)."""

VERSIONS: Final = {"BI": "4.0"}
"""Versions of the coding schemes whose codes mean nothing without one (PS3.3, table 8.8-1)."""


class Concept(NamedTuple):
    """A coded concept: code value (at most 16 characters, or a long code), scheme designator, meaning (at most 64)."""

    value: str
    scheme: str
    meaning: str


def _own(value: str, meaning: str) -> Concept:
    return Concept(value, OWN, meaning)


ASSESSMENT: Final = Concept("111005", "DCM", "Assessment Category")
SUBJECT_AGE: Final = Concept("121033", "DCM", "Subject Age")
COMMENT: Final = Concept("121106", "DCM", "Comment")
LESION: Final = Concept("52988006", "SCT", "Lesion")
BREAST: Final = Concept("76752008", "SCT", "Breast")
ULTRASONOGRAPHY: Final = Concept("47079000", "SCT", "Ultrasonography of breast")
IMAGING_PROCEDURE: Final = Concept("363679005", "SCT", "Imaging procedure")
"""What TID 1500, row 4, takes as a procedure is of CID 100, which has no ultrasonography: its most general member."""

LATERALITY: Final = Concept("272741003", "SCT", "Laterality")
CLOCKFACE: Final = Concept("111014", "DCM", "Clockface or region")
FROM_NIPPLE: Final = Concept("121242", "DCM", "Distance from nipple")
FROM_SKIN: Final = Concept("121243", "DCM", "Distance from skin")
"""Both distances are of CID 6165, Breast Linear Measurement."""

VIEW: Final = Concept("111031", "DCM", "Image View")
YES: Final = Concept("373066001", "SCT", "Yes")
"""Of CID 230, Yes-No."""

REPORT: Final = Concept("126000", "DCM", "Imaging Measurement Report")

RATIO: Final = Concept("1", "UCUM", "no units")
MILLIMETRE: Final = Concept("mm", "UCUM", "millimeter")
YEAR: Final = Concept("a", "UCUM", "year")

RECOMMENDED: Final = _own("RECOMMENDED", "BI-RADS category recommended by DLR, not by a radiologist")
OUTCOME: Final = _own("OUTCOME", "Re-stratification of BI-RADS 4A by DLR")
LH_CLASS: Final = _own("LH_CLASS", "DLR_LH: class predicted at its threshold")
BM_CLASS: Final = _own("BM_CLASS", "DLR_BM: class predicted at its threshold")
LOW_RISK: Final = _own("P_LOW_RISK", "DLR_LH: probability of low risk")
HIGH_RISK: Final = _own("P_HIGH_RISK", "DLR_LH: probability of high risk")
BENIGN: Final = _own("P_BENIGN", "DLR_BM: probability of benign")
MALIGNANT: Final = _own("P_MALIGNANT", "DLR_BM: probability of malignant")
LH_THRESHOLD: Final = _own("T_HIGH_RISK", "DLR_LH: high risk from this probability on")
BM_THRESHOLD: Final = _own("T_MALIGNANT", "DLR_BM: malignant from this probability on")
AGE_SOURCE: Final = _own("AGE_SOURCE", "Where the age comes from that was used")
REGION_SOURCE: Final = _own("REGION_SOURCE", "Where the region comes from that was scored")
QUALITY_FINDING: Final = _own("GATE", "What speaks against the region that was scored")
WIDTH: Final = _own("REGION_WIDTH", "Width of the region that was scored")
HEIGHT: Final = _own("REGION_HEIGHT", "Height of the region that was scored")
ASPECT_RATIO: Final = _own("ASPECT_RATIO", "Height to width of the region that was scored")
IMAGES: Final = _own("IMAGES", "Number of images of the lesion")
IMAGES_REFUSED: Final = _own("IMAGES_REFUSED", "Number of images of the lesion that could not be scored")
LH_SPREAD: Final = _own("HIGH_RISK_SPREAD", "DLR_LH: highest less lowest probability of high risk by an image")
BM_SPREAD: Final = _own("MALIGNANT_SPREAD", "DLR_BM: highest less lowest probability of malignant by an image")
VIEWS_DISAGREE: Final = _own("VIEWS_DISAGREE", "Images of the lesion lie on both sides of a threshold")
IMAGE: Final = _own("IMAGE", "Number of the image among those of the lesion, from 1")
IMAGE_HIGH_RISK: Final = _own("I_HIGH_RISK", "DLR_LH: probability of high risk by this image alone")
IMAGE_MALIGNANT: Final = _own("I_MALIGNANT", "DLR_BM: probability of malignant by this image alone")
NOT_SCORED: Final = _own("NOT_SCORED", "Why DLR gives no scores")
RULE: Final = _own("RULE", "Version of the re-stratification rule")
UNCERTAIN: Final = _own("UNCERTAIN", "Why DLR keeps the lesion in BI-RADS 4A")
LH_SET: Final = _own("LH_SET", "DLR_LH: classes that it can not rule out")
BM_SET: Final = _own("BM_SET", "DLR_BM: classes that it can not rule out")
NOTICE: Final = _own("NOTICE", "What this result is not")
MODEL: Final = _own("MODEL", "Model, its version, and the SHA-256 of weights and card")

ORIGINALS: Final = {
    CATEGORIES[code]: Concept(code[1], code[0], meaning) for code, meaning in MEANINGS.items()
}  # fmt: skip
"""What the radiologist said (PS3.16, CID 6027)."""

LATERALITIES: Final = {
    Laterality.LEFT: Concept("7771000", "SCT", "Left"),
    Laterality.RIGHT: Concept("24028007", "SCT", "Right"),
}
"""Of a finding site (PS3.16, CID 244). A lesion is in one breast, so "both", of an image, says nothing of it."""

SIDES: Final = {
    Laterality.LEFT: Concept("80248007", "SCT", "Left breast"),
    Laterality.RIGHT: Concept("73056007", "SCT", "Right breast"),
}
"""The breast in one code (PS3.16, CID 6022), where a site has no modifiers."""

CLOCK_POSITIONS: Final = {
    hour: Concept(code, "SCT", f"{hour} o'clock position")
    for hour, code in enumerate(
        (
            "129772004", "129773009", "129774003", "129775002", "129776001", "129777005",
            "129778000", "129779008", "129780006", "129781005", "129782003", "129783008",
        ),
        start=1,
    )
}  # fmt: skip
"""The hours of PS3.16, CID 6018, Clockface Location or Region."""

PLANES: Final = {
    Plane.TRANSVERSE: Concept("62824007", "SCT", "Transverse"),
    Plane.LONGITUDINAL: Concept("38717003", "SCT", "Longitudinal"),
    Plane.OBLIQUE: Concept("21114003", "SCT", "Oblique"),
    Plane.RADIAL: _own("RADIAL", "Radial"),
    Plane.ANTIRADIAL: _own("ANTIRADIAL", "Antiradial"),
}
"""How the transducer was held (PS3.16, CID 6), which has neither the radial nor the antiradial plane."""

RECOMMENDATIONS: Final = {
    Recommendation.PROBABLY_BENIGN: _own("REC_3", "DLR recommends BI-RADS 3"),
    Recommendation.LOW_SUSPICION: _own("REC_4A", "DLR recommends BI-RADS 4A"),
    Recommendation.ABOVE_LOW_SUSPICION: _own("REC_ABOVE_4A", "DLR recommends a category above BI-RADS 4A"),
}
"""What can be recommended for a 4A lesion; for any other nothing is."""

OUTCOMES: Final = {
    Outcome.UPGRADED: _own("UPGRADED", "Upgrade above BI-RADS 4A is recommended"),
    Outcome.MAINTAINED: _own("MAINTAINED", "Keeping BI-RADS 4A is recommended"),
    Outcome.DOWNGRADED: _own("DOWNGRADED", "Downgrade to BI-RADS 3 is recommended"),
    Outcome.NOT_APPLICABLE: _own("NOT_APPLICABLE", "Not applicable: the lesion is not BI-RADS 4A"),
}

AGE_SOURCES: Final = {
    AgeSource.JOB: _own("SENDER", "Given by the sender"),
    AgeSource.PATIENT_AGE: _own("PATIENT_AGE", "Patient's Age (0010,1010)"),
    AgeSource.BIRTH_DATE: _own("BIRTH_DATE", "Study Date less Patient's Birth Date"),
}

REGION_SOURCES: Final = {
    RegionSource.JOB: _own("SENDER", "Given by the sender"),
    RegionSource.ULTRASOUND_REGION: _own("US_REGION", "B-mode region in the image's header"),
    RegionSource.WHOLE_IMAGE: _own("WHOLE_IMAGE", "The whole image"),
}

QUALITY_FINDINGS: Final = {
    reason: _own(reason.value.upper(), f"Warning: {reason.value.replace('_', ' ').replace('roi', 'region')}")
    for reason in QualityFinding
}

LH_CLASSES: Final = (
    _own("LOW_RISK", "Predicted low risk; not a diagnosis"),
    _own("HIGH_RISK", "Predicted high risk; not a diagnosis"),
)
BM_CLASSES: Final = (
    _own("BENIGN", "Predicted benign; not a diagnosis"),
    _own("MALIGNANT", "Predicted malignant; not a diagnosis"),
)
"""By whether the positive class is predicted."""


def failure(code: str) -> Concept:
    """Return the value of `NOT_SCORED` for one of our error codes."""
    return _own(code.upper(), f"Not scored: {code}")


def original(category: str) -> Concept:
    """Return the code of a radiologist's category."""
    return ORIGINALS[Birads(category)]
