"""What a training leaves: a card, weights that the registry takes, and scores that can be evaluated."""

import json
import os
import subprocess
import sys
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from tests.worker.training.small import config, phantoms
from worker.cli.main import app
from worker.dataset.manifest import Split
from worker.errors import Code, SetupRefused
from worker.evaluation.scores_file import read_scores
from worker.inference.model_card import DEMO_NOTICE, load_card
from worker.inference.network import DlrNetwork
from worker.inference.registry import Registry
from worker.training import log
from worker.training.age_stage import start_from_the_image
from worker.training.artefacts import code_version
from worker.training.checkpoint import Checkpoints, Progress
from worker.training.cohort import labelled
from worker.training.config import DEMO, TrainingConfig, read_config
from worker.training.fit import Fitting, class_weights, fit, weighted_loss
from worker.training.labels import rule_of
from worker.training.processes import Team
from worker.training.start import new_network
from worker.training.train import Running, Trained, train

pytestmark = pytest.mark.slow

RUN: dict[str, Any] = {"seed": 3, "epochs": 1}


def trained(output: Path, model: Any = "DLR_BM", running: Running | None = None, **changes: Any) -> Trained:
    return trained_as(config(**changes), output, model, running)


def trained_as(made: TrainingConfig, output: Path, model: Any, running: Running | None = None) -> Trained:
    found = train(model, phantoms(made), made, output, running or Running())
    assert found is not None
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training of one epoch, in a folder that it made, under the usual umask."""
    output = tmp_path_factory.mktemp("made") / "run"
    before = os.umask(0o022)
    trained(output, "DLR_LH", **RUN)
    os.umask(before)
    return output


def test_the_card_says_what_the_model_was_made_of(run: Path) -> None:
    card, made = load_card(run / "card.json"), config(**RUN)
    cohort = phantoms(made)
    lesions = labelled(cohort, rule_of("DLR_LH", made))
    assert card.training == {
        "data_digest": cohort.digest,
        "label_rule": "BI-RADS up to 3 is low risk, 4A and above is high risk",
        "train_images": len(lesions.of(Split.TRAIN)),
        "validation_images": len(lesions.of(Split.VALIDATION)),
        "test_images": len(lesions.of(Split.TEST)),
        "images_of_neither_class": 0,
        "stages": "two",
        "age_learns_on": made.age.learns_on,
        "seed": 3,
        "configuration": made.fingerprint(),
        "code_version": code_version(),
        "torch": torch.__version__,
    }
    assert (card.notice, card.preprocessing, card.backbone) == (DEMO_NOTICE, made.preprocessing, "resnet18")
    assert {"auc", "auc_lower_95", "auc_upper_95", "auc_image_only", "auc_age_only", "auc_gain_over_image_p",
            "auc_gain_over_age_p", "sensitivity", "specificity", "test_set"} <= set(card.metrics)  # fmt: skip
    assert card.reference is not None
    assert cohort.digest in card.training_data


@pytest.mark.parametrize(
    ("stages", "asked", "said"),
    [("two", "validation", "validation"), ("two", "train", "train"), ("joint", "both", "train")],
)
def test_the_card_says_what_the_classifier_with_age_learned_on(
    tmp_path: Path, stages: str, asked: str, said: str
) -> None:
    card = trained(tmp_path / "run", epochs=1, stages=stages, age__learns_on=asked).card
    assert (card.training["stages"], card.training["age_learns_on"]) == (stages, said)


def test_what_a_small_network_sees_is_no_chance_on_phantoms_that_it_never_saw(tmp_path: Path) -> None:
    """What the demo's models see is asked before a release."""
    changes = {"backbone": "resnet18", "input_size": 32, "phantoms.count": 600}
    card = trained_as(read_config(None, changes, DEMO), tmp_path / "run", "DLR_BM").card
    assert float(card.metrics["auc_image_only"]) > 0.65


def test_the_registry_takes_exactly_that(run: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    card = registry.add(run / "card.json", run / "weights.safetensors")
    registry.activate(card.name, card.version)
    assert all(finding.code is None for finding in registry.check())


def test_the_scores_are_those_of_lesions_that_were_held_out_and_can_be_evaluated(run: Path, tmp_path: Path) -> None:
    card, made = load_card(run / "card.json"), config(**RUN)
    read = read_scores(run / "scores.csv")
    assert read.bad == ()
    held_out = labelled(phantoms(made), rule_of("DLR_LH", made)).of(Split.VALIDATION, Split.TEST)
    assert {one.patient for one in read.material.lesions} == {row.patient_key for row in held_out.rows}
    assert {one.split for one in read.material.lesions} == {Split.VALIDATION, Split.TEST}
    arguments = ["evaluate", "--scores", str(run / "scores.csv"), "--lh-threshold", str(card.threshold),
                 "--resamples", "0", "--format", "json"]  # fmt: skip
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code in (0, 3), done.output
    [own] = [one for one in json.loads(done.stdout)["questions"] if one["truth"] == "birads"]
    [judged] = own["judged"]
    assert judged["auc"]["value"] == pytest.approx(card.metrics["auc"], abs=1e-4)
    [used] = [point for point in judged["operating_points"] if point["used"]]
    assert used["sensitivity"]["rate"] == pytest.approx(card.metrics["sensitivity"], abs=1e-4)


def test_a_score_is_what_the_written_weights_give(run: Path) -> None:
    from worker.inference.model_pair import ScoringNetworks
    from worker.inference.runner import probabilities
    from worker.inference.weights import load_network

    card, cohort = load_card(run / "card.json"), phantoms(config(**RUN))
    scoring = ScoringNetworks(card, [load_network(card, run / "weights.safetensors", torch.device("cpu"))]).eval()
    of_patient = {row.patient_key: place for place, row in enumerate(cohort.rows)}
    for lesion in read_scores(run / "scores.csv").material.lesions[:5]:
        place = of_patient[str(lesion.patient)]
        pixels = torch.from_numpy(cohort.pixels[place : place + 1])
        age = torch.tensor([(cohort.rows[place].age_years - card.age_mean) / card.age_sd], dtype=torch.float32)
        with torch.no_grad():
            expected = probabilities(scoring(pixels, age).numpy())[0, 0, 1]
        [score] = lesion.scores.values()
        assert score == pytest.approx(expected, abs=1e-5)


def test_with_test_time_flips_the_threshold_and_the_scores_are_of_an_image_and_its_mirror_image(tmp_path: Path) -> None:
    from worker.inference.ensemble import mean_score
    from worker.inference.model_pair import ScoringNetworks
    from worker.inference.runner import probabilities
    from worker.inference.weights import load_network

    card = trained(tmp_path / "run", epochs=1, test_time_flip=True).card
    assert card.test_time_flip
    plain = trained(tmp_path / "plain", epochs=1).card
    assert (plain.test_time_flip, plain.weights_sha256) == (False, card.weights_sha256)
    network, cohort = load_network(card, tmp_path / "run/weights.safetensors", torch.device("cpu")), phantoms(config())
    of_patient = {row.patient_key: place for place, row in enumerate(cohort.rows)}
    for lesion in read_scores(tmp_path / "run/scores.csv").material.lesions[:5]:
        place = of_patient[str(lesion.patient)]
        age = torch.tensor([(cohort.rows[place].age_years - card.age_mean) / card.age_sd], dtype=torch.float32)
        with torch.no_grad():
            passes = ScoringNetworks(card, [network])(torch.from_numpy(cohort.pixels[place : place + 1]), age).numpy()
        assert passes.shape == (1, 2, 2)
        assert [*lesion.scores.values()] == pytest.approx([probabilities(mean_score(passes))[0, 1]], abs=1e-5)


def test_a_version_can_be_named_and_the_log_left_out(tmp_path: Path) -> None:
    made = trained(tmp_path / "run", running=Running(version="2026.11", log=log.Log.NONE), epochs=1)
    assert made.card.version == "2026.11"
    assert not (tmp_path / "run" / "log.csv").exists()


def test_what_is_written_is_for_its_owner_alone(run: Path) -> None:
    assert run.stat().st_mode & 0o777 == 0o700
    modes = {name: (run / name).stat().st_mode & 0o777 for name in ("scores.csv", "run.json")}
    assert modes == {"scores.csv": 0o600, "run.json": 0o600}


def test_a_version_that_no_card_may_have_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        trained(tmp_path / "run", running=Running(version="my model"))
    assert refused.value.code is Code.CONFIG_INVALID
    assert not (tmp_path / "run").exists()


def test_training_needs_nothing_of_the_extra_train(tmp_path: Path) -> None:
    """As in an image that has the extra worker alone."""
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('scipy', 'sklearn', 'matplotlib', 'pyarrow', 'jinja2')));"
        "from pathlib import Path;"
        "from tests.worker.training.small import config, phantoms; from worker.training.train import train;"
        "made = config(epochs=1);"
        "assert train('DLR_BM', phantoms(made), made, Path(sys.argv[1])).judged is not None"
    )
    root = str(Path(__file__).parents[3])
    command = [sys.executable, "-c", program, str(tmp_path / "run")]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "PYTHONPATH": root})


def test_it_stops_early_and_keeps_the_best_epoch(tmp_path: Path) -> None:
    made = config(epochs=8, patience=1, learning_rate=0.05)
    lesions, network = labelled(phantoms(made), rule_of("DLR_BM", made)), new_network(made)
    after: dict[int, dict[str, torch.Tensor]] = {}

    def keep(progress: Progress) -> None:
        after[progress.epochs] = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    alone, checkpoints = Team(0, 1, torch.device("cpu")), Checkpoints(tmp_path / "checkpoint")
    ended = fit(network, Fitting(lesions, made, alone, checkpoints, keep, on_share=lambda _share: None))
    aucs = [epoch["validation_auc"] for epoch in ended.history]
    best = int(np.argmax(aucs)) + 1
    assert (ended.best_epoch, ended.epochs) == (best, best + 1)
    assert ended.epochs < made.epochs
    found = network.state_dict()
    assert all(torch.equal(tensor, after[best][name]) for name, tensor in found.items())
    assert any(not torch.equal(tensor, after[ended.epochs][name]) for name, tensor in found.items())


def test_an_image_part_and_a_whole_network_can_be_started_from(run: Path, tmp_path: Path) -> None:
    whole = load_file(run / "weights.safetensors")
    image = {name: tensor for name, tensor in whole.items() if name.startswith("image.")}
    save_file(image, tmp_path / "image.safetensors")
    drawn = new_network(config(init="random", seed=3)).state_dict()
    for path, taken in ((run / "weights.safetensors", whole), (tmp_path / "image.safetensors", image)):
        found = new_network(config(init=str(path), seed=3)).state_dict()
        assert all(torch.equal(tensor, taken.get(name, drawn[name])) for name, tensor in found.items())


@pytest.mark.parametrize("ending", [".safetensors", ".pth"])
@pytest.mark.parametrize("is_old", [False, True])
def test_a_resnet_by_torchvisions_names_can_be_started_from(tmp_path: Path, ending: str, is_old: bool) -> None:
    from torchvision import models

    published = models.resnet18().state_dict()
    weights = {name: tensor for name, tensor in published.items() if not is_old or "num_batches" not in name}
    path = tmp_path / f"resnet18{ending}"
    save_file(weights, path) if ending == ".safetensors" else torch.save(weights, path)
    found = new_network(config(init=str(path), seed=3)).state_dict()
    taken = {f"image.backbone.{name}": tensor for name, tensor in published.items() if not name.startswith("fc.")}
    assert all(torch.equal(found[name], tensor) for name, tensor in taken.items())


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_checkpoint_of_another_trainer_can_be_started_from(tmp_path: Path, wrapped: bool) -> None:
    from torchvision import models

    published = {name: tensor.half() for name, tensor in models.resnet18().state_dict().items()}
    parallel = {f"module.{name}": tensor for name, tensor in published.items()}
    path = tmp_path / "weights.pth"
    torch.save({"epoch": 3, "state_dict": parallel} if wrapped else parallel, path)
    found = new_network(config(init=str(path), seed=3)).state_dict()["image.backbone.layer1.0.conv1.weight"]
    assert (found.dtype, torch.equal(found, published["layer1.0.conv1.weight"].float())) == (torch.float32, True)


def test_a_start_of_another_backbone_or_with_other_names_is_refused_with_what_to_do(tmp_path: Path) -> None:
    from torchvision import models

    weights = models.resnet34().state_dict()
    for name, kept, said in (
        ("other", weights, "give --backbone resnet34"),
        ("renamed", {f"encoder.{name}": tensor for name, tensor in weights.items()}, "rename"),
    ):
        torch.save(kept, tmp_path / f"{name}.pth")
        with pytest.raises(SetupRefused) as refused:
            new_network(config(init=str(tmp_path / f"{name}.pth")))
        assert said in refused.value.reason
        assert len(refused.value.reason) < 200


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"conv1.weight": Evil()}, tmp_path / "weights.pth")
    with pytest.raises(SetupRefused) as refused:
        new_network(config(init=str(tmp_path / "weights.pth")))
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE
    assert not (tmp_path / "ran").exists()


def test_a_start_that_does_not_fit_is_refused_before_lesions_are_read(run: Path) -> None:
    from worker.training.train import require_startable

    wrong = config(init=str(run / "weights.safetensors"), backbone="resnet34")
    with pytest.raises(SetupRefused) as refused:
        require_startable("DLR_BM", wrong, Running())
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE


@pytest.mark.parametrize("broken", ["missing", "not safetensors", "another backbone"])
def test_weights_that_do_not_fit_are_refused(run: Path, tmp_path: Path, broken: str) -> None:
    path = tmp_path / "weights"
    if broken == "not safetensors":
        path.write_bytes(b"\x80\x04K\x01.")
    elif broken == "another backbone":
        path = run / "weights.safetensors"
    with pytest.raises(SetupRefused) as refused:
        new_network(config(init=str(path), backbone="resnet34" if path.parent == run else "resnet18"))
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE


def test_imagenets_weights_are_fetched_by_their_hash_and_never_run_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision import models

    asked: list[dict[str, Any]] = []

    def fetched(url: str, **options: Any) -> dict[str, torch.Tensor]:
        asked.append({"url": url} | options)
        # As torchvision's own file of this network, which is older than the count of batches.
        return {name: tensor for name, tensor in models.resnet18().state_dict().items() if "num_batches" not in name}

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetched)
    found = new_network(config(init="imagenet"))
    assert isinstance(found, DlrNetwork)
    assert (asked[0]["check_hash"], asked[0]["weights_only"]) == (True, True)
    assert asked[0]["url"].startswith("https://download.pytorch.org/")


def test_without_a_network_imagenet_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def away(*_arguments: Any, **_options: Any) -> None:
        raise urllib.error.URLError("no network")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.urlopen", away)
    with pytest.raises(SetupRefused) as refused:
        new_network(config(init="imagenet"))
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE
    assert "--init random" in refused.value.reason
    assert "resnet18-f37072fd.pth" in refused.value.reason


def test_tensorboard_is_asked_for_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(log, "find_spec", lambda _name: None)
    with pytest.raises(SetupRefused) as refused:
        trained(tmp_path / "run", running=Running(log=log.Log.TENSORBOARD))
    assert refused.value.code is Code.SETTING_INVALID
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        trained(tmp_path / "run", learning_rate=1e30)
    assert refused.value.code is Code.TRAINING_DIVERGED


def test_fewer_lesions_than_a_batch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SetupRefused) as refused:
        trained(tmp_path / "run", batch=64)
    assert refused.value.code is Code.LESIONS_TOO_FEW


def test_class_weights_make_classes_count_alike_and_are_1_in_the_mean() -> None:
    labels = np.array([True] * 2 + [False] * 6)
    weights = class_weights(labels, config(class_weights="balanced"))
    assert float(weights[1] * 2) == pytest.approx(float(weights[0] * 6)) == pytest.approx(4)
    assert class_weights(labels, config(class_weights="none")).tolist() == [1, 1]
    logits, targets = torch.zeros(8, 2), torch.from_numpy(labels).long()
    assert float(weighted_loss(logits, targets, weights)) == pytest.approx(np.log(2))


def test_the_second_stage_starts_as_the_image_networks_own_answer() -> None:
    network = new_network(config(seed=4))
    start_from_the_image(network)
    embeddings, ages = torch.randn(50, 128) * 3, torch.randn(50)
    with torch.no_grad():
        said = torch.softmax(network.age(embeddings, ages), 1)
        expected = torch.softmax(network.image.fc2(embeddings), 1)
    assert torch.allclose(said, expected, atol=1e-5)


def test_the_image_network_is_frozen_in_the_second_stage_and_moves_when_both_are_trained_at_once(
    run: Path, tmp_path: Path
) -> None:
    first = load_file(run / "weights.safetensors")
    trained(tmp_path / "longer", "DLR_LH", **RUN, age__steps=50)
    trained(tmp_path / "joint", "DLR_LH", **RUN, stages="joint")
    longer, joint = (load_file(tmp_path / name / "weights.safetensors") for name in ("longer", "joint"))
    image = [name for name in first if name.startswith("image.")]
    assert all(torch.equal(first[name], longer[name]) for name in image)
    assert any(not torch.equal(first[name], longer[name]) for name in first if name.startswith("age."))
    assert any(not torch.equal(first[name], joint[name]) for name in image)
