"""The coded BI-RADS categories, as DICOM reports carry them (PS3.16, CID 6027 "Assessment From BI-RADS", 20050822).

SRT and UMLS are other codes of the same concepts, which archives hold too. "4 - Suspicious" without a letter says
neither 4A nor 4B nor 4C, and nobody guesses the letter: it is a category of its own.
"""

from worker.clinical.categories import Birads

CATEGORIES: dict[tuple[str, str], Birads] = {
    ("SCT", "397138000"): Birads.INCOMPLETE,
    ("SCT", "397140005"): Birads.NEGATIVE,
    ("SCT", "397141009"): Birads.BENIGN,
    ("SCT", "397143007"): Birads.PROBABLY_BENIGN,
    ("SCT", "397144001"): Birads.SUSPICIOUS,
    ("BI", "MA.II.A.5.4A"): Birads.LOW_SUSPICION,
    ("BI", "MA.II.A.5.4B"): Birads.MODERATE_SUSPICION,
    ("BI", "MA.II.A.5.4C"): Birads.HIGH_SUSPICION,
    ("SCT", "397145000"): Birads.HIGHLY_SUGGESTIVE,
    ("BI", "MA.II.A.5.6"): Birads.KNOWN_MALIGNANCY,
    ("SRT", "F-037BB"): Birads.INCOMPLETE,
    ("SRT", "F-037BC"): Birads.NEGATIVE,
    ("SRT", "F-037BD"): Birads.BENIGN,
    ("SRT", "F-037BF"): Birads.PROBABLY_BENIGN,
    ("SRT", "F-037C0"): Birads.SUSPICIOUS,
    ("SRT", "F-037C1"): Birads.HIGHLY_SUGGESTIVE,
    ("UMLS", "C1301244"): Birads.INCOMPLETE,
    ("UMLS", "C1301245"): Birads.NEGATIVE,
    ("UMLS", "C1301246"): Birads.BENIGN,
    ("UMLS", "C1301247"): Birads.PROBABLY_BENIGN,
    ("UMLS", "C1301248"): Birads.SUSPICIOUS,
    ("UMLS", "C1301249"): Birads.HIGHLY_SUGGESTIVE,
}
"""(coding scheme designator, code value) -> category."""

ASSESSMENT = {("DCM", "111005")}
"""The concept "Assessment Category", whose value is one of these codes."""

MEANINGS: dict[tuple[str, str], str] = {
    ("SCT", "397138000"): "0 - Incomplete: Needs additional imaging evaluation",
    ("SCT", "397140005"): "1 - Negative",
    ("SCT", "397141009"): "2 - Benign finding",
    ("SCT", "397143007"): "3 - Probably benign",
    ("SCT", "397144001"): "4 - Suspicious",
    ("BI", "MA.II.A.5.4A"): "4A - Low suspicion",
    ("BI", "MA.II.A.5.4B"): "4B - Intermediate suspicion",
    ("BI", "MA.II.A.5.4C"): "4C - Moderate suspicion",
    ("SCT", "397145000"): "5 - Highly suggestive of malignancy",
    ("BI", "MA.II.A.5.6"): "6 - Known biopsy proven malignancy",
}
"""The codes that CID 6027 has now, one a category, and their meanings: what is written."""
