"""Fig. S5: the study's 148 lesions give the study's percentages, and a missed cancer is never hidden in them."""

from collections.abc import Iterator
from random import Random
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.reads.monitoring import ScoredLesion
from worker.clinical.categories import Birads, Outcome
from worker.clinical.proportions import ARMS
from worker.clinical.restratify import restratify
from worker.reporting.flow_diagram import percent
from worker.reporting.restratification_flow import Flow, MissedCancer, flows

DEMO = "demo, synthetic, not for clinical use"
SCORES = {"low": 0.2, "high": 0.8}


def scored(
    lh: float,
    bm: float,
    malignant: bool | None = None,
    notice: str | None = None,
    name: str = "L1",
    bm_set: tuple[str, ...] | None = None,
    **changes: UUID,
) -> ScoredLesion:
    advice = restratify(Birads.LOW_SUSPICION, high_risk=lh >= 0.5, malignant=bm >= 0.4, bm_set=bm_set)
    study_id = changes.get("study_id") or uuid4()
    return ScoredLesion(
        study_id, name, "4A", advice.outcome.value, lh, 0.5, bm, 0.4, "1.0", "2.0", advice.rule_version, notice,
        malignant, bm_set=bm_set,
    )  # fmt: skip


def study_arms() -> Iterator[ScoredLesion]:
    """41 downgraded; 80 on which the models disagree; 27 upgraded, 22 of which are malignant."""
    for _ in range(41):
        yield scored(0.2, 0.2, malignant=False)
    for place in range(80):
        yield scored(*((0.2, 0.8) if place < 50 else (0.8, 0.2)))
    for place in range(27):
        yield scored(0.8, 0.8, malignant=place < 22)


def one(found: tuple[Flow, ...]) -> Flow:
    [flow] = found
    return flow


def test_the_studys_148_lesions_give_the_studys_percentages() -> None:
    flow = one(flows(study_arms()))
    assert flow.lesions == 148
    assert {arm.value: percent(flow.arms[arm]) for arm in ARMS} == {
        "downgraded": "41 (27.7 %)", "maintained": "80 (54.1 %)", "upgraded": "27 (18.2 %)",
    }  # fmt: skip
    assert percent(flow.malignant[Outcome.UPGRADED]) == "22 (81.5 %)"
    assert flow.malignant[Outcome.MAINTAINED].rate is None
    assert flow.missed == ()


@pytest.mark.parametrize(
    ("lh", "bm", "outcome"),
    [(0.49, 0.39, "downgraded"), (0.49, 0.4, "maintained"), (0.5, 0.39, "maintained"), (0.5, 0.4, "upgraded")],
)
def test_a_score_that_reaches_its_threshold_is_positive(lh: float, bm: float, outcome: str) -> None:
    [branch] = [branch for branch in one(flows([scored(lh, bm)])).branches if branch.lesions.count]
    assert (branch.high_risk, branch.positive, branch.outcome.value) == (lh >= 0.5, bm >= 0.4, outcome)


def test_malignant_lesions_that_were_advised_down_are_named() -> None:
    missed = scored(0.1, 0.1, malignant=True, name="L2")
    flow = one(flows([scored(0.1, 0.1, malignant=False), missed, scored(0.9, 0.9, malignant=True), scored(0.1, 0.1)]))
    assert flow.missed == (MissedCancer(missed.study_id, "L2"),)
    assert (flow.malignant[Outcome.DOWNGRADED].count, flow.malignant[Outcome.DOWNGRADED].total) == (1, 2)


def test_a_lesion_of_which_a_model_is_not_certain_is_kept_and_in_no_branch() -> None:
    unsure = scored(0.1, 0.1, malignant=True, bm_set=("benign", "malignant"))
    flow = one(flows([scored(0.1, 0.1, bm_set=("benign",)), unsure]))
    assert [branch.lesions.count for branch in flow.branches] == [1, 0, 0, 0]
    assert (flow.uncertain.count, flow.uncertain_malignant.count, flow.missed) == (1, 1, ())
    assert flow.arms[Outcome.MAINTAINED].count == flow.malignant[Outcome.MAINTAINED].count == 1


def test_a_demo_models_lesions_are_in_no_flow_with_others() -> None:
    real, demo = flows([scored(0.1, 0.1, notice=DEMO), scored(0.9, 0.9), scored(0.1, 0.1, notice=DEMO)])
    assert [(flow.notice, flow.lesions) for flow in (real, demo)] == [(None, 1), (DEMO, 2)]
    assert flows([]) == ()


some = st.builds(
    scored,
    lh=st.sampled_from([0.1, 0.5, 0.9]),
    bm=st.sampled_from([0.1, 0.4, 0.9]),
    malignant=st.sampled_from([None, False, True]),
    notice=st.sampled_from([None, DEMO]),
    bm_set=st.sampled_from([None, (), ("benign",), ("malignant",), ("benign", "malignant")]),
)


@given(lesions=st.lists(some, max_size=40), seed=st.integers(0, 2**32))
def test_every_lesion_is_in_one_branch_and_one_arm_in_any_order(lesions: list[ScoredLesion], seed: int) -> None:
    found = flows(lesions)
    assert sum(flow.lesions for flow in found) == len(lesions)
    for flow in found:
        assert sum(branch.lesions.count for branch in flow.branches) + flow.uncertain.count == flow.lesions
        assert sum(arm.count for arm in flow.arms.values()) == flow.lesions
        assert len(flow.missed) == flow.malignant[Outcome.DOWNGRADED].count
        for arm in ARMS:
            recorded = [one for one in lesions if (one.outcome, one.notice) == (arm.value, flow.notice)]
            assert flow.arms[arm].count == len(recorded)
            assert flow.malignant[arm].total == sum(one.malignant is not None for one in recorded)
    for flow, other in zip(found, flows(Random(seed).sample(lesions, len(lesions))), strict=True):
        assert (flow.arms, flow.malignant, set(flow.missed)) == (other.arms, other.malignant, set(other.missed))
