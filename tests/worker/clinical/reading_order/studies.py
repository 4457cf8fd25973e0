"""Studies as a policy sees them: such as the ledger can hold."""

from hypothesis import strategies as st

from worker.clinical.categories import Birads, Outcome, Priority
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
    return StudyFacts(draw(priorities), state, tuple(lesions), corrected=draw(st.booleans()))
