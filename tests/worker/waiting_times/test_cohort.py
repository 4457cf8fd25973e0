"""Lesions with pathology become studies: what a policy may know of each, which are cancers, what a reader is told."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.worker.evaluation.samples import BM, LH, lesion, material
from worker.clinical.categories import Outcome, Priority
from worker.clinical.reading_order.policy import built_in
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.caveats import NO_SPLITS
from worker.evaluation.evaluation_options import Options
from worker.evaluation.lesions import JudgedLesion, Material, Pair, Scorer, Source
from worker.waiting_times import cohort as notices
from worker.waiting_times.cohort import Cohort, ListedStudy, judged_cohort

SUSPICION = built_in("suspicion/2")


def cohort(*lesions: JudgedLesion, unscored: tuple[JudgedLesion, ...] = (), **options: object) -> Cohort:
    return judged_cohort(material(lesions), unscored, Options(**options))  # type: ignore[arg-type]


def only(*lesions: JudgedLesion, unscored: tuple[JudgedLesion, ...] = ()) -> ListedStudy:
    [study] = cohort(*lesions, unscored=unscored).studies
    return study


def unscored(name: str = "L9", **more: object) -> JudgedLesion:
    made = lesion(name, **more)  # type: ignore[arg-type]
    return JudgedLesion(made.lesion_id, made.malignant, {}, made.patient, made.birads, study=made.study)


# --- one study


@pytest.mark.parametrize(
    ("lh", "bm", "outcome"),
    [
        (0.9, 0.9, Outcome.UPGRADED), (0.5, 0.5, Outcome.UPGRADED), (0.1, 0.9, Outcome.MAINTAINED),
        (0.9, 0.1, Outcome.MAINTAINED), (0.1, 0.1, Outcome.DOWNGRADED),
    ],
)  # fmt: skip
def test_a_lesion_has_the_advice_that_it_would_get(lh: float, bm: float, outcome: Outcome) -> None:
    [facts] = only(lesion("L1", lh, bm)).facts.lesions
    assert (facts.category, facts.state, facts.outcome) == ("4A", "scored", outcome)
    assert (facts.high_risk, facts.malignant) == (lh >= 0.5, bm >= 0.5)
    assert (facts.high_risk_probability, facts.malignant_probability) == (lh, bm)


@pytest.mark.parametrize("birads", ["0", "1", "2", "3", "4", "4B", "4C", "5", "6", None])
def test_another_category_gets_no_advice_and_stays_as_it_is(birads: str | None) -> None:
    [facts] = only(lesion("L1", 0.9, 0.9, birads=birads)).facts.lesions
    assert (facts.category, facts.outcome) == (birads, Outcome.NOT_APPLICABLE)


def test_a_lesion_that_a_model_is_not_certain_of_is_kept() -> None:
    [facts] = only(lesion("L1", 0.9, 0.9, sets={BM: ("benign", "malignant")})).facts.lesions
    assert facts.outcome is Outcome.MAINTAINED


def test_thresholds_that_are_given_take_the_cards_place() -> None:
    [study] = cohort(lesion("L1", 0.3, 0.3), lh_threshold=0.2, bm_threshold=0.4).studies
    assert study.facts.lesions[0].outcome is Outcome.MAINTAINED


def test_what_was_not_scored_makes_a_study_partial_or_failed() -> None:
    missing = unscored(study="S1", patient="P1")
    other = lesion("L1", study="S1", patient="P1")
    assert only(other).facts.state == "done"
    partial = only(other, unscored=(missing,)).facts
    assert (partial.state, [one.state for one in partial.lesions]) == ("partial", ["scored", "failed"])
    assert only(unscored=(missing,)).facts.state == "failed"
    half = JudgedLesion("L1", malignant=False, scores={LH: 0.9}, birads=other.birads)
    assert only(half).facts.state == "failed"


@pytest.mark.parametrize(
    ("lesions", "cancer"),
    [
        ([{"malignant": False}, {"malignant": False}], False),
        ([{"malignant": False}, {"malignant": True}], True),
        ([{"malignant": True, "birads": "6"}], False),
        ([{"malignant": True, "birads": "6"}, {"malignant": True}], True),
    ],
)
def test_a_study_is_a_cancer_if_a_lesion_is_that_was_not_known_before(
    lesions: list[dict[str, object]], cancer: bool
) -> None:
    made = [lesion(f"L{place}", study="S1", **one) for place, one in enumerate(lesions)]  # type: ignore[arg-type]
    assert only(*made).cancer is cancer


def test_a_study_is_as_urgent_as_the_most_urgent_that_is_said_of_it() -> None:
    rows = [lesion(f"L{place}", study="S1", priority=one) for place, one in enumerate([None, Priority.URGENT])]
    assert only(*rows).facts.priority is Priority.URGENT
    assert only(lesion()).facts.priority is Priority.ROUTINE


# --- many


@pytest.mark.parametrize(
    ("keys", "studies"),
    [
        ([{"study": "S1"}, {"study": "S1"}, {"study": "S2"}], 2),
        ([{"patient": "P1"}, {"patient": "P1"}, {"patient": "P2"}], 2),
        ([{"patient": "P1", "study": "S1"}, {"patient": "P1", "study": "S2"}], 2),
        ([{"patient": "P1", "study": "S1"}, {"patient": "P2", "study": "S1"}], 2),
        ([{}, {}, {"study": "S1"}], 3),
    ],
)
def test_lesions_of_a_study_are_listed_together_else_those_of_a_patient(
    keys: list[Mapping[str, str]], studies: int
) -> None:
    found = cohort(*(lesion(f"L{place}", **key) for place, key in enumerate(keys)))  # type: ignore[arg-type]
    assert (len(found.studies), found.lesions) == (studies, len(keys))


def test_patients_are_drawn_with_all_their_studies() -> None:
    found = cohort(*(lesion(f"L{n}", patient=f"P{n // 2}", study=f"S{n}", malignant=n == 3) for n in range(4)))
    pool = found.pool(0.05)
    assert (pool.patients.tolist(), pool.cancers.tolist(), pool.cancer_share) == (
        [0, 0, 1, 1],
        [False] * 3 + [True],
        0.05,
    )


def test_the_four_orders_and_where_each_puts_a_study() -> None:
    kept = lesion("kept", 0.1, 0.9, study="S1")
    five = lesion("five", 0.9, 0.9, birads="5", study="S2")
    stat = lesion("stat", 0.1, 0.1, birads="2", study="S3", priority=Priority.STAT)
    orders = cohort(kept, five, stat).orders(SUSPICION)
    assert list(orders) == ["arrival", "priority", "outcome/1", "suspicion/2"]
    first = {name: list(ranks.argsort(kind="stable")) for name, ranks in orders.items()}
    assert first == {"arrival": [0, 1, 2], "priority": [2, 0, 1], "outcome/1": [0, 2, 1], "suspicion/2": [2, 1, 0]}


def test_the_first_policy_is_held_against_itself_once() -> None:
    assert list(cohort(lesion()).orders(built_in("outcome/1"))) == ["arrival", "priority", "outcome/1"]


def test_without_priorities_the_sender_s_is_the_order_of_arrival() -> None:
    orders = cohort(lesion("L1"), lesion("L2")).orders(SUSPICION)
    assert orders["priority"].tolist() == orders["arrival"].tolist()


def test_a_cohort_is_of_the_split_that_is_asked_for_and_counts_the_rest() -> None:
    lesions = [lesion(str(split), split=split) for split in (Split.TEST, Split.VALIDATION, Split.TRAIN)]
    found = cohort(*lesions)
    assert (len(found.studies), dict(found.left_out)) == (1, {"of another split, or of none": 2})
    assert any("validation" in notice for notice in cohort(*lesions, split=Split.VALIDATION).notices)


# --- what a reader is told


def test_of_a_manifest_without_splits_a_reader_is_told_that_all_of_it_was_used() -> None:
    given = replace(material((lesion("L1"), lesion("L2"))), source=Source.MANIFEST)
    assert NO_SPLITS in judged_cohort(given, (), Options()).notices
    assert NO_SPLITS not in cohort(lesion("L1"), lesion("L2")).notices


@pytest.mark.parametrize(
    ("lesions", "said"),
    [
        ([lesion("L1"), lesion("L2")], [notices.LESIONS_AS_STUDIES, notices.ROUTINE]),
        ([lesion("L1", patient="P1")], [notices.PATIENTS_AS_STUDIES, notices.ROUTINE]),
        ([lesion("L1", study="S1", priority=Priority.STAT)], []),
        (
            [lesion("L1", study="S1", priority=Priority.STAT), lesion("L2", study="S2")],
            [notices.SOME_ROUTINE.format(1)],
        ),
        (
            [lesion("L1", study="S1", priority=Priority.STAT, birads=None)],
            [notices.NO_CATEGORY.format(1)],
        ),
        ([lesion("L1", study="S1", priority=Priority.STAT, birads="6")], [notices.KNOWN.format(1)]),
    ],
)
def test_what_is_not_known_is_said(lesions: list[JudgedLesion], said: list[str]) -> None:
    assert list(cohort(*lesions).notices) == said


def test_a_threshold_that_was_chosen_here_and_a_model_s_notice_are_said() -> None:
    lh, bm = Scorer("DLR_LH", "2", notice="for trying out"), Scorer("DLR_BM", "2")
    lesions = tuple(
        JudgedLesion(f"L{n}", n % 2 == 1, {lh: n / 10, bm: n / 10}, birads=lesion(birads="5" if n % 2 else "3").birads)
        for n in range(8)
    )
    given = Material(Source.SCORES, lesions, (bm, lh, Scorer("DLR_BM", "3")), (Pair(lh, bm),))
    found = judged_cohort(given, (), Options()).notices
    assert found[0] == "DLR_LH 2: for trying out"
    assert notices.FIRST_PAIR.format("DLR_LH 2", "DLR_BM 2") in found
    assert any("chosen on the lesions" in notice for notice in found)


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (material(()), {}, "no lesion is of the split test"),
        (Material(Source.SCORES, (lesion(),), (BM,), ()), {}, "the scores of both models"),
        (
            Material(Source.SCORES, (lesion(),), (Scorer("DLR_BM", "2"),), (Pair(LH, Scorer("DLR_BM", "2")),)),
            {}, "threshold",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_listed_is_refused(given: Material, options: dict[str, object], said: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        judged_cohort(given, (), Options(**options))  # type: ignore[arg-type]
    assert refused.value.code is Code.LESIONS_TOO_FEW
    assert said in refused.value.reason
