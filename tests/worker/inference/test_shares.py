"""A share of the studies is always the same studies, on every host, and a larger one keeps those of a smaller one."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.inference.shares import Division, Share, percent, place_of

NOW = datetime(2026, 11, 30, tzinfo=UTC)
ACTIVE = ("lh-1", "bm-1")
STUDIES = [f"1.2.826.0.1.3680043.10.1.{number}" for number in range(10_000)]

uids = st.from_regex(r"\A[0-9]+(\.[0-9]+)+\Z")
sizes = st.floats(0.001, 0.999)


def share(version: str, size: float) -> Share:
    return Share(version=version, share=size, since=NOW)


def bm_share(size: float) -> Division:
    return Division(ACTIVE, {"DLR_BM": share("bm-2", size)})


@given(uids)
def test_a_study_stands_at_one_place(uid: str) -> None:
    assert 0 <= place_of(uid) < 1
    assert place_of(uid) == place_of(uid)


def test_another_process_finds_the_same_place() -> None:
    code = f"from worker.inference.shares import place_of; print(repr(place_of({STUDIES[0]!r})))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(said) == place_of(STUDIES[0]) == pytest.approx(0.62131, abs=1e-5)


@pytest.mark.parametrize("size", [0.01, 0.1, 0.5])
def test_a_share_is_of_that_size(size: float) -> None:
    shared = sum(bm_share(size).of(study) == ("lh-1", "bm-2") for study in STUDIES)
    assert shared / len(STUDIES) == pytest.approx(size, abs=4 * (size * (1 - size) / len(STUDIES)) ** 0.5)


@given(uids, sizes, sizes)
def test_a_larger_share_keeps_the_studies_of_a_smaller_one(uid: str, one: float, other: float) -> None:
    smaller, larger = sorted([one, other])
    if bm_share(smaller).of(uid) == ("lh-1", "bm-2"):
        assert bm_share(larger).of(uid) == ("lh-1", "bm-2")


@given(uids, sizes)
def test_equal_shares_of_both_models_are_of_the_same_studies(uid: str, size: float) -> None:
    both = Division(ACTIVE, {"DLR_LH": share("lh-2", size), "DLR_BM": share("bm-2", size)})
    assert both.of(uid) in {ACTIVE, ("lh-2", "bm-2")}
    assert both.all == (ACTIVE, ("lh-2", "bm-2"))


@given(uids, sizes, sizes)
def test_every_pair_that_scores_a_study_is_among_all_of_them(uid: str, lh: float, bm: float) -> None:
    division = Division(ACTIVE, {"DLR_LH": share("lh-2", lh), "DLR_BM": share("bm-2", bm)})
    assert division.of(uid) in division.all
    assert division.all[0] == ACTIVE
    assert len(division.all) <= 3


def test_without_a_share_the_active_versions_score_all() -> None:
    assert Division(ACTIVE).all == (ACTIVE,)
    assert {Division(ACTIVE).of(study) for study in STUDIES[:100]} == {ACTIVE}


@pytest.mark.parametrize(("size", "said"), [(0.1, "10 %"), (0.005, "0.5 %"), (0.29, "29 %")])
def test_a_share_is_said_in_percent(size: float, said: str) -> None:
    assert percent(size) == said
