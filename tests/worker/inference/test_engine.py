"""Scores are those that the card and the weights say, whatever batch a lesion travels in."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from db.schema.vocabulary import AgeSource, RegionSource
from tests.waiting import until
from tests.worker.inference.samples import registry_with_both, sample_card, write_model
from tests.worker.inference.straight_line import straight_line_probabilities
from worker.clinical.categories import Priority
from worker.errors import Code, ImagesRefused, LesionRefused, Unavailable
from worker.inference.engine import Engine
from worker.inference.lesion_score import score_of
from worker.inference.loading import load_engine
from worker.study import Age, LesionImage, Roi, Scores

pytestmark = pytest.mark.slow

SOON = 60.0


def _lesion(seed: int, *, colour: bool = False, age: float | None = None) -> LesionImage:
    rng = np.random.default_rng(seed)
    rows, columns = (int(side) for side in rng.integers(40, 200, size=2))
    shape = (rows, columns, 3) if colour else (rows, columns)
    frame = rng.integers(0, 256, shape, dtype=np.uint8)
    x, y = int(rng.integers(0, columns - 20)), int(rng.integers(0, rows - 20))
    region = Roi(x, y, int(rng.integers(10, columns - x + 1)), int(rng.integers(10, rows - y + 1)))
    years = float(rng.uniform(0, 120)) if age is None else age
    return LesionImage(frame, region, RegionSource.JOB, Age(years, AgeSource.JOB))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("models")
    registry_with_both(folder)
    engine = load_engine(folder / "registry", "cpu", batch_max=8, wait_ms=500)
    yield engine
    engine.close(SOON)


def _scores(engine: Engine, *lesions: LesionImage) -> list[Scores]:
    with engine.arriving():
        futures = [engine.submit([lesion], Priority.ROUTINE) for lesion in lesions]
    return [future.result(SOON) for future in futures]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"channels": "rgb", "temperature": 2.5, "age_mean": 60.0, "age_sd": 3.0, "threshold": 0.0},
        {"resize": "stretch", "roi_margin": 0.0, "input_size": 33},
        {
            "roi_margin": 2.0,
            "temperature": 0.5,
            "conformal": {"coverage": 0.9, "quantile": 0.5, "lesions": 20},
        },
    ],
    ids=["plain", "colours, age and temperature", "stretched", "letterboxed with a margin, and conformal"],
)
def test_scores_equal_a_straight_line_computation(tmp_path: Path, changes: dict[str, Any]) -> None:
    registry = registry_with_both(tmp_path, **changes)
    engine = load_engine(tmp_path / "registry", "cpu", batch_max=8, wait_ms=500)
    lesions = [_lesion(seed, colour=colour) for colour in (False, True) for seed in range(4)]
    for lesion, scores in zip(lesions, _scores(engine, *lesions), strict=True):
        for entry, score in zip(
            (registry.active("DLR_LH"), registry.active("DLR_BM")), (scores.lh, scores.bm), strict=True
        ):
            card = entry.card.model_dump(mode="json")
            roi = (lesion.region.x, lesion.region.y, lesion.region.width, lesion.region.height)
            expected = straight_line_probabilities(
                card, str(entry.weights_paths[0]), lesion.frame, roi, lesion.age.years
            )
            assert [name for name, _ in score.probabilities] == card["classes"]
            assert [value for _, value in score.probabilities] == pytest.approx(expected, abs=1e-5)
            assert score.positive == (expected[1] >= card["threshold"])
            # At a quantile of 0.5 it is the likelier class.
            likelier = (card["classes"][expected[1] > expected[0]],)
            assert score.conformal_set == (likelier if card["conformal"] else None)
    engine.close(SOON)


@given(seeds=st.lists(st.integers(0, 30), min_size=1, max_size=12), place=st.integers(0, 11))
def test_a_lesions_scores_do_not_depend_on_its_batch(engine: Engine, seeds: list[int], place: int) -> None:
    lesions = [_lesion(seed) for seed in seeds]
    place %= len(lesions)
    (alone,), together = _scores(engine, lesions[place]), _scores(engine, *lesions)
    assert together[place].lh.positive_probability == pytest.approx(alone.lh.positive_probability, abs=1e-4)
    assert together[place].bm.positive_probability == pytest.approx(alone.bm.positive_probability, abs=1e-4)


@given(seed=st.integers(0, 1000))
def test_probabilities_are_finite_and_sum_to_one(engine: Engine, seed: int) -> None:
    (scores,) = _scores(engine, _lesion(seed))
    for score in (scores.lh, scores.bm):
        values = [value for _, value in score.probabilities]
        assert all(math.isfinite(value) and 0 <= value <= 1 for value in values)
        assert sum(values) == pytest.approx(1, abs=1e-12)
        assert (
            score.positive_probability
            == dict(score.probabilities)[{"DLR_LH": "high_risk", "DLR_BM": "malignant"}[score.model]]
        )


def test_different_lesions_and_ages_score_differently(engine: Engine) -> None:
    first, second, older = _scores(engine, _lesion(1, age=50), _lesion(2, age=50), _lesion(1, age=80))
    assert len({scores.bm.positive_probability for scores in (first, second, older)}) == 3
    assert first.lh.positive_probability != first.bm.positive_probability


@pytest.mark.parametrize(
    ("probability", "threshold", "predicted"),
    [(0.5, 0.5, "malignant"), (0.4999, 0.5, "benign"), (0.0, 0.0, "malignant"), (1.0, 1.0, "malignant")],
)
def test_a_probability_that_reaches_the_threshold_is_positive(
    probability: float, threshold: float, predicted: str
) -> None:
    score = score_of(sample_card(threshold=threshold), (1 - probability, probability))
    assert score.predicted_class == predicted
    assert score.positive == (predicted == "malignant")
    assert (score.model, score.version, score.threshold) == ("DLR_BM", "1.0", threshold)


def test_the_positive_class_is_found_by_its_name_and_not_by_its_place() -> None:
    score = score_of(sample_card(classes=["malignant", "benign"]), (0.9, 0.1))
    assert score.positive_probability == 0.9
    assert score.predicted_class == "malignant"
    assert score.probabilities == (("malignant", 0.9), ("benign", 0.1))


@pytest.mark.parametrize(
    ("probability", "quantile", "found"),
    [(0.8, 0.3, ("malignant",)), (0.2, 0.3, ("benign",)), (0.5, 0.3, ()), (0.5, 0.6, ("benign", "malignant"))],
)
def test_a_score_says_which_classes_its_model_can_not_rule_out(
    probability: float, quantile: float, found: tuple[str, ...]
) -> None:
    card = sample_card(conformal={"coverage": 0.9, "quantile": quantile, "lesions": 100})
    assert score_of(card, (1 - probability, probability)).conformal_set == found


def test_without_a_conformal_part_on_the_card_nothing_is_said_of_it() -> None:
    assert score_of(sample_card(), (0.5, 0.5)).conformal_set is None


def test_a_lesion_without_finite_scores_is_refused_and_its_neighbours_are_not(engine: Engine) -> None:
    lesions = [_lesion(seed, age=math.nan if seed == 2 else 50) for seed in range(5)]
    with engine.arriving():
        futures = [engine.submit([lesion], Priority.ROUTINE) for lesion in lesions]
    for seed, future in enumerate(futures):
        if seed == 2:
            with pytest.raises(LesionRefused) as refused:
                future.result(SOON)
            assert refused.value.code is Code.SCORES_NOT_FINITE
        else:
            assert future.result(SOON).bm.model == "DLR_BM"


def test_a_lesion_that_the_device_refuses_fails_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _fail_when(monkeypatch, engine, lambda ages: 77.0 in ages)
    with engine.arriving():
        futures = [engine.submit([_lesion(seed, age=77.0 if seed == 3 else 50.0)], Priority.STAT) for seed in range(6)]
    codes = [getattr(future.exception(SOON), "code", None) for future in futures]
    assert codes == [None, None, None, Code.INFERENCE_FAILED, None, None]


@pytest.mark.parametrize("count", [2, 8, 9, 20], ids=lambda count: f"{count} images")
def test_a_lesion_on_several_images_has_one_score_whatever_its_batch(engine: Engine, count: int) -> None:
    images = [_lesion(seed) for seed in range(count)]
    with engine.arriving():
        futures = [engine.submit(some, Priority.ROUTINE) for some in ([_lesion(90)], images, [_lesion(91)])]
    found = futures[1].result(SOON)
    alone = [scores.bm.positive_probability for scores in _scores(engine, *images)]
    assert [one.bm for one in found.scored_images] == pytest.approx(alone, abs=1e-4)
    assert found.bm.positive_probability == pytest.approx(sum(alone) / count, abs=1e-4)
    assert found.bm_spread == pytest.approx(max(alone) - min(alone), abs=1e-4)


def test_all_images_of_a_lesion_travel_in_one_batch_where_they_fit(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[float]] = []
    _fail_when(monkeypatch, engine, lambda ages: batches.append(list(ages)))
    lesions = [[_lesion(seed, age=float(age)) for seed in range(3)] for age in range(5)]
    with engine.arriving():
        futures = [engine.submit(images, Priority.ROUTINE) for images in lesions]
    for future in futures:
        future.result(SOON)
    assert [sorted({*batch}) for batch in batches if len(batch) > 1] == [sorted({*batch}) for batch in batches]
    assert all(batch.count(age) == 3 for batch in batches for age in batch)


def test_an_image_without_finite_scores_is_refused_and_its_lesion_is_not(engine: Engine) -> None:
    images = [_lesion(seed, age=math.nan if seed == 1 else 50) for seed in range(3)]
    found = engine.submit(images, Priority.ROUTINE).result(SOON)
    assert [getattr(one, "code", None) for one in found.images] == [None, Code.SCORES_NOT_FINITE, None]
    others = engine.submit([images[0], images[2]], Priority.ROUTINE).result(SOON)
    assert found.bm.positive_probability == pytest.approx(others.bm.positive_probability, abs=1e-4)


def test_an_image_that_the_device_refuses_fails_alone_and_its_lesion_is_scored_on_the_others(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_when(monkeypatch, engine, lambda ages: 77.0 in ages)
    with engine.arriving():
        mixed = engine.submit([_lesion(1, age=50), _lesion(2, age=77), _lesion(3, age=50)], Priority.ROUTINE)
        bad = engine.submit([_lesion(4, age=77), _lesion(5, age=77)], Priority.ROUTINE)
        good = engine.submit([_lesion(6, age=50)], Priority.ROUTINE)
    found = mixed.result(SOON)
    assert [getattr(one, "code", None) for one in found.images] == [None, Code.INFERENCE_FAILED, None]
    with pytest.raises(ImagesRefused) as refused:
        bad.result(SOON)
    assert (refused.value.code, set(refused.value.images)) == (Code.INFERENCE_FAILED, {0, 1})
    assert good.result(SOON).scored_images


def test_a_lesion_needs_as_many_images_as_the_stricter_card_says(tmp_path: Path) -> None:
    registry = registry_with_both(tmp_path)
    registry.add(*write_model(tmp_path / "stricter", 1, name="DLR_BM", version="2.0", min_images=2))
    registry.activate("DLR_BM", "2.0")
    stricter = load_engine(tmp_path / "registry", "cpu", batch_max=8, wait_ms=0)
    assert stricter.min_images == 2
    with pytest.raises(ImagesRefused) as refused:
        stricter.submit([_lesion(1)], Priority.ROUTINE).result(SOON)
    assert (refused.value.code, dict(refused.value.images)) == (Code.IMAGES_TOO_FEW, {})
    assert len(stricter.submit([_lesion(1), _lesion(2)], Priority.ROUTINE).result(SOON).images) == 2
    stricter.close(SOON)


def test_a_device_that_refuses_everything_is_away_and_no_lesion_is_to_blame(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fail_when(monkeypatch, engine, lambda _ages: True)
    error = engine.submit([_lesion(1)], Priority.ROUTINE).exception(SOON)
    assert isinstance(error, Unavailable)
    assert error.code is Code.DEVICE_UNAVAILABLE


def test_a_device_that_fails_for_too_long_is_lost_and_one_that_recovers_is_not(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[str] = []
    patient = Engine(engine.cards, engine._runner, 8, 0, lost=lambda: lost.append("lost"), lost_after_s=0.2)
    fails = [True]
    _fail_when(monkeypatch, patient, lambda _ages: fails[0])

    def score() -> BaseException | None:
        return patient.submit([_lesion(1)], Priority.ROUTINE).exception(SOON)

    assert isinstance(score(), Unavailable)
    fails[0] = False
    assert score() is None
    fails[0] = True
    ends = time.monotonic() + 0.2
    assert isinstance(score(), Unavailable)
    assert not lost
    until(lambda: isinstance(score(), Unavailable) and bool(lost))
    assert time.monotonic() >= ends
    patient.close(SOON)


def _fail_when(monkeypatch: pytest.MonkeyPatch, engine: Engine, bad: Any) -> None:
    """Make the device refuse batches by the ages in them, as CUDA would: by a RuntimeError."""
    forward = engine._forward

    def failing(batch: Any) -> Any:
        if bad([prepared.age_years for prepared in batch]):
            raise torch.OutOfMemoryError("a patient's name")
        return forward(batch)

    monkeypatch.setattr(engine, "_forward", failing)


def test_a_closed_engine_takes_no_more(engine: Engine) -> None:
    closed = Engine(engine.cards, engine._runner, batch_max=8, wait_s=0)
    closed.close(SOON)
    with pytest.raises(Unavailable):
        closed.submit([_lesion(1)], Priority.ROUTINE)


def test_the_engine_tells_the_cards_it_runs(engine: Engine) -> None:
    assert [card.name for card in engine.cards] == ["DLR_LH", "DLR_BM"]


def test_cards_that_differ_in_preprocessing_get_each_their_own_image(tmp_path: Path, engine: Engine) -> None:
    registry = registry_with_both(tmp_path)
    registry.add(*write_model(tmp_path / "newer", 1, name="DLR_BM", version="2.0", input_size=48, resize="stretch"))
    registry.activate("DLR_BM", "2.0")
    newer = load_engine(tmp_path / "registry", "cpu", batch_max=8, wait_ms=0)
    (before,), (after,) = _scores(engine, _lesion(4)), _scores(newer, _lesion(4))
    newer.close(SOON)
    assert after.lh.positive_probability == pytest.approx(before.lh.positive_probability, abs=1e-5)
    assert after.bm.version == "2.0"
    assert after.bm.positive_probability != before.bm.positive_probability
