"""Two versions on the same lesions: whom another advice reaches, and how far the scores are apart."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.reads.version_comparison import ComparedLesion
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS
from worker.monitoring.version_differences import hold_against

DOWN, KEPT, UP = ARMS


def one(
    a: float,
    b: float,
    *,
    other: bool = False,
    malignant: bool | None = None,
    birads: str | None = "4A",
    name: str = "L",
    site: str | None = None,
) -> ComparedLesion:
    return ComparedLesion(UUID(int=1), name, birads, a, 0.5, b, 0.5, other, malignant, site=site)


@pytest.mark.parametrize("model", ["DLR_LH", "DLR_BM"])
@pytest.mark.parametrize(
    ("a", "b", "other", "under_a", "under_b"),
    [
        (0.2, 0.3, False, DOWN, DOWN),
        (0.9, 0.3, False, KEPT, DOWN),
        (0.2, 0.5, False, DOWN, KEPT),
        (0.9, 0.3, True, UP, KEPT),
        (0.2, 0.9, True, KEPT, UP),
    ],
)
def test_the_advice_follows_from_each_version_with_the_other_models_score(
    model: str, a: float, b: float, other: bool, under_a: Outcome, under_b: Outcome
) -> None:
    found = hold_against(model, [one(a, b, other=other)])
    assert [move for move, count in found.moves.items() if count] == [(under_a, under_b)]
    assert found.a.arms.rates[under_a].count == 1
    assert found.b.arms.rates[under_b].count == 1
    assert len(found.newly_downgraded) == (1 if (under_b is DOWN and under_a is not DOWN) else 0)


def test_a_lesion_of_another_category_has_scores_and_no_arm() -> None:
    found = hold_against("DLR_BM", [one(0.9, 0.1, birads="4B", malignant=True)])
    assert (found.lesions, found.a.arms.lesions, found.newly_downgraded) == (1, 0, ())
    assert found.differences.other_class == 1
    assert (found.b.sensitivity.count, found.b.sensitivity.total) == (0, 1)
    assert found.b.missed.cancers == ()


def test_categories_are_kept_beside_the_scores_of_dlr_lh_alone() -> None:
    lesions = [one(0.9, 0.1, birads=birads, malignant=False) for birads in ("4", None, "0", "4A")]
    assert hold_against("DLR_LH", lesions).rated == (("4", 0.9, 0.1), ("0", 0.9, 0.1), ("4A", 0.9, 0.1))
    found = hold_against("DLR_BM", lesions)
    assert (found.rated, found.a.arms.lesions, found.with_pathology) == ((), 1, 4)


@pytest.mark.parametrize("model", ["DLR_LH", "DLR_BM"])
def test_a_version_that_is_not_certain_advises_no_lesion_down(model: str) -> None:
    both = ("low_risk", "high_risk") if model == "DLR_LH" else ("benign", "malignant")
    down = one(0.1, 0.1)
    kept = hold_against(model, [replace(down, b_set=both)])
    assert (kept.moves[DOWN, KEPT], kept.a.uncertain, kept.b.uncertain) == (1, 0, 1)
    assert hold_against(model, [replace(down, a_set=both[:1], b_set=both[:1])]).moves[DOWN, DOWN] == 1
    assert hold_against(model, [replace(down, other_set=())]).moves[KEPT, KEPT] == 1


def test_known_cancers_are_named_first_and_counted_for_each_version() -> None:
    lesions = [
        one(0.9, 0.1, name="benign", malignant=False),
        one(0.9, 0.1, name="unknown"),
        one(0.9, 0.1, name="newly missed", malignant=True),
        one(0.1, 0.1, name="missed by both", malignant=True),
        one(0.1, 0.9, name="found by B", malignant=True),
    ]
    found = hold_against("DLR_BM", lesions)
    assert [told.lesion.lesion_id for told in found.newly_downgraded] == ["newly missed", "benign", "unknown"]
    assert [told.lesion.lesion_id for told in found.a.missed.cancers] == ["missed by both", "found by B"]
    assert [told.lesion.lesion_id for told in found.b.missed.cancers] == ["newly missed", "missed by both"]
    assert (found.a.missed.downgraded, found.b.missed.downgraded) == (2, 3), "of those that pathology reported on"
    assert (found.with_pathology, len(found.judged)) == (4, 4)


def test_sensitivity_and_specificity_are_counted_at_each_versions_thresholds() -> None:
    lesions = [one(0.9, 0.4, malignant=True), one(0.5, 0.6, malignant=True), one(0.1, 0.6, malignant=False),
               one(0.1, 0.1, malignant=False), one(0.7, 0.7)]  # fmt: skip
    found = hold_against("DLR_BM", lesions)
    assert [(side.sensitivity.count, side.sensitivity.total) for side in (found.a, found.b)] == [(2, 2), (1, 2)]
    assert [(side.specificity.count, side.specificity.total) for side in (found.a, found.b)] == [(2, 2), (1, 2)]


def test_differences_are_of_the_second_less_the_first() -> None:
    found = hold_against("DLR_BM", [one(0.1, 0.2), one(0.5, 0.4), one(0.8, 0.9)]).differences
    assert found.mean == pytest.approx(0.1 / 3)
    assert found.mean_absolute == pytest.approx(0.1)
    assert found.largest == pytest.approx(0.1)
    assert found.other_class == 1
    assert found.correlation == pytest.approx(0.9477, abs=1e-4)


@pytest.mark.parametrize("lesions", [[one(0.1, 0.2)], [one(0.1, 0.2), one(0.1, 0.4)]])
def test_scores_that_are_all_alike_have_no_correlation(lesions: list[ComparedLesion]) -> None:
    assert hold_against("DLR_BM", lesions).differences.correlation is None


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(ValueError, match="no lesion"):
        hold_against("DLR_BM", [])


def test_each_site_is_also_held_by_itself_the_largest_first() -> None:
    north = [one(0.9, 0.1, malignant=True, site="north"), one(0.1, 0.9, malignant=False, site="north")]
    rest = [one(0.9, 0.9, malignant=True, site="south"), one(0.2, 0.2)]
    found = hold_against("DLR_BM", [rest[0], *north, rest[1]])
    assert list(found.sites) == ["north", "south", "unknown"]
    assert [len(at.b.missed.cancers) for at in found.sites.values()] == [1, 0, 0]
    for site, lesions in (("north", north), ("south", rest[:1])):
        alone = hold_against("DLR_BM", [replace(lesion, site=None) for lesion in lesions])
        at = found.sites[site]
        assert (at.a.arms, at.b.sensitivity, at.moves) == (alone.a.arms, alone.b.sensitivity, alone.moves)
        assert at.differences == alone.differences


def test_where_no_site_is_known_nothing_is_taken_apart() -> None:
    assert hold_against("DLR_BM", [one(0.9, 0.1), one(0.1, 0.1)]).sites == {}


def test_of_more_than_twenty_sites_the_largest_are_told() -> None:
    lesions = [one(0.5, 0.5, site=f"site {at:02}") for at in range(25)]
    found = hold_against("DLR_BM", [*lesions, one(0.5, 0.5, site="site 24")])
    assert list(found.sites) == ["site 24", *(f"site {at:02}" for at in range(19))]
    assert found.lesions == 26


probability = st.floats(0, 1)


@given(
    st.lists(
        st.builds(one, probability, probability, other=st.booleans(), malignant=st.none() | st.booleans(),
                  birads=st.sampled_from(["3", "4A", "5"])), min_size=1, max_size=30,
    )
)  # fmt: skip
def test_sides_swap_with_the_versions_and_every_4a_lesion_is_in_one_move(lesions: list[ComparedLesion]) -> None:
    found = hold_against("DLR_LH", lesions)
    assert sum(found.moves.values()) == sum(lesion.birads == "4A" for lesion in lesions)
    swapped = hold_against(
        "DLR_LH",
        [
            ComparedLesion(
                lesion.study_id, lesion.lesion_id, lesion.birads, lesion.b_probability, lesion.b_threshold,
                lesion.a_probability, lesion.a_threshold, lesion.other_positive, lesion.malignant,
            )
            for lesion in lesions
        ],
    )  # fmt: skip
    assert swapped.a.arms == found.b.arms
    assert swapped.b.sensitivity == found.a.sensitivity
    assert swapped.moves == {(after, before): count for (before, after), count in found.moves.items()} | {}
    assert swapped.differences.mean == pytest.approx(-found.differences.mean)
