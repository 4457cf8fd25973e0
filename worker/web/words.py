"""The words of the page: classes, rules, errors. Every colour and sign comes with a word."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from db.reads.study_records import WorklistRow
from db.reads.worklist_page_records import LesionResultRow
from worker.clinical.probability import said
from worker.clinical.restratify import UNCERTAIN
from worker.errors import MEANINGS, Code


@dataclass(frozen=True, slots=True)
class Label:
    """A word for people, its sign, and an explanation."""

    word: str
    sign: str
    more: str


CLASSES: Mapping[str, Label] = {
    "upgraded": Label("Upgrade advised", "▲", "At least one 4A lesion that both models call high"),
    "needs_attention": Label("Not fully scored", "!", "Some or all lesions were not scored: a person has to look"),
    "maintained": Label(
        "Keep 4A", "■", "A 4A lesion on which the models disagree or are not certain, and none upgraded"
    ),
    "not_applicable": Label("No advice", "○", "Scored lesions that are not 4A; they keep their category"),
    "downgraded": Label("Downgrade advised", "▼", "Every lesion is 4A, and both models call each of them low"),
}
"""The classes of the worklist, in its order."""

OUTCOMES: Mapping[str, Label] = {
    "upgraded": Label("Upgrade advised", "▲", "above 4A: the study behind the rule names no category"),
    "maintained": Label("Keep 4A", "■", "no change"),
    "not_applicable": Label("No advice", "○", "the rule applies only to 4A, so the category is unchanged"),
    "downgraded": Label("Downgrade advised", "▼", "to BI-RADS 3"),
}

STATES: Mapping[str, str] = {
    "done": "Scored",
    "partial": "Partly scored",
    "failed": "Not scored",
    "queued": "Waiting",
    "running": "Being scored",
}

PRIORITIES: Mapping[str, str] = {"stat": "Stat", "urgent": "Urgent", "routine": "Routine"}

AGE_SOURCES: Mapping[str, str] = {
    "job": "given with the study",
    "patient_age": "Patient's Age in the DICOM header",
    "birth_date": "birth date and study date in the DICOM header",
}

REGION_SOURCES: Mapping[str, str] = {
    "job": "as the radiologist marked it",
    "ultrasound_region": "no ROI was given: the B-mode region of the DICOM header",
    "whole_image": "no ROI was given: the whole image",
}


def rule_of(lesion: LesionResultRow) -> str:
    """Say why a scored lesion has its advice (`worker.clinical.restratify`), from what is on record."""
    classes = f"DLR_LH says {plain(lesion.lh_class)} and DLR_BM says {plain(lesion.bm_class)}"
    if lesion.uncertain:
        return f"{classes}. {not_ruled_out(lesion)} {UNCERTAIN}"
    match lesion.outcome:
        case "upgraded":
            return f"{classes}: both high, so a 4A lesion is advised above 4A."
        case "downgraded":
            return f"{classes}: both low, so a 4A lesion is advised down to BI-RADS 3."
        case "maintained":
            return f"{classes}: they disagree, so a 4A lesion stays 4A."
        case _:
            return f"{classes}. The rule applies only to BI-RADS 4A, so {lesion.original} stays {lesion.original}."


def not_ruled_out(lesion: LesionResultRow) -> str:
    """Say which classes the models cannot rule out, for the models that were asked."""
    asked = (("DLR_LH", lesion.lh_conformal_set), ("DLR_BM", lesion.bm_conformal_set))
    said_of = [f"{name}: {' or '.join(map(plain, found)) or 'none'}" for name, found in asked if found is not None]
    return f"Not ruled out: {'; '.join(said_of)}."


def what_to_do(code: str | None) -> str | None:
    """Return what an error code means and what to do."""
    return None if code is None or code not in set(Code) else MEANINGS[Code(code)]


def notices_of(rows: Iterable[WorklistRow | LesionResultRow]) -> list[str]:
    """Return the notices of the models behind these results, each once."""
    return sorted({row.notice for row in rows if row.notice})


def moment(at: datetime | None) -> str:
    """Format a time in this machine's time zone."""
    return "" if at is None else f"{at.astimezone():%d %b %Y %H:%M}"


def zone() -> str:
    """Name this machine's time zone."""
    return datetime.now().astimezone().strftime("%Z")


def second(at: datetime) -> str:
    """Format a time to the second in this machine's time zone."""
    return f"{at.astimezone():%d %b %Y %H:%M:%S}"


def plain(word: str | None) -> str:
    """Return a word of a card or of the history as people write it: ``high_risk`` is high risk."""
    return (word or "").replace("_", " ")


def probability(value: float | None, threshold: float | None = None) -> str:
    """Format a probability, 0 to 1, or a dash if there is none (`worker.clinical.probability`)."""
    return "–" if value is None else said(value, threshold)
