"""The words of the page: classes, rules, errors. Every colour and sign comes with a word."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from babel.lists import format_list
from babel.numbers import format_decimal

from db.reads.study_records import WorklistRow
from db.reads.worklist_page import COUNTED
from db.reads.worklist_page_records import ImageResultRow, LesionResultRow, ListedRow
from worker.clinical.probability import said
from worker.clinical.restratify import UNCERTAIN
from worker.errors import MEANINGS, Code
from worker.web.languages import Language, gettext_noop


@dataclass(frozen=True, slots=True)
class Label:
    """A word for people, its sign, and an explanation; both texts in English."""

    word: str
    sign: str
    more: str


CLASSES: Mapping[str, Label] = {
    "upgraded": Label(
        gettext_noop("Upgrade advised"), "▲", gettext_noop("At least one 4A lesion that both models call high")
    ),
    "needs_attention": Label(
        gettext_noop("Not fully scored"),
        "!",
        gettext_noop("Some or all lesions were not scored: a person has to look"),
    ),
    "maintained": Label(
        gettext_noop("Keep 4A"),
        "■",
        gettext_noop("A 4A lesion on which the models disagree or are not certain, and none upgraded"),
    ),
    "not_applicable": Label(
        gettext_noop("No advice"), "○", gettext_noop("Scored lesions that are not 4A; they keep their category")
    ),
    "downgraded": Label(
        gettext_noop("Downgrade advised"),
        "▼",
        gettext_noop("Every lesion is 4A, and both models call each of them low"),
    ),
}
"""The classes of the worklist, in its order."""

AGGREGATIONS: Mapping[str, str] = {
    "mean": gettext_noop("the mean of their scores"),
    "max": gettext_noop("the highest of their scores"),
    "logit_mean": gettext_noop("the mean of the logits of their scores"),
}
"""How a card says that the scores of a lesion's images become one."""

TIER_SIGNS: Mapping[str, str] = {
    "suspicious": "▲",
    "to_be_looked_at": "!",
    "undecided": "■",
    "low": "▽",
    "negative": "○",
}
"""Signs of the tiers of the default reading order; a tier of another policy has its name alone."""


def tier(name: str, title: str) -> Label:
    """Return the heading of a tier of the active policy, whose title is the policy's."""
    return Label(title, TIER_SIGNS.get(name, "•"), "")


OUTCOMES: Mapping[str, Label] = {
    "upgraded": Label(
        gettext_noop("Upgrade advised"), "▲", gettext_noop("above 4A: the study behind the rule names no category")
    ),
    "maintained": Label(gettext_noop("Keep 4A"), "■", gettext_noop("no change")),
    "not_applicable": Label(
        gettext_noop("No advice"), "○", gettext_noop("the rule applies only to 4A, so the category is unchanged")
    ),
    "downgraded": Label(gettext_noop("Downgrade advised"), "▼", gettext_noop("to BI-RADS 3")),
}

STATES: Mapping[str, str] = {
    "done": gettext_noop("Scored"),
    "partial": gettext_noop("Partly scored"),
    "failed": gettext_noop("Not scored"),
    "queued": gettext_noop("Waiting"),
    "running": gettext_noop("Being scored"),
}

PRIORITIES: Mapping[str, str] = {
    "stat": gettext_noop("Stat"),
    "urgent": gettext_noop("Urgent"),
    "routine": gettext_noop("Routine"),
}

SIDES: Mapping[str, str] = {
    "left": gettext_noop("Left"),
    "right": gettext_noop("Right"),
    "both": gettext_noop("Both breasts"),
}
"""Which breast: Image Laterality (0020,0062)."""

READ: Mapping[str, str] = {"yes": gettext_noop("Read"), "any": gettext_noop("Read or not")}
"""What can be shown beside the studies that are to be read."""

MARKS: Mapping[str, Label] = {
    "waiting": Label(gettext_noop("Waits for scores"), "…", gettext_noop("Stands by its category alone until then")),
    "corrected": Label(gettext_noop("Corrected"), "✎", gettext_noop("Keeps its place until the correction is scored")),
    "requeued": Label(gettext_noop("Scored again"), "↻", gettext_noop("Keeps its place until it is scored again")),
    "discordant": Label(
        gettext_noop("Discordant"), "≠", gettext_noop("Both models are high on a category of low suspicion")
    ),
}
"""What the worklist notes of a study; a policy's own marks have their name alone."""

SORTS: Mapping[str, str] = {
    "received": gettext_noop("Received"),
    "accession": gettext_noop("Accession number"),
    "priority": gettext_noop("Priority"),
    "scanner": gettext_noop("Scanner"),
}
"""What the list can be sorted by beside its own order."""

NO_SUCH_PLACE = gettext_noop("No study stands at this place, or it is beyond those that are counted.")

AGE_SOURCES: Mapping[str, str] = {
    "job": gettext_noop("given with the study"),
    "patient_age": gettext_noop("Patient's Age in the DICOM header"),
    "birth_date": gettext_noop("birth date and study date in the DICOM header"),
}

REGION_SOURCES: Mapping[str, str] = {
    "job": gettext_noop("region as the radiologist marked it"),
    "ultrasound_region": gettext_noop("no ROI was given: the B-mode region of the DICOM header"),
    "whole_image": gettext_noop("no ROI was given: the whole image"),
}

PLANES: Mapping[str, str] = {
    "radial": gettext_noop("radial plane"),
    "antiradial": gettext_noop("antiradial plane"),
    "transverse": gettext_noop("transverse plane"),
    "longitudinal": gettext_noop("longitudinal plane"),
    "oblique": gettext_noop("oblique plane"),
}
"""How the transducer was held, as the sender said it."""

MODEL_CLASSES: Mapping[str, str] = {
    "high_risk": gettext_noop("high risk"),
    "low_risk": gettext_noop("low risk"),
    "malignant": gettext_noop("malignant"),
    "benign": gettext_noop("benign"),
}
"""What the models say."""

CLASSES_OF: Mapping[str, tuple[str, str]] = {"DLR_BM": ("benign", "malignant"), "DLR_LH": ("low_risk", "high_risk")}
"""Of each model, the negative class and the positive one."""


@dataclass(frozen=True, slots=True)
class Words:
    """What the page says of values on record, in one language."""

    language: Language

    def rule_of(self, lesion: LesionResultRow) -> str:
        """Say why a scored lesion has its advice (`worker.clinical.restratify`), from what is on record."""
        reason = self.language(_REASONS.get("uncertain" if lesion.uncertain else lesion.outcome or "", _NOT_4A)).format(
            high_risk=self.plain(lesion.lh_class),
            malignant=self.plain(lesion.bm_class),
            category=lesion.original,
        )
        if not lesion.uncertain:
            return reason
        return f"{reason} {self.not_ruled_out(lesion)} {self.language(UNCERTAIN)}"

    def not_ruled_out(self, lesion: LesionResultRow) -> str:
        """Say which classes the models cannot rule out, for the models that were asked."""
        sets = {"DLR_LH": lesion.lh_conformal_set, "DLR_BM": lesion.bm_conformal_set}
        either, none = self.language(gettext_noop(" or ")), self.language(gettext_noop("none"))
        classes = [
            f"{name}: {either.join(map(self.plain, one)) or none}" for name, one in sets.items() if one is not None
        ]
        return self.language(gettext_noop("Not ruled out: {classes}.")).format(classes="; ".join(classes))

    def place_reason(self, row: ListedRow) -> str:
        """Say why a study stands where it stands, as the column ``place_reason`` does."""
        reason = self.language(row.reason)
        if row.deciding_lesion is None or row.deciding_birads is None:
            said = reason[:1].upper() + reason[1:]
        else:
            of_lesion = self.language(gettext_noop("Lesion {number}, BI-RADS {category}: {reason}"))
            said = of_lesion.format(number=row.deciding_lesion, category=row.deciding_birads, reason=reason)
        kept = [self.language(sentence) for mark, sentence in _KEPT.items() if mark in row.marks]
        first = self.language(gettext_noop("({priority}: before all tiers)"))
        before_all = [first.format(priority=self.language(PRIORITIES[row.priority]))] if row.is_before_all else []
        return " ".join((*kept, said, *before_all))

    def what_to_do(self, code: str | None) -> str | None:
        """Return what an error code means and what to do."""
        return None if code is None or code not in set(Code) else self.language(MEANINGS[Code(code)])

    def count(self, number: int) -> str:
        """Say a count, which is exact up to a point."""
        exact = format_decimal(min(number, COUNTED), locale=self.language.locale)
        return f"{exact}+" if number > COUNTED else exact

    def side(self, laterality: str | None) -> str:
        """Say which breast."""
        return self.language(SIDES.get(laterality or "", "–"))

    def place(self, lesion: LesionResultRow) -> str:
        """Say where in which breast a lesion is, as far as that is known; nothing where nothing is."""
        parts = (
            (gettext_noop("{value} o'clock"), lesion.clock_position),
            (gettext_noop("{value} mm from the nipple"), lesion.distance_to_nipple_mm),
            (gettext_noop("{value} mm deep"), lesion.depth_mm),
        )
        side = [self.side(lesion.laterality)] if lesion.laterality else []
        return ", ".join((*side, *(self._valued(part, value) for part, value in parts if value is not None)))

    def shown_on(self, image: ImageResultRow) -> str:
        """Say which frame an image is, and where its region came from."""
        frame = gettext_noop("Single frame") if image.frame is None else gettext_noop("Frame {number}")
        source = self.language(REGION_SOURCES.get(image.region_source or "", ""))
        return f"{self.language(frame).format(number=image.frame)}, {source}"

    def put_together(self, lesion: LesionResultRow) -> str:
        """Say how the scores of a lesion's images became one, as the cards say: once, or of each model."""
        bm, lh = lesion.bm_aggregation or "", lesion.lh_aggregation or ""
        how = {name: self.language(AGGREGATIONS.get(name, name)) for name in (bm, lh)}
        return how[bm] if bm == lh else f"DLR_BM {how[bm]}, DLR_LH {how[lh]}"

    def alone(self, model: str, probability: float, threshold: float) -> str:
        """Say which class an image by itself has."""
        negative, positive = CLASSES_OF[model]
        return self.language(MODEL_CLASSES[positive if probability >= threshold else negative])

    def numbered(self, images: Iterable[ImageResultRow]) -> str:
        """Name images by their numbers."""
        numbers = [str(image.image) for image in images]
        named = self.language.catalogue.ngettext("image {numbers}", "images {numbers}", len(numbers))
        return named.format(numbers=format_list(numbers, locale=self.language.locale))

    def disagreement(self, lesion: LesionResultRow, images: Sequence[ImageResultRow]) -> list[str]:
        """Say of each model whose threshold lies between a lesion's images which of them are on which side."""
        bm = [(image, image.malignant_probability) for image in images]
        lh = [(image, image.high_risk_probability) for image in images]
        asked = (("DLR_BM", lesion.bm_threshold, bm), ("DLR_LH", lesion.lh_threshold, lh))
        return [
            self._sides(model, *sides)
            for model, threshold, scores in asked
            if threshold is not None and all(sides := on_each_side(scores, threshold))
        ]

    def _sides(self, model: str, these: Sequence[ImageResultRow], others: Sequence[ImageResultRow]) -> str:
        negative, positive = (self.language(MODEL_CLASSES[one]) for one in CLASSES_OF[model])
        return self.language(gettext_noop("{model}: {these} {positive}, {others} {negative}.")).format(
            model=model, these=self.numbered(these), positive=positive, others=self.numbered(others), negative=negative
        )

    def doubted(self, finding: str, images: Iterable[ImageResultRow]) -> str:
        """Name the images that a reason for doubt is of, at the beginning of a sentence."""
        named = self.numbered(image for image in images if finding in image.gate)
        return named[:1].upper() + named[1:]

    def _valued(self, sentence: str, value: float) -> str:
        return self.language(sentence).format(value=format_decimal(value, locale=self.language.locale))

    def mark(self, name: str) -> Label:
        """Return a mark of the list."""
        return MARKS.get(name, Label(name.replace("_", " "), "•", ""))

    def plain(self, word: str | None) -> str:
        """Return a word of a card or of the history as people write it: ``high_risk`` is high risk."""
        return self.language((word or "").replace("_", " "))


_KEPT: Mapping[str, str] = {
    "corrected": gettext_noop("Keeps its place until the correction is scored."),
    "requeued": gettext_noop("Keeps its place until it is scored again."),
}

_NOT_4A = gettext_noop(
    "DLR_LH says {high_risk} and DLR_BM says {malignant}. The rule applies only to BI-RADS 4A, so {category} stays "
    "{category}."
)

_REASONS: Mapping[str, str] = {
    "uncertain": gettext_noop("DLR_LH says {high_risk} and DLR_BM says {malignant}."),
    "upgraded": gettext_noop(
        "DLR_LH says {high_risk} and DLR_BM says {malignant}: both high, so a 4A lesion is advised above 4A."
    ),
    "downgraded": gettext_noop(
        "DLR_LH says {high_risk} and DLR_BM says {malignant}: both low, so a 4A lesion is advised down to BI-RADS 3."
    ),
    "maintained": gettext_noop(
        "DLR_LH says {high_risk} and DLR_BM says {malignant}: they disagree, so a 4A lesion stays 4A."
    ),
}


def on_each_side(
    scores: Iterable[tuple[ImageResultRow, float | None]], threshold: float
) -> tuple[list[ImageResultRow], list[ImageResultRow]]:
    """Return the images that reach a threshold, and those that do not; an image without a score is in neither."""
    scored = [(image, probability) for image, probability in scores if probability is not None]
    reach = [image for image, probability in scored if probability >= threshold]
    return reach, [image for image, probability in scored if probability < threshold]


def notices_of(rows: Iterable[WorklistRow | LesionResultRow]) -> list[str]:
    """Return the notices of the models behind these results, each once."""
    return sorted({row.notice for row in rows if row.notice})


def probability(value: float | None, threshold: float | None = None) -> str:
    """Format a probability, 0 to 1, or a dash if there is none (`worker.clinical.probability`)."""
    return "–" if value is None else said(value, threshold)
