"""Studies as a policy sees them: such as the ledger can hold."""

from hypothesis import strategies as st

from worker.clinical.categories import Birads, Outcome, Priority
from worker.clinical.conformal import conformal_set
from worker.clinical.reading_order.facts import CATEGORIES, LesionFacts, StudyFacts, StudyState
from worker.clinical.restratify import restratify

probabilities = st.floats(0, 1)
categories = st.sampled_from(CATEGORIES)
priorities = st.sampled_from(Priority)


def outcome_of(category: str | None, *, high_risk: bool, malignant: bool, certain: bool = True) -> Outcome:
    """What re-stratification says; uncertain: a conformal set holds both classes."""
    if category is None or category not in set(Birads):
        return Outcome.NOT_APPLICABLE
    lh_set = None if certain else ("low_risk", "high_risk")
    return restratify(Birads(category), high_risk=high_risk, malignant=malignant, lh_set=lh_set).outcome


def scored(
    category: str | None,
    *,
    high_risk: bool,
    malignant: bool,
    probability: float = 0.5,
    certain: bool = True,
) -> LesionFacts:
    outcome = outcome_of(category, high_risk=high_risk, malignant=malignant, certain=certain)
    return LesionFacts(category, "scored", outcome, high_risk, malignant, float(high_risk), probability)


def study(state: StudyState, *lesions: LesionFacts, priority: Priority = Priority.ROUTINE) -> StudyFacts:
    return StudyFacts(priority, state, lesions)


scored_lesions = st.builds(
    scored,
    categories,
    high_risk=st.booleans(),
    malignant=st.booleans(),
    probability=probabilities,
    certain=st.booleans(),
)
failed_lesions = categories.map(lambda category: LesionFacts(category, "failed"))
waiting_lesions = categories.map(lambda category: LesionFacts(category, "waiting"))


@st.composite
def studies(draw: st.DrawFn) -> StudyFacts:
    state: StudyState = draw(st.sampled_from(("waiting", "done", "partial", "failed")))
    if state == "partial":
        lesions = [draw(scored_lesions), draw(failed_lesions)]
        lesions = draw(st.permutations(lesions + draw(st.lists(scored_lesions | failed_lesions, max_size=2))))
    else:
        of_state = {"waiting": waiting_lesions, "done": scored_lesions, "failed": failed_lesions}[state]
        lesions = draw(st.lists(of_state, min_size=1 if state == "done" else 0, max_size=4))
    return StudyFacts(draw(priorities), state, tuple(lesions))


# --- two studies that differ by what is raised in one of them

ASCENDING = ("2", "3", "4A", "4", "4B", "4C", "5")

Pair = tuple[StudyFacts, StudyFacts]


def _with(one: StudyFacts, index: int, lesion: LesionFacts) -> StudyFacts:
    return one._replace(lesions=(*one.lesions[:index], lesion, *one.lesions[index + 1 :]))


@st.composite
def raised_priority(draw: st.DrawFn) -> Pair:
    one = draw(studies())
    ranks = list(Priority)
    return one, one._replace(priority=draw(st.sampled_from(ranks[: ranks.index(one.priority) + 1])))


@st.composite
def raised_category(draw: st.DrawFn) -> Pair:
    one = draw(studies().filter(lambda one: any(lesion.category in ASCENDING for lesion in one.lesions)))
    index = draw(st.sampled_from([at for at, lesion in enumerate(one.lesions) if lesion.category in ASCENDING]))
    lesion = one.lesions[index]
    higher = draw(st.sampled_from(ASCENDING[ASCENDING.index(str(lesion.category)) :]))
    outcome = lesion.outcome
    if outcome is not None and higher != lesion.category:
        high_risk, malignant = bool(lesion.high_risk), bool(lesion.malignant)
        outcome = outcome_of(higher, high_risk=high_risk, malignant=malignant, certain=draw(st.booleans()))
    return one, _with(one, index, lesion._replace(category=higher, outcome=outcome))


@st.composite
def raised_probability(draw: st.DrawFn) -> Pair:
    """Scored again with a higher probability of one model or both: classes, sets and the outcome follow from it."""
    one = draw(studies().filter(lambda one: one.state in ("done", "partial")))
    index = next(at for at, lesion in enumerate(one.lesions) if lesion.state == "scored")
    category, quantile = draw(categories), draw(st.none() | probabilities)
    thresholds = draw(st.tuples(probabilities, probabilities))
    (lh, higher_lh), (bm, higher_bm) = (sorted(draw(st.tuples(probabilities, probabilities))) for _ in range(2))
    if draw(st.booleans()):
        higher_lh = lh
    lower, higher = (judged(category, *both, thresholds, quantile) for both in ((lh, bm), (higher_lh, higher_bm)))
    return _with(one, index, lower), _with(one, index, higher)


def judged(
    category: str | None, lh: float, bm: float, thresholds: tuple[float, float], quantile: float | None
) -> LesionFacts:
    """A lesion as it is scored: classes at their thresholds, conformal sets if asked for, and the outcome of both."""
    high_risk, malignant = lh >= thresholds[0], bm >= thresholds[1]
    outcome = Outcome.NOT_APPLICABLE
    if category in set(Birads):
        sets: dict[str, tuple[str, ...]] = {}
        if quantile is not None:
            sets["lh_set"] = conformal_set((("low_risk", 1 - lh), ("high_risk", lh)), quantile)
            sets["bm_set"] = conformal_set((("benign", 1 - bm), ("malignant", bm)), quantile)
        outcome = restratify(Birads(category), high_risk=high_risk, malignant=malignant, **sets).outcome
    return LesionFacts(category, "scored", outcome, high_risk, malignant, lh, bm)


RAISED: dict[str, st.SearchStrategy[Pair]] = {
    "priority": raised_priority(),
    "category": raised_category(),
    "probability": raised_probability(),
}
