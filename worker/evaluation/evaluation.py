"""All that is measured of models on lesions with pathology."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import combinations

import numpy as np

from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.calibration import Calibration, reliability, scaled, temperature
from worker.evaluation.caveats import notices_of
from worker.evaluation.decision_curve import decision_curve
from worker.evaluation.discrimination import Scores, auc, compare_aucs, roc
from worker.evaluation.document import HISTOGRAM_BINS, Cohort, Compared, Evaluation, Judged, Question, ScoreHistogram
from worker.evaluation.evaluation_options import ChosenBy, Options
from worker.evaluation.ground_truth import OWN, SENTENCES, Answers, Truth, answers
from worker.evaluation.lesions import CATEGORIES, JudgedLesion, Material, Pair, Scorer
from worker.evaluation.operating_threshold import Operating, as_operated, operating_of, thresholds_of
from worker.evaluation.resampling import bootstrap
from worker.evaluation.restratification import Restratification, restratification
from worker.evaluation.subgroups import UNKNOWN, subgroups
from worker.evaluation.thresholds import OperatingPoint, operating_point, sensitivity_threshold, youden_threshold
from worker.evaluation.views import views


def evaluate(material: Material, options: Options, created_at: datetime | None = None) -> Evaluation:
    """Measure models on lesions with pathology.

    Where lesions are of splits, those of one split are measured on. Those of ``validation`` then choose thresholds and
    temperatures, if there are any, and all others are left out.

    Args:
        material: the lesions and their scores.
        options: how.
        created_at: for the document; now, unless given.

    Raises:
        SetupRefused: ``lesions_too_few``: no version has scores of benign and of malignant lesions, or none is of the
            split that is measured on.
    """
    from worker import __version__

    tested, validation = set_apart(material.lesions, options.split)
    if material.lesions and not tested:
        there = ", ".join(sorted({one.split.value for one in material.lesions if one.split is not None}))
        reason = f"no lesion is of the split {options.split.value}; of these some are, see --split: {there}"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    found = {one: operating_of(one, validation or tested, tested, options) for one in material.scorers}
    operating = {one: at for one, at in found.items() if at is not None}
    tested = as_operated(tested, operating)
    questions = tuple(filter(None, (_question(truth, tested, validation, operating, options) for truth in Truth)))
    if not questions or questions[0].truth is not Truth.PATHOLOGY:
        raise SetupRefused(Code.LESIONS_TOO_FEW)
    advised = (_restratification(tested, pair, operating) for pair in material.pairs)
    return Evaluation(
        schema_version=1,
        created_at=created_at or datetime.now(UTC),
        software=f"dlr-worker {__version__}",
        source=material.source,
        notices=notices_of(material, tested, operating, questions, _validated(validation, questions, operating)),
        restratifications=tuple(one for one in advised if one is not None),
        cohort=_cohort(material, tested, len(validation)),
        questions=questions,
    )


def _validated(
    validation: Sequence[JudgedLesion], questions: Sequence[Question], operating: Mapping[Scorer, Operating]
) -> dict[str, bool]:
    """Whether each version's temperature and thresholds for comparison are of ``validation``, and not of the tested."""
    scorers = {(one.model, one.version): one for one in operating}
    found: dict[str, bool] = {}
    for question in questions:
        for judged in question.judged:
            scorer = scorers[judged.model, judged.version]
            is_apart = answers(validation, scorer, question.truth).has_both
            found[scorer.name] = is_apart and found.get(scorer.name, True)
    return found


def _restratification(
    tested: Sequence[JudgedLesion], pair: Pair, operating: Mapping[Scorer, Operating]
) -> Restratification | None:
    if pair.lh not in operating or pair.bm not in operating:
        return None
    return restratification(tested, pair, operating[pair.lh].threshold, operating[pair.bm].threshold)


def set_apart(
    lesions: Sequence[JudgedLesion], split: Split
) -> tuple[tuple[JudgedLesion, ...], tuple[JudgedLesion, ...]]:
    """Return the lesions to measure on, and those to choose thresholds and temperatures on.

    Args:
        lesions: all of them.
        split: the one that is measured on, where lesions are of splits at all.
    """
    if all(one.split is None for one in lesions):
        return tuple(lesions), ()
    tested = tuple(one for one in lesions if one.split is split)
    return tested, tuple(one for one in lesions if one.split is Split.VALIDATION and split is not Split.VALIDATION)


def _cohort(material: Material, tested: Sequence[JudgedLesion], validation: int) -> Cohort:
    malignant = sum(one.malignant for one in tested)
    patients = {one.patient for one in tested}
    categories = Counter(one.birads or UNKNOWN for one in tested)
    others = len(material.lesions) - len(tested) - validation
    set_apart = {"of the split validation, to choose thresholds on": validation, "of another split, or of none": others}
    return Cohort(
        lesions=len(tested),
        patients=None if None in patients else len(patients),
        benign=len(tested) - malignant,
        malignant=malignant,
        by_birads={name: categories[name] for name in (*CATEGORIES, UNKNOWN) if categories[name]},
        left_out={reason: count for reason, count in {**material.left_out, **set_apart}.items() if count},
    )


def _question(
    truth: Truth,
    tested: Sequence[JudgedLesion],
    validation: Sequence[JudgedLesion],
    operating: Mapping[Scorer, Operating],
    options: Options,
) -> Question | None:
    """Ask every version whose question it is; pathology is asked of both models, the category of DLR_LH alone."""
    asked = [one for one in operating if truth in (Truth.PATHOLOGY, OWN[one.model])]
    known = {one: answers(tested, one, truth) for one in asked}
    sound = {one: found for one, found in known.items() if found.has_both}
    if not sound:
        return None
    judged = tuple(
        _judged(one, truth, found, answers(validation, one, truth), operating[one], options)
        for one, found in sound.items()
    )
    pairs = (_compared(tested, truth, first, second) for first, second in combinations(sound, 2))
    return Question(truth, SENTENCES[truth], judged, tuple(one for one in pairs if one is not None))


def _judged(
    scorer: Scorer, truth: Truth, found: Answers, validation: Answers, operating: Operating, options: Options
) -> Judged:
    scores, labels = found.scores, found.labels
    patients = [lesion.patient for lesion in found.lesions if lesion.patient is not None]
    own = OWN[scorer.model] is truth
    thresholds = thresholds_of(found.lesions, scorer, operating.threshold)
    return Judged(
        model=scorer.model,
        version=scorer.version,
        notice=scorer.notice,
        lesions=len(labels),
        positives=int(labels.sum()),
        auc=auc(scores, labels),
        bootstrap=bootstrap(
            scores,
            labels,
            patients if len(patients) == len(labels) else None,
            thresholds,
            resamples=options.resamples,
            seed=options.seed,
        ),
        operating_points=_operating_points(found, validation, operating, thresholds, options),
        calibration=_calibration(found, validation) if own else None,
        decision_curve=decision_curve(scores, labels) if own and truth is Truth.PATHOLOGY else (),
        subgroups=subgroups(found, thresholds),
        views=views(found.lesions, scorer, operating.threshold),
        roc=roc(scores, labels),
        histogram=_histogram(scores, labels),
    )


def _operating_points(
    found: Answers, validation: Answers, operating: Operating, own: Scores, options: Options
) -> tuple[OperatingPoint, ...]:
    chosen_on = validation if validation.has_both else found
    thresholds = [
        (operating.chosen_by, operating.threshold),
        (ChosenBy.YOUDEN, youden_threshold(chosen_on.scores, chosen_on.labels)),
        (ChosenBy.SENSITIVITY, sensitivity_threshold(chosen_on.scores, chosen_on.labels, options.sensitivity)),
    ]
    return tuple(
        operating_point(found.scores, found.labels, at, by, used=place == 0, own=None if place else own)
        for place, (by, at) in enumerate(thresholds)
        if (by, at) not in thresholds[:place]
    )


def _calibration(found: Answers, validation: Answers) -> Calibration:
    separate = validation.has_both
    fitted = validation if separate else found
    by = temperature(fitted.scores, fitted.labels)
    return Calibration(
        as_scored=reliability(found.scores, found.labels),
        temperature=by,
        fitted_on="validation" if separate else "same_lesions",
        scaled=reliability(scaled(found.scores, by), found.labels),
    )


def _histogram(scores: np.ndarray, labels: np.ndarray) -> ScoreHistogram:
    positives, negatives = (np.histogram(scores[labels == kind], HISTOGRAM_BINS, (0, 1))[0] for kind in (True, False))
    return ScoreHistogram(tuple(map(int, positives)), tuple(map(int, negatives)))


def _compared(tested: Sequence[JudgedLesion], truth: Truth, first: Scorer, second: Scorer) -> Compared | None:
    """Hold two versions against each other; ``None`` where both scored no lesions of both classes."""
    one, other = answers(tested, first, truth, second), answers(tested, second, truth, first)
    if not one.has_both:
        return None
    return Compared(first.name, second.name, len(one.labels), compare_aucs(one.scores, other.scores, one.labels))
