"""What a reader has to know before any number."""

from collections.abc import Iterator, Mapping, Sequence

from db.schema.vocabulary import BM_MODEL
from worker.dataset.manifest import Split
from worker.evaluation.calibration import fits
from worker.evaluation.document import Question
from worker.evaluation.lesions import JudgedLesion, Material, Scorer, Source
from worker.evaluation.operating_threshold import Operating

NEVER_A_DIAGNOSIS = (
    "Scores are a recommendation, never a diagnosis. This report does not say whether a model is fit for patients."
)
MIX = "PPV, NPV and accuracy hold only for these lesions' mix of benign and malignant."
SELECTED = (
    "Only lesions with a pathology result are counted. A downgraded lesion is seldom biopsied, so sensitivity is "
    "overestimated, and cancers among the downgraded are found late or never."
)
LESIONS_ALONE = "The lesions' patients are not known: every interval assumes independent lesions."
CLUSTERED = (
    "Some patients have several lesions. Wilson's and DeLong's intervals assume independent lesions and are too "
    "narrow; those of the bootstrap resample patients."
)
STUDIES = "Studies are used as patients: two studies of one patient count as two patients."
OPTIMISTIC = (
    "The threshold of {names} was chosen on the lesions that it is measured on, so the figures there are better "
    "than on new lesions."
)
LEARNED = (
    "These are lesions of the split {split}. A model that was trained with these splits has learned from them, or was "
    "selected on them, and does better on them than on others."
)
NO_SPLITS = "No row has a split, so all are used. Make sure that no model was trained on any of them."
VALIDATED = (
    "Temperatures of {names}, and thresholds that are not on a card, were found on the lesions of the split validation."
)
FITTED = (
    "Temperatures of {names}, and thresholds by Youden's index and by sensitivity, were found on the lesions that they "
    "are measured on. Of a temperature the bias is small; at these thresholds figures are better than on new lesions."
)
UNFITTED = (
    "No temperature fits {names}: the scores separate the classes perfectly, or hardly at all. The figures after "
    "scaling are at a limit of the search range, and mean nothing."
)
NAMES = (
    "Missed cancers are listed by the lesion ids of the file: make sure that they identify nobody before sharing this."
)
LH_LEARNT = (
    "DLR_LH learnt to tell BI-RADS 3 and below from 4A and above. So it is measured against the category, which is the "
    "radiologist's opinion and not the truth; for comparison also against pathology."
)


def notices_of(
    material: Material,
    tested: Sequence[JudgedLesion],
    operating: Mapping[Scorer, Operating],
    questions: Sequence[Question],
    validated: Mapping[str, bool],
) -> tuple[str, ...]:
    """Return what a reader has to know, the models' own notices first.

    Args:
        material: what is evaluated.
        tested: the lesions that are measured on.
        operating: the threshold of each version.
        questions: what was found.
        validated: of each version, whether its temperature and the thresholds for comparison were found on other
            lesions than the tested ones.
    """
    return tuple(dict.fromkeys(_notices(material, tested, operating, questions, validated)))


def _notices(
    material: Material,
    tested: Sequence[JudgedLesion],
    operating: Mapping[Scorer, Operating],
    questions: Sequence[Question],
    validated: Mapping[str, bool],
) -> Iterator[str]:
    yield from (f"{one.name}: {one.notice}" for one in material.scorers if one.notice)
    yield NEVER_A_DIAGNOSIS
    yield from material.notices
    yield from about_splits(material.source, tested)
    chosen_here = [one.name for one, found in operating.items() if found.chosen_on_tested]
    if chosen_here:
        yield OPTIMISTIC.format(names=" and of ".join(chosen_here))
    for sentence, apart in ((VALIDATED, True), (FITTED, False)):
        if names := [name for name, is_apart in validated.items() if is_apart is apart]:
            yield sentence.format(names=" and of ".join(names))
    judged = [one for question in questions for one in question.judged]
    unfitted = [
        f"{one.model} {one.version}" for one in judged if one.calibration and not fits(one.calibration.temperature)
    ]
    if unfitted:
        yield UNFITTED.format(names=" and ".join(unfitted))
    if any(one.model != BM_MODEL for one in material.scorers):
        yield LH_LEARNT
    yield MIX
    yield from _about_patients(tested)
    if material.source is Source.DATABASE:
        yield from (STUDIES, SELECTED)
    else:
        yield NAMES


def about_splits(source: Source, tested: Sequence[JudgedLesion]) -> Iterator[str]:
    """Say where a model may have learned from the lesions that are measured on."""
    yield from (LEARNED.format(split=split) for split in (Split.TRAIN, Split.VALIDATION) if _are_of(tested, split))
    if source is Source.MANIFEST and all(lesion.split is None for lesion in tested):
        yield NO_SPLITS


def _are_of(tested: Sequence[JudgedLesion], split: Split) -> bool:
    return any(lesion.split is split for lesion in tested)


def _about_patients(tested: Sequence[JudgedLesion]) -> Iterator[str]:
    patients = [lesion.patient for lesion in tested]
    if None in patients:
        yield LESIONS_ALONE
    elif len(set(patients)) < len(patients):
        yield CLUSTERED
