"""The demo models: reproducible, kept, marked, and never in place of a hospital's."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.worker.inference.samples import write_model
from worker.inference.model_card import DEMO_NOTICE
from worker.inference.registry import Registry
from worker.training.config import DEMO, Phantoms, TrainingConfig, read_config
from worker.training.demo_models import DemoModel, make_demo_models

pytestmark = pytest.mark.slow

TINY = read_config(
    None,
    {"backbone": "resnet18", "input_size": 32, "epochs": 1, "batch": 16, "age.steps": 20, "seed": 1},
    DEMO.model_copy(update={"phantoms": Phantoms(count=112, validation=0.28, test=0.28)}),
)


@dataclass(frozen=True)
class Made:
    """The demo models, once made: nobody changes their registry."""

    folder: Path
    models: tuple[DemoModel, ...]
    told: list[tuple[str, float]]


def _make(folder: Path, config: TrainingConfig = TINY, **changes: object) -> tuple[DemoModel, ...]:
    changed = config.model_copy(update=changes)
    return make_demo_models(Registry(folder), on_progress=lambda _what, _share: None, config=changed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, told = tmp_path_factory.mktemp("made"), []
    models = make_demo_models(Registry(folder), on_progress=lambda *now: told.append(now), config=TINY)
    return Made(folder, models, told)


def test_both_models_are_made_and_activated_and_say_what_they_are(made: Made) -> None:
    assert [model.card.name for model in made.models] == ["DLR_LH", "DLR_BM"]
    assert DEMO_NOTICE == "demo, synthetic, not for clinical use"
    for model in made.models:
        assert model.trained
        assert model.activated
        assert model.card.notice == DEMO_NOTICE
        assert DEMO_NOTICE in model.card.intended_use
        assert DEMO_NOTICE in model.card.training_data
        assert DEMO_NOTICE in str(model.card.metrics["test_set"])
        assert model.card.reference is not None
        assert model.card.reference.lesions == 31
    assert Registry(made.folder).is_ready()
    assert all(finding.code is None for finding in Registry(made.folder).check())


def test_progress_is_told_from_beginning_to_end(made: Made) -> None:
    shares = [share for _, share in made.told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert list(dict.fromkeys(what for what, _ in made.told)) == [
        "drawing phantoms",
        "training DLR_LH",
        "training DLR_BM",
        "done",
    ]


def test_the_same_seed_gives_the_same_weights_and_another_seed_or_recipe_another_version(
    made: Made, tmp_path: Path
) -> None:
    again = _make(tmp_path / "again")
    assert [model.card.weights_sha256 for model in again] == [model.card.weights_sha256 for model in made.models]
    assert [model.card.metrics for model in again] == [model.card.metrics for model in made.models]
    others = [*again, *_make(tmp_path / "again", seed=2), *_make(tmp_path / "again", learning_rate=2e-3)]
    assert len({(model.card.name, model.card.version) for model in others}) == 6
    assert len({model.card.weights_sha256 for model in others}) == 6


def test_what_is_there_is_not_trained_again(made: Made) -> None:
    again = _make(made.folder)
    assert [model.card for model in again] == [model.card for model in made.models]
    assert not any(model.trained or model.activated for model in again)


def test_damaged_weights_are_made_again_by_later_code_too(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lh, bm = (model.card for model in made.models)
    shutil.copytree(made.folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "DLR_LH" / lh.version / "weights.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr("worker.training.artefacts.code_version", lambda: "a later one")
    assert [model.card for model in _make(tmp_path)] == [lh, bm]
    assert all(finding.code is None for finding in Registry(tmp_path).check())


def test_a_hospitals_model_stays_active(made: Made, tmp_path: Path) -> None:
    shutil.copytree(made.folder, tmp_path / "registry")
    for name in ("active.json", "history.jsonl"):
        (tmp_path / "registry" / name).unlink()
    registry = Registry(tmp_path / "registry")
    own = registry.add(*write_model(tmp_path / "own", name="DLR_BM"))
    registry.activate("DLR_BM", own.version)
    lh, bm = _make(tmp_path / "registry")
    assert (lh.activated, bm.activated) == (True, False)
    assert registry.active("DLR_BM").card == own


@pytest.mark.long
def test_the_demo_models_see_more_than_age_on_phantoms_they_never_saw(tmp_path: Path) -> None:
    for model in _make(tmp_path, DEMO):
        metrics = {name: value for name, value in model.card.metrics.items() if isinstance(value, float)}
        assert model.card.backbone == "resnet50"
        assert metrics["auc"] >= 0.90, model.card.name
        assert metrics["auc_gain_over_age_lower_95"] > 0, model.card.name
        assert metrics["sensitivity"] > 0.75
        assert metrics["specificity"] > 0.75
