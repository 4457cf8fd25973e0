"""Other thresholds on stored scores: who moves, who does not, and which cancer would be missed."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads.monitoring import ScoredLesion, scored_lesions
from db.writes.pathology import PathologyRecord, record_pathology
from tests.db.samples import DEMO, ended, lesion, refused, scored, study
from tests.db.writes.test_pathology import DAY, found
from worker.clinical.categories import Birads, Outcome
from worker.clinical.proportions import ARMS
from worker.clinical.restratify import restratify
from worker.monitoring.replay import Replay, sum_up, under
from worker.monitoring.threshold_policy import Policy

D, M, U = ARMS
Sets = tuple[tuple[str, ...] | None, tuple[str, ...] | None]
LOW: Sets = (("low_risk",), ("benign",))
HIGH: Sets = (("high_risk",), ("malignant",))
UNSURE: Sets = (("low_risk",), ("benign", "malignant"))


def policy(lh: float | None = None, bm: float | None = None) -> Policy:
    parts = {name: {"threshold": value} for name, value in (("DLR_LH", lh), ("DLR_BM", bm)) if value is not None}
    return Policy.model_validate({"schema_version": 1, **parts})


def on_record(
    lh: float,
    bm: float,
    *,
    malignant: bool | None = None,
    version: str = "1.0",
    at: float = 0.5,
    sets: Sets = (None, None),
) -> ScoredLesion:
    advice = restratify(Birads.LOW_SUSPICION, high_risk=lh >= at, malignant=bm >= at, lh_set=sets[0], bm_set=sets[1])
    notice = DEMO if version == "demo" else None
    return ScoredLesion(
        UUID(int=1), "L1", "4A", advice.outcome.value, lh, at, bm, at, version, version, advice.rule_version, notice,
        malignant, *sets,
    )  # fmt: skip


def replayed(tried: Policy, *lesions: ScoredLesion) -> Replay:
    return sum_up(under(tried, lesions), keep=100)


MOVES = [
    # DLR_LH, DLR_BM, policy, before, after
    (0.2, 0.45, policy(bm=0.4), D, M),
    (0.6, 0.45, policy(bm=0.4), M, U),
    (0.6, 0.55, policy(bm=0.6), U, M),
    (0.2, 0.55, policy(bm=0.6), M, D),
    (0.45, 0.45, policy(0.4, 0.4), D, U),
    (0.55, 0.55, policy(0.6, 0.6), U, D),
    (0.45, 0.55, policy(0.4, 0.6), M, M),
    (0.2, 0.4, policy(bm=0.4), D, M),
    (0.2, 0.5, policy(bm=0.5), M, M),
    (0.0, 0.0, policy(0, 0), D, U),
    (1.0, 1.0, policy(1, 1), U, U),
]


@pytest.mark.parametrize(("lh", "bm", "tried", "before", "after"), MOVES)
def test_a_lesion_goes_where_the_rule_says_under_the_policy(
    lh: float, bm: float, tried: Policy, before: Outcome, after: Outcome
) -> None:
    done = replayed(tried, on_record(lh, bm))
    [rates] = done.rates
    assert {move: count for move, count in rates.moves.items() if count} == {(before, after): 1}
    assert [(one.before, one.after) for one in done.moved] == ([(before, after)] if before is not after else [])


probability = st.floats(0, 1)
lesions = st.lists(
    st.builds(
        on_record,
        probability,
        probability,
        malignant=st.sampled_from([None, True, False]),
        version=st.sampled_from(["1.0", "2.0", "demo"]),
        at=st.sampled_from([0.3, 0.5]),
        sets=st.sampled_from([(None, None), LOW, HIGH, UNSURE]),
    ),
    max_size=30,
)


@pytest.mark.parametrize(
    ("lh", "bm", "sets", "tried", "before", "after", "uncertain"),
    [
        (0.2, 0.45, UNSURE, policy(0.5, 0.5), M, M, True),
        (0.2, 0.45, UNSURE, policy(0.1, 0.1), M, M, True),
        (0.2, 0.2, LOW, policy(0.5, 0.5), D, D, False),
        (0.2, 0.2, LOW, policy(bm=0.1), D, M, True),
        (0.9, 0.9, HIGH, policy(1.0, 1.0), U, M, True),
        (0.2, 0.45, (None, None), policy(bm=0.4), D, M, False),
    ],
)
def test_the_sets_on_record_keep_a_lesion_in_4a_under_any_policy(
    lh: float, bm: float, sets: Sets, tried: Policy, before: Outcome, after: Outcome, uncertain: bool
) -> None:
    [one] = under(tried, [on_record(lh, bm, sets=sets)])
    assert (one.before, one.after, one.uncertain) == (before, after, uncertain)


@given(lesions)
def test_the_very_thresholds_of_the_cards_move_nobody(found_lesions: list[ScoredLesion]) -> None:
    for at in (0.3, 0.5):
        same = [one for one in found_lesions if one.lh_threshold == at]
        assert not replayed(policy(at, at), *same).moved
        assert not replayed(policy(bm=at), *same).moved


@given(lesions, probability, probability, probability)
def test_a_lower_threshold_never_advises_more_down_or_misses_more_cancers(
    found_lesions: list[ScoredLesion], one: float, other: float, lh: float
) -> None:
    low, high = sorted((one, other))
    for lower, higher in ((policy(lh, low), policy(lh, high)), (policy(low, lh), policy(high, lh))):
        fewer, more = replayed(lower, *found_lesions), replayed(higher, *found_lesions)
        assert len(fewer.missed) <= len(more.missed)
        for left, right in zip(fewer.rates, more.rates, strict=True):
            assert left.after.rates[D].count <= right.after.rates[D].count
            assert left.after.rates[U].count >= right.after.rates[U].count


@given(lesions, probability, probability)
def test_every_lesion_is_counted_once_before_and_once_after_and_demo_models_apart(
    found_lesions: list[ScoredLesion], lh: float, bm: float
) -> None:
    done = replayed(policy(lh, bm), *found_lesions)
    notices = {one.notice for one in found_lesions}
    assert [rates.notice for rates in done.rates] == [notice for notice in (None, DEMO) if notice in notices]
    for rates in done.rates:
        of_these = [one for one in found_lesions if one.notice == rates.notice]
        assert rates.before.lesions == rates.after.lesions == sum(rates.moves.values()) == len(of_these)
        known = sum(one.malignant is not None for one in of_these)
        assert sum(part.total for part in rates.malignant_before.values()) == known
        assert sum(part.total for part in rates.malignant_after.values()) == known
        for arm in ARMS:
            assert rates.before.rates[arm].count == sum(one.outcome == arm for one in of_these)


def test_cancers_that_the_policy_would_be_the_first_to_miss_come_first() -> None:
    known = on_record(0.1, 0.1, malignant=True)
    new = on_record(0.1, 0.55, malignant=True)
    benign, unknown = on_record(0.1, 0.55, malignant=False), on_record(0.1, 0.55)
    done = replayed(policy(bm=0.6), known, benign, unknown, new)
    assert [(one.lesion, one.moved) for one in done.missed] == [(new, True), (known, False)]
    [rates] = done.rates
    assert (rates.malignant_before[D].count, rates.malignant_before[D].total) == (1, 1)
    assert (rates.malignant_after[D].count, rates.malignant_after[D].total) == (2, 3)


def test_what_is_read_are_the_4a_lesions_of_current_studies_with_the_advice_that_is_current(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored(lh=0.25, bm=0.75, lh_set=("low_risk", "high_risk"), bm_set=()))
        two = (lesion("L1"), lesion("L2", "5"))
        ended(session, study("1.2", lesions=two), scored("L1", 0.1, 0.1, version="2.0"), scored("L2", birads="5"))
        ended(session, study("1.3", "a"), scored())
        ended(session, study("1.3", "b"), refused())
        record_pathology(session, [PathologyRecord(found(session, "1.2"), "malignant", None, DAY)], "anne")
        first, second = scored_lesions(session)
    assert (first.outcome, first.high_risk_probability, first.malignant_probability) == ("maintained", 0.25, 0.75)
    assert (first.birads, first.lh_threshold, first.bm_version, first.notice) == ("4A", 0.5, "1.0", DEMO)
    assert (first.malignant, second.malignant, second.outcome, second.notice) == (None, True, "downgraded", None)
    assert (first.lh_set, first.bm_set, second.lh_set) == (("low_risk", "high_risk"), (), None)


def test_stored_scores_under_their_own_thresholds_move_nobody(sessions: sessionmaker[Session]) -> None:
    scores = [0.0, 0.1 + 0.2, 0.49999999999999994, 0.5, 1 / 3, 1.0]
    with sessions.begin() as session:
        for number, lh in enumerate(scores):
            many = tuple(lesion(f"L{place}") for place in range(len(scores)))
            results = [scored(f"L{place}", lh, bm) for place, bm in enumerate(scores)]
            ended(session, study(f"1.{number}", lesions=many), *results)
        done = sum_up(under(policy(0.5, 0.5), scored_lesions(session)), keep=1)
    assert (done.moved, done.rates[0].before.lesions) == ((), 36)


def test_it_reads_a_few_thousand_at_a_time(sessions: sessionmaker[Session], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("db.reads.monitoring.STREAM_ROWS", 2)
    with sessions.begin() as session:
        for number in range(5):
            ended(session, study(f"1.{number}"), scored())
        stream = scored_lesions(session)
        next(stream)
        assert session.scalar(text("SELECT count(*) FROM pg_cursors")) == 1
        assert len(list(stream)) == 4
