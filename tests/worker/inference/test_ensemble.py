"""An ensemble's AI score is the mean of its members', wherever it is scored, and a fault of one member is no secret."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tests.worker.inference.samples import copied_registry, registry_with_both, write_ensemble, write_model
from tests.worker.inference.test_single_model import lesion
from worker.clinical.aggregation import at_temperature
from worker.clinical.categories import Priority
from worker.errors import Code, LesionRefused, Unavailable
from worker.inference import loading
from worker.inference.ensemble import by_model, mean_score
from worker.inference.loading import load_engine
from worker.inference.model_card import ModelCard, load_card
from worker.inference.registry import Registry
from worker.inference.runner import probabilities
from worker.inference.single_model import SingleModel

CPU = torch.device("cpu")
SEEDS = (1, 2, 3)

of_members = st.integers(1, 6).flatmap(
    lambda members: arrays(np.float32, (members, 2), elements=st.floats(-80, 80, width=32))
)


@given(logits=of_members)
def test_its_score_is_the_mean_of_the_members_scores(logits: np.ndarray) -> None:
    expected = probabilities(logits).mean(axis=0)
    np.testing.assert_allclose(probabilities(mean_score(logits)), expected, atol=1e-6)
    np.testing.assert_allclose(probabilities(mean_score(logits[::-1])), expected, atol=1e-6)


@given(logits=of_members, temperature=st.floats(0.2, 5))
def test_a_temperature_is_that_of_the_mean_as_it_is_of_several_images(logits: np.ndarray, temperature: float) -> None:
    mean = probabilities(logits).mean(axis=0)[1]
    found = probabilities(mean_score(logits), np.array([temperature]))[1]
    # A mean nearer to 0 or 1 than 2e-16 is taken for that, which at a temperature of 5 is 0.0006.
    assert found == pytest.approx(at_temperature(mean, temperature), abs=1e-3)


@given(logits=of_members)
def test_one_network_alone_keeps_its_logits_to_the_bit(logits: np.ndarray) -> None:
    np.testing.assert_array_equal(mean_score(logits[:1]), logits[0])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_member_without_a_score_leaves_the_ensemble_without_one(bad: float) -> None:
    logits = np.zeros((4, 3, 2), np.float32)
    logits[1, 2, 0] = bad
    finite = np.isfinite(probabilities(mean_score(logits))).all(axis=1)
    assert finite.tolist() == [True, False, True, True]


def test_a_score_near_0_keeps_its_digits() -> None:
    logits = np.array([[40.0, -40.0], [50.0, -50.0]], np.float32)
    assert probabilities(mean_score(logits))[1] == pytest.approx(np.exp(-80) / 2, rel=1e-5)


def test_each_model_has_the_networks_of_its_own_card(tmp_path: Path) -> None:
    alone = load_card(write_model(tmp_path / "alone", name="DLR_LH")[0])
    three = load_card(write_ensemble(tmp_path, SEEDS)[0])
    logits = np.random.default_rng(0).normal(size=(5, 4, 2)).astype(np.float32)
    for cards, of_lh, of_bm in (((alone, three), [0], [1, 2, 3]), ((three, alone), [0, 1, 2], [3])):
        found = probabilities(by_model(cards, logits))
        np.testing.assert_allclose(found[:, 0], probabilities(logits[:, of_lh]).mean(axis=1), atol=1e-6)
        np.testing.assert_allclose(found[:, 1], probabilities(logits[:, of_bm]).mean(axis=1), atol=1e-6)


def with_members(folder: Path, **changes: Any) -> Registry:
    """Both models are active in 1.0; DLR_BM has three versions more, and their ensemble."""

    def make(made: Path) -> None:
        registry = registry_with_both(made, **changes)
        card_path, weights = write_ensemble(made / "incoming", SEEDS, **changes)
        registry.add(card_path, *weights)
        for seed in SEEDS:
            member = made / "incoming" / f"member-{seed}"
            registry.add(member / "card.json", member / "weights.safetensors")

    return copied_registry(folder, ["ensemble", changes], make)


def served(registry: Registry, folder: Path, version: str, images: list[Any]) -> float:
    registry.activate("DLR_BM", version)
    engine = load_engine(folder / "registry", "cpu", batch_max=4, wait_ms=1)
    try:
        return engine.submit(images, Priority.ROUTINE).result().bm.positive_probability
    finally:
        engine.close(5.0)


@pytest.mark.slow
def test_in_service_a_lesion_has_the_mean_of_what_the_members_say_in_service(tmp_path: Path) -> None:
    registry = with_members(tmp_path)
    images = [lesion(7), lesion(8)]
    each = [served(registry, tmp_path, f"member-{seed}", images) for seed in SEEDS]
    assert max(each) - min(each) > 1e-3
    assert served(registry, tmp_path, "ensemble", images) == pytest.approx(np.mean(each), abs=1e-6)
    alone = SingleModel(registry.active("DLR_BM"), CPU).score(images).score
    assert alone.positive_probability == pytest.approx(np.mean(each), abs=1e-4)


@pytest.mark.slow
def test_with_test_time_flips_a_lesion_has_the_mean_of_itself_and_its_mirror_image_in_service_and_beside_it(
    tmp_path: Path,
) -> None:
    registry = with_members(tmp_path, resize="stretch", roi_margin=0.0)
    card_path, weights = write_ensemble(
        tmp_path / "flipped", SEEDS, "flipped", resize="stretch", roi_margin=0.0, test_time_flip=True
    )
    registry.add(card_path, *weights)
    image = lesion(7)
    width, region = image.frame.shape[1], image.region
    mirror = replace(image, frame=image.frame[:, ::-1], region=replace(region, x=width - region.x - region.width))
    plain = SingleModel(registry.named("DLR_BM/ensemble")[0], CPU)
    each = [plain.score([one]).score.positive_probability for one in (image, mirror)]
    assert abs(each[0] - each[1]) > 1e-4
    flipped = SingleModel(registry.named("DLR_BM/flipped")[0], CPU)
    assert flipped.score([image]).score.positive_probability == pytest.approx(np.mean(each), abs=1e-5)
    assert served(registry, tmp_path, "flipped", [image]) == pytest.approx(np.mean(each), abs=1e-4)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[SingleModel]:
    """The ensemble, and each of its members."""
    registry = with_members(tmp_path_factory.mktemp("models"))
    versions = ("ensemble", *(f"member-{seed}" for seed in SEEDS))
    return [SingleModel(registry.named(f"DLR_BM/{version}")[0], CPU) for version in versions]


@pytest.mark.slow
@given(seeds=st.lists(st.integers(0, 50), min_size=1, max_size=3, unique=True), age=st.floats(18, 100))
def test_whatever_the_lesion_a_shadow_or_a_backfill_says_the_mean_of_the_members(
    models: list[SingleModel], seeds: list[int], age: float
) -> None:
    images = [lesion(seed, age) for seed in seeds]
    together, *each = (model.score(images).score.positive_probability for model in models)
    assert together == pytest.approx(np.mean(each), abs=1e-6)


@pytest.mark.slow
def test_a_lesion_that_one_member_cannot_score_is_refused(models: list[SingleModel]) -> None:
    with pytest.raises(LesionRefused) as refused:
        models[0].score([lesion(1, float("nan"))])
    assert refused.value.code is Code.SCORES_NOT_FINITE


@pytest.mark.slow
@pytest.mark.parametrize("network", range(4))
def test_a_device_that_gets_one_member_wrong_is_refused_though_the_mean_hardly_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: int
) -> None:
    with_members(tmp_path).activate("DLR_BM", "ensemble")
    load_engine(tmp_path / "registry", "cpu", batch_max=4, wait_ms=1).close(5.0)
    on_openvino = loading.by_openvino

    def a_little_off(*given: Any) -> Any:
        runner, logits = on_openvino(*given)
        logits = logits.copy()
        logits[:, network, 1] += 1e-3  # up to 2.5e-4 of a probability, and a third of that of the mean's
        return runner, logits

    monkeypatch.setattr(loading, "by_openvino", a_little_off)
    with pytest.raises(Unavailable) as refused:
        load_engine(tmp_path / "registry", "cpu", batch_max=4, wait_ms=1)
    assert refused.value.code is Code.DEVICE_UNAVAILABLE


def test_a_card_from_before_there_were_ensembles_reads_as_before(tmp_path: Path) -> None:
    card = load_card(write_model(tmp_path)[0])
    before = card.model_dump_json(exclude={"members"})
    assert ModelCard.model_validate_json(before) == card
    assert (card.weights_digests, card.trainings) == ((card.weights_sha256,), (card.training,))
