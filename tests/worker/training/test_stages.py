"""The study's two stages apart: the image network from lesions without an age, and the classifier with age from it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.worker.training.small import config, phantoms
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.scores_file import read_scores
from worker.inference.model_card import ModelCard, load_card
from worker.inference.network import DlrNetwork
from worker.inference.weights import load_network
from worker.training.cohort import Cohort
from worker.training.start_card import configured
from worker.training.train import train

pytestmark = pytest.mark.slow


def ageless(**changes: Any) -> Cohort:
    cohort = phantoms(config(**changes))
    rows = tuple(replace(row, age_years=None, site=("A", "B")[at % 2]) for at, row in enumerate(cohort.rows))
    return replace(cohort, rows=rows)


@pytest.fixture(scope="module")
def image_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a first stage that saw no age."""
    output = tmp_path_factory.mktemp("image") / "run"
    assert train("DLR_BM", ageless(), config(epochs=1, stages="image"), output) is not None
    return output


def second(output: Path, init: Path | str, **changes: Any) -> ModelCard:
    made = config(**({"epochs": 1, "stages": "age", "init": str(init), "age.learns_on": "train"} | changes))
    trained = train("DLR_BM", phantoms(made), made, output)
    assert trained is not None
    return trained.card


def embedding(path: Path) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in load_file(path / "weights.safetensors").items() if name[:6] == "image."}


def test_the_first_stage_needs_no_age_and_leaves_the_image_network_alone(image_stage: Path) -> None:
    card = load_card(image_stage / "card.json")
    assert (card.stage, card.training["stages"], card.training["age_learns_on"]) == ("image", "image", "none")
    expected = {name for name in DlrNetwork("resnet18").state_dict() if name.startswith("image.")}
    assert set(load_file(image_stage / "weights.safetensors")) == expected
    assert card.reference is None
    assert card.metrics["auc"] == card.metrics["auc_image_only"]
    assert "auc_age_only" not in card.metrics
    for lesion in read_scores(image_stage / "scores.csv").material.lesions:
        assert lesion.age_years is None
        assert lesion.split in (Split.VALIDATION, Split.TEST)


def test_the_card_has_its_metrics_of_each_site_too(image_stage: Path) -> None:
    card = load_card(image_stage / "card.json")
    assert sorted(card.metrics_by_site) == ["A", "B"]
    lesions = [int(card.metrics_by_site[site]["lesions"]) for site in "AB"]
    assert f"{sum(lesions)} held-out lesions" in str(card.metrics["test_set"])
    positives = [int(card.metrics_by_site[site]["positives"]) for site in "AB"]
    for site, count in zip("AB", positives, strict=True):
        assert ("sensitivity" in card.metrics_by_site[site]) == (count >= 10), "of few lesions no rate is said"


def test_without_an_age_it_is_scored_as_no_number_and_never_as_a_guess(image_stage: Path) -> None:
    card = load_card(image_stage / "card.json")
    network = load_network(card, image_stage / "weights.safetensors", torch.device("cpu"))
    images = torch.zeros(1, 3, card.input_size, card.input_size)
    assert torch.isnan(network(images, torch.zeros(1))).all()
    assert torch.isfinite(network.image_logits(images)).all()


def test_the_second_stage_learns_age_on_the_first_ones_embedding_which_stays(image_stage: Path, tmp_path: Path) -> None:
    card = second(tmp_path / "run", image_stage / "weights.safetensors")
    assert (card.stage, card.training["stages"], card.training["age_learns_on"]) == ("age", "age", "train")
    before, after = embedding(image_stage), embedding(tmp_path / "run")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert "auc_gain_over_image" in card.metrics
    assert card.reference is not None


@pytest.mark.parametrize("stages", ["two", "joint"])
def test_both_stages_from_there_go_on_with_the_embedding_too(image_stage: Path, tmp_path: Path, stages: str) -> None:
    second(tmp_path / "run", image_stage / "weights.safetensors", stages=stages)
    before, after = embedding(image_stage), embedding(tmp_path / "run")
    assert not torch.equal(before["image.fc1.weight"], after["image.fc1.weight"])


def test_the_second_stage_alone_is_refused_without_a_first_one(image_stage: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        second(tmp_path / "run", "random")
    assert refused.value.code is Code.CONFIG_INVALID
    backbone = {name: tensor for name, tensor in embedding(image_stage).items() if "backbone" in name}
    save_file(backbone, tmp_path / "backbone.safetensors")
    with pytest.raises(SetupRefused) as refused:
        second(tmp_path / "run", tmp_path / "backbone.safetensors")
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE
    assert "through its FC2" in refused.value.reason


def test_the_card_says_along_a_chain_what_its_weights_started_from_and_that_a_stranger_file_is_one(
    image_stage: Path, tmp_path: Path
) -> None:
    first = load_card(image_stage / "card.json")
    card = second(tmp_path / "two", image_stage / "weights.safetensors")
    [start] = card.initial_weights
    assert (start.weights_sha256, start.version) == (first.weights_sha256, first.version)
    assert (start.training, start.training_data) == (first.training, first.training_data)
    assert card.training["data_digest"] in {made["data_digest"] for made in card.trainings}
    assert first.initial_weights == ()
    third = second(tmp_path / "three", tmp_path / "two" / "weights.safetensors")
    assert [one.weights_sha256 for one in third.initial_weights] == [card.weights_sha256, first.weights_sha256]
    alone = tmp_path / "alone" / "weights.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((image_stage / "weights.safetensors").read_bytes())
    (alone.parent / "card.json").write_text(card.to_json())  # of other weights
    [unknown] = second(tmp_path / "four", alone).initial_weights
    assert (unknown.weights_sha256, unknown.version, unknown.training) == (first.weights_sha256, None, {})


def test_the_second_stage_takes_the_input_of_the_first_ones_card_and_no_other(
    image_stage: Path, tmp_path: Path
) -> None:
    init = str(image_stage / "weights.safetensors")
    taken = configured(None, {"init": init, "stages": "age"})
    first = load_card(image_stage / "card.json")
    assert (taken.backbone, taken.preprocessing) == (first.backbone, first.preprocessing)
    assert configured(None, {"init": init, "input_size": 64}).input_size == 64, "both stages may go on at another size"
    with pytest.raises(SetupRefused) as refused:
        second(tmp_path / "run", init, input_size=64, resize="stretch")
    assert refused.value.code is Code.CONFIG_INVALID
    assert "input_size is 64, and 32 on the card" in refused.value.reason
    assert "resize is stretch" in refused.value.reason
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("stages", ["two", "joint"])
def test_an_age_that_was_filled_in_is_refused_before_anything_is_trained(tmp_path: Path, stages: str) -> None:
    cohort = phantoms(config())
    alike = replace(cohort, rows=tuple(replace(row, age_years=50.0) for row in cohort.rows))
    with pytest.raises(SetupRefused) as refused:
        train("DLR_BM", alike, config(stages=stages), tmp_path / "run")
    assert refused.value.code is Code.AGE_UNINFORMATIVE
    assert not (tmp_path / "run").exists()
