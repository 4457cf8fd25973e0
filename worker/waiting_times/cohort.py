"""The studies that days are made of: what a policy of reading order may look at, and which of them are cancers."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from worker.clinical.categories import Birads, Priority
from worker.clinical.reading_order.facts import PRIORITY_RANK, LesionFacts, StudyFacts
from worker.clinical.reading_order.place import place
from worker.clinical.reading_order.policy import Policy, built_in
from worker.clinical.restratify import restratify
from worker.errors import Code, SetupRefused
from worker.evaluation.caveats import OPTIMISTIC, about_splits
from worker.evaluation.evaluation import set_apart
from worker.evaluation.evaluation_options import Options
from worker.evaluation.lesions import JudgedLesion, Material, Pair, Source
from worker.evaluation.operating_threshold import Operating, as_operated, operating_of
from worker.waiting_times.comparison import Pool
from worker.waiting_times.simulator import Ranks

ARRIVAL, PRIORITY, OUTCOME = "arrival", "priority", "outcome/1"
"""The orders that a policy is held against: first come, first read; the sender's priority alone; the first policy."""

LESIONS_AS_STUDIES = "No study and no patient is known: every lesion is taken as a study of its own."
PATIENTS_AS_STUDIES = "No study is known: the lesions of a patient are taken as one study."
ROUTINE = (
    "No priority is known: every study is taken as routine, so the sender's priority alone is the order of arrival."
)
SOME_ROUTINE = "{} of the studies have no priority, and are taken as routine."
NO_CATEGORY = "{} of the lesions have no category, and stand where the policy puts what is not known."
FIRST_PAIR = "The scores are those of {} and {}; other versions are not looked at."

KNOWN = "{} of the lesions are of category 6: a cancer that is known already makes no study one of the cancers here."


@dataclass(frozen=True, slots=True)
class ListedStudy:
    """A study as it is listed, and what it turned out to be.

    Attributes:
        facts: what a policy looks at.
        cancer: pathology found a malignant lesion in it, other than of category 6: that is known before it is read.
        patient: an opaque key.
    """

    facts: StudyFacts
    cancer: bool
    patient: str


@dataclass(frozen=True, slots=True)
class Cohort:
    """Studies of which pathology is known.

    Attributes:
        source: where they come from.
        studies: in their order.
        left_out: how many lesions or rows are not among them, by the reason.
        notices: what a reader has to know of them.
    """

    source: Source
    studies: tuple[ListedStudy, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    @property
    def cancers(self) -> int:
        """How many of the studies are cancers."""
        return sum(study.cancer for study in self.studies)

    @property
    def lesions(self) -> int:
        """How many lesions the studies have."""
        return sum(len(study.facts.lesions) for study in self.studies)

    def pool(self, cancer_share: float | None) -> Pool:
        """Return the studies as days are drawn from them."""
        patients = np.unique([study.patient for study in self.studies], return_inverse=True)[1]
        return Pool(np.array([study.cancer for study in self.studies], np.bool_), patients, cancer_share)

    def orders(self, policy: Policy) -> dict[str, Ranks]:
        """Return the place of each study, int64 (N,), under the four orders, the policy's last."""
        priorities = [PRIORITY_RANK[study.facts.priority] for study in self.studies]
        policies = {label: built_in(label) for label in (OUTCOME,)} | {policy.label: policy}
        placed = {
            label: np.array([place(one, study.facts).order for study in self.studies], np.int64)
            for label, one in policies.items()
        }
        return {
            ARRIVAL: np.zeros(len(self.studies), np.int64),
            # Counted from the most urgent one that there is, so that without priorities it is the order of arrival.
            PRIORITY: np.array(priorities, np.int64) - min(priorities),
            **placed,
        }


def judged_cohort(material: Material, unscored: Sequence[JudgedLesion], options: Options) -> Cohort:
    """Make studies of lesions with pathology.

    Thresholds, and the split that is taken, are those that `worker.evaluation.evaluation` takes.

    Args:
        material: the lesions and their scores.
        unscored: lesions that were to be scored and were not; they count, as a person has to look at them.
        options: thresholds and split; the rest is not looked at.

    Raises:
        SetupRefused: ``lesions_too_few``: none is of the split, no lesion has the scores of both models, or no
            threshold is known and none can be chosen.
    """
    tested, validation = set_apart((*material.lesions, *unscored), options.split)
    if not tested:
        raise SetupRefused(Code.LESIONS_TOO_FEW, f"no lesion is of the split {options.split.value}: see --split")
    if not material.pairs:
        raise SetupRefused(Code.LESIONS_TOO_FEW, "a reading order needs the scores of both models")
    pair = material.pairs[0]
    operating = {one: operating_of(one, validation or tested, tested, options) for one in (pair.lh, pair.bm)}
    lh, bm = operating[pair.lh], operating[pair.bm]
    if lh is None or bm is None:
        reason = "a model's threshold is not known, and cannot be chosen: give --lh-threshold and --bm-threshold"
        raise SetupRefused(Code.LESIONS_TOO_FEW, reason)
    others = len(material.lesions) + len(unscored) - len(tested)
    left_out = {reason: count for reason, count in material.left_out.items() if reason != "without scores"}
    return Cohort(
        source=material.source,
        studies=tuple(_studies(as_operated(tested, {pair.lh: lh, pair.bm: bm}), pair, lh, bm)),
        left_out={
            reason: count for reason, count in {**left_out, "of another split, or of none": others}.items() if count
        },
        notices=tuple(_notices(material, tested, pair, (lh, bm))),
    )


def _studies(lesions: Sequence[JudgedLesion], pair: Pair, lh: Operating, bm: Operating) -> Iterator[ListedStudy]:
    together: defaultdict[tuple[str | None, str | None, str | None], list[JudgedLesion]] = defaultdict(list)
    for lesion in lesions:
        alone = lesion.lesion_id if lesion.study is None and lesion.patient is None else None
        together[lesion.patient, lesion.study, alone].append(lesion)
    for key, of_study in together.items():
        facts = tuple(_lesion(lesion, pair, lh.threshold, bm.threshold) for lesion in of_study)
        scored = sum(lesion.state == "scored" for lesion in facts)
        priorities = [lesion.priority for lesion in of_study if lesion.priority is not None]
        yield ListedStudy(
            facts=StudyFacts(
                priority=min(priorities, key=PRIORITY_RANK.__getitem__, default=Priority.ROUTINE),
                state="failed" if scored == 0 else "done" if scored == len(facts) else "partial",
                lesions=facts,
            ),
            cancer=any(lesion.malignant and lesion.birads != Birads.KNOWN_MALIGNANCY for lesion in of_study),
            patient=next(part for part in key if part is not None),
        )


def _lesion(lesion: JudgedLesion, pair: Pair, lh_threshold: float, bm_threshold: float) -> LesionFacts:
    if pair.lh not in lesion.scores or pair.bm not in lesion.scores:
        return LesionFacts(lesion.birads, "failed")
    high_risk = lesion.scores[pair.lh] >= lesion.threshold(pair.lh, lh_threshold)
    malignant = lesion.scores[pair.bm] >= lesion.threshold(pair.bm, bm_threshold)
    assessed = restratify(
        # The rule is of 4A alone: what else a category is, known or not, makes no difference to it.
        Birads.LOW_SUSPICION if lesion.birads == Birads.LOW_SUSPICION else Birads.INCOMPLETE,
        high_risk=high_risk,
        malignant=malignant,
        lh_set=lesion.sets.get(pair.lh),
        bm_set=lesion.sets.get(pair.bm),
    )
    scores = lesion.scores[pair.lh], lesion.scores[pair.bm]
    return LesionFacts(lesion.birads, "scored", assessed.outcome, high_risk, malignant, *scores)


def _notices(
    material: Material, tested: Sequence[JudgedLesion], pair: Pair, operating: Sequence[Operating]
) -> Iterator[str]:
    yield from (f"{one.name}: {one.notice}" for one in (pair.lh, pair.bm) if one.notice)
    yield from material.notices
    if len(material.scorers) > len({pair.lh, pair.bm}):
        yield FIRST_PAIR.format(pair.lh.name, pair.bm.name)
    yield from about_splits(material.source, tested)
    chosen = [one.name for one, at in zip((pair.lh, pair.bm), operating, strict=True) if at.chosen_on_tested]
    if chosen:
        yield OPTIMISTIC.format(names=" and of ".join(chosen))
    if all(lesion.study is None for lesion in tested):
        known = any(lesion.patient is not None for lesion in tested)
        yield PATIENTS_AS_STUDIES if known else LESIONS_AS_STUDIES
    yield from about_priorities([lesion.priority for lesion in tested])
    nameless = sum(lesion.birads is None for lesion in tested)
    if nameless:
        yield NO_CATEGORY.format(nameless)
    known_before = sum(lesion.birads == Birads.KNOWN_MALIGNANCY for lesion in tested)
    if known_before:
        yield KNOWN.format(known_before)


def about_priorities(priorities: Sequence[Priority | None]) -> Iterator[str]:
    """Say how many priorities are not known."""
    unknown = sum(priority is None for priority in priorities)
    if unknown:
        yield ROUTINE if unknown == len(priorities) else SOME_ROUTINE.format(unknown)
