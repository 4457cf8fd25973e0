"""A training's configuration: read from a file, overridden, and refused where it is wrong."""

from pathlib import Path

import pytest

from worker.errors import Code, SetupRefused
from worker.training.config import DEMO, TrainingConfig, read_config


def written(folder: Path, text: str) -> Path:
    path = folder / "training.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_changes_what_it_names_and_an_option_goes_before_it(tmp_path: Path) -> None:
    path = written(tmp_path, 'epochs = 7\nseed = 3\nlow_risk_up_to = "4A"\n[augmentation]\nflip = 0.25\n')
    found = read_config(path, {"seed": 4, "batch": None, "phantoms.count": 9})
    assert (found.epochs, found.seed, found.batch, found.phantoms.count) == (7, 4, TrainingConfig().batch, 9)
    assert (found.augmentation.flip, found.augmentation.gamma) == (0.25, TrainingConfig().augmentation.gamma)
    assert found.low_risk_up_to == "4A"
    assert read_config(None, {}, DEMO) == DEMO


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("epoch = 3", "epoch: there is no such name; is epochs meant?"),
        ("[age]\nstep = 3", "age.step: there is no such name; is steps meant?"),
        ("colour = 3", "colour: there is no such name"),
        ("epochs = 0", "epochs"),
        ("learning_rate = nan", "learning_rate"),
        ("[augmentation]\nflip = 2", "augmentation.flip"),
        ("[age]\nrate = 1", "age.rate"),
        ('backbone = "vgg16"', "backbone"),
        ('low_risk_up_to = "0"', "low_risk_up_to"),
        ("[phantoms]\nvalidation = 0.5\ntest = 0.5", "validation and test"),
        ("epochs: 3", "not TOML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        read_config(written(tmp_path, text), {})
    assert refused.value.code is Code.CONFIG_INVALID
    assert named in refused.value.reason


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        read_config(tmp_path / "none.toml", {})
    assert refused.value.code is Code.CONFIG_INVALID


def test_a_training_from_before_aggregation_could_be_chosen_is_known_again() -> None:
    assert TrainingConfig().fingerprint() == "92b272"
    assert "aggregation" not in TrainingConfig().identity()
    changed = TrainingConfig(aggregation="max")
    assert changed.identity()["aggregation"] == "max"
    assert changed.fingerprint() != TrainingConfig().fingerprint()


def test_the_fingerprint_changes_with_any_number_but_the_seed_and_where_a_file_lies() -> None:
    config = TrainingConfig()
    assert config.fingerprint() == config.model_copy(update={"seed": 9}).fingerprint()
    for change in ({"epochs": 1}, {"init": "random"}, {"age": config.age.model_copy(update={"steps": 1})}):
        assert config.fingerprint() != config.model_copy(update=change).fingerprint()
    one, other = (config.model_copy(update={"init": path}).fingerprint() for path in ("a.safetensors", "b.safetensors"))
    assert one == other
