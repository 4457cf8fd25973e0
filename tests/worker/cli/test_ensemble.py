"""`dlr models ensemble` as a user types it: from folds of a manifest to one version, as docs/model-owner.md has it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from tests.worker.dataset.manifests import cohort, with_calipers
from tests.worker.inference.samples import write_ensemble, write_image_stage, write_model
from worker.cli.main import app
from worker.cli.refusals import refuse_learned
from worker.dataset.manifest import Split
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.scores_file import read_scores
from worker.inference.model_card import load_card
from worker.settings import get_settings

pytestmark = pytest.mark.slow

SMALL = 'backbone = "resnet18"\ninit = "random"\ninput_size = 32\nepochs = 1\nbatch = 8\n[age]\nsteps = 5\n'
FOLDS = (1, 2, 3)
STATED = {"intended_use": "tests", "notice": "a test's, not for clinical use"}


def run(*arguments: object, status: int = 0) -> tuple[str, str]:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result.stdout, result.stderr


def in_json(*arguments: object, status: int = 0) -> Any:
    return json.loads(run(*arguments, "--format", "json", status=status)[0])


def held_out(path: Path) -> dict[str, float]:
    """The score of each lesion of the test."""
    lesions = read_scores(path).material.lesions
    return {one.lesion_id: score for one in lesions if one.split is Split.TEST for score in one.scores.values()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A manifest in three folds and a test, and a training of DLR_BM for each fold."""
    folder = tmp_path_factory.mktemp("folds")
    (folder / "small.toml").write_text(SMALL)
    write_manifest(folder / "m.csv", cohort(folder, 48, views=1, sites=("A", "B")))
    run("dataset", "split", folder / "m.csv", "-o", folder / "folds.csv", "--folds", len(FOLDS), "--seed", 1,
        "--train", 0.5, "--validation", 0.2, "--test", 0.3)  # fmt: skip
    for fold in FOLDS:
        run("train", "bm", "--manifest", folder / "folds.csv", "--fold", fold, "--seed", fold, "--device", "cpu",
            "--config", folder / "small.toml", "-o", folder / f"bm-{fold}", "--version", f"fold-{fold}")  # fmt: skip
    return folder


def test_folds_become_one_version_that_is_measured_on_what_no_fold_learned_from(folder: Path, tmp_path: Path) -> None:
    members, output = [folder / f"bm-{fold}" for fold in FOLDS], tmp_path / "bm"
    made = in_json("models", "ensemble", *members, "--version", "all", "-o", output, "--manifest", folder / "folds.csv")
    card = load_card(output / "card.json")
    assert made["card"] == card.model_dump(mode="json")
    assert [member.training["fold"] for member in card.members] == list(FOLDS)
    assert card.threshold == pytest.approx(
        np.mean([load_card(one / "card.json").threshold for one in members]), abs=1e-4
    )

    each = [held_out(one / "scores.csv") for one in members]
    together = held_out(output / "scores.csv")
    assert together.keys() == each[0].keys()
    for lesion, score in together.items():
        assert score == pytest.approx(np.mean([of_one[lesion] for of_one in each]), abs=1e-5)
    assert f"{len(together)} held-out lesions (test)" in str(card.metrics["test_set"])
    assert card.reference is not None
    assert card.reference.lesions == len(together)
    assert sorted(card.metrics_by_site) == ["A", "B"]
    evaluated = in_json("evaluate", "--scores", output / "scores.csv", "--resamples", 0)
    [auc] = [one["auc"]["value"] for question in evaluated["questions"] for one in question["judged"]]
    assert auc == pytest.approx(card.metrics["auc"], abs=1e-4)

    (output / "card.json").write_text(json.dumps(made["card"] | STATED))
    run("models", "add", output / "card.json", *sorted(output.glob("weights-*.safetensors")))
    run("models", "activate", "DLR_BM", "all")
    [listed] = in_json("models", "list")
    assert (listed["version"], listed["networks"], listed["active"]) == ("all", 3, True)
    [scored] = in_json("evaluate", "--manifest", folder / "folds.csv", "--model", "DLR_BM/all", "--resamples", 0,
                       status=0)["questions"][0]["judged"]  # fmt: skip
    assert scored["auc"]["value"] == pytest.approx(card.metrics["auc"], abs=1e-4)


def test_without_a_manifest_it_has_no_metrics_and_says_so(folder: Path, tmp_path: Path) -> None:
    members = [folder / f"bm-{fold}" for fold in FOLDS[:2]]
    _, said = run("models", "ensemble", *members, "--version", "two", "-o", tmp_path / "two", "--threshold", 0.3)
    card = load_card(tmp_path / "two" / "card.json")
    assert (card.metrics, card.reference, card.threshold) == ({}, None, 0.3)
    assert "it has no metrics" in said
    assert not (tmp_path / "two" / "scores.csv").exists()


def test_rows_that_its_members_left_out_are_left_out_of_what_it_is_measured_on(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("bm-*"))
    manifest, left_out = copied / "folds.csv", ("--exclude-finding", "overlay_in_roi")
    rows = read_manifest(manifest).rows.values()
    with_calipers(next(copied / row.image for row in rows if row.split is Split.TRAIN))
    for fold in (1, 2):
        run("train", "bm", "--manifest", manifest, "--fold", fold, "--seed", fold, "--device", "cpu", "--config",
            folder / "small.toml", "-o", copied / f"bm-{fold}", "--version", f"fold-{fold}", *left_out)  # fmt: skip
    members = [copied / f"bm-{fold}" for fold in (1, 2)]
    asked = ("models", "ensemble", *members, "--version", "all", "--manifest", manifest)
    note = "not every card says that its version was trained on this manifest"
    assert note in run(*asked, "-o", tmp_path / "whole")[1]
    assert note not in run(*asked, "-o", tmp_path / "same", *left_out)[1]


def registered(tmp_path: Path, *versions: str, name: str = "DLR_BM", **changes: Any) -> None:
    for seed, version in enumerate(versions):
        run("models", "add", *write_model(tmp_path / name / version, seed, name=name, version=version, **changes))


def test_versions_of_the_registry_are_named_as_everywhere_and_their_label_is_pathology(
    folder: Path, tmp_path: Path
) -> None:
    registered(tmp_path, "1.0", "2.0")
    _, said = run("models", "ensemble", "DLR_BM/1.0", "2.0", "--version", "both", "-o", tmp_path / "both",
                  "--manifest", folder / "folds.csv")  # fmt: skip
    card = load_card(tmp_path / "both" / "card.json")
    assert [member.version for member in card.members] == ["1.0", "2.0"]
    assert "not every card says that its version was trained on this manifest" in said
    assert "auc" in card.metrics


def test_a_version_is_shown_with_its_members(tmp_path: Path) -> None:
    card_path, weights = write_ensemble(tmp_path, (0, 1))
    run("models", "add", card_path, *weights)
    [shown] = in_json("models", "show", "DLR_BM/ensemble")
    assert shown == load_card(card_path).model_dump(mode="json") | {"active": False}
    table, _ = run("models", "show", "ensemble")
    assert all(word in table for word in ("member-0", "member-1", "temperature"))


def test_an_ensemble_of_the_image_stage_is_measured_by_the_image_alone(folder: Path, tmp_path: Path) -> None:
    members = [write_image_stage(tmp_path / str(seed), seed, version=f"image-{seed}")[0].parent for seed in (0, 1)]
    run("models", "ensemble", *members, "--version", "both", "-o", tmp_path / "both", "--manifest",
        folder / "folds.csv")  # fmt: skip
    card = load_card(tmp_path / "both" / "card.json")
    assert (card.stage, card.reference) == ("image", None)
    assert card.metrics["auc"] == card.metrics["auc_image_only"]


def test_what_does_not_go_together_is_refused_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    wide, _ = write_model(tmp_path / "wide", 3, input_size=64)
    with pytest.raises(ModelRefused) as differ:
        run("models", "ensemble", folder / "bm-1", wide.parent, "--version", "1", "-o", output)
    assert (differ.value.code, "input_size" in differ.value.reason) == (Code.MEMBERS_DIFFER, True)
    with pytest.raises(ModelRefused) as nowhere:
        run("models", "ensemble", folder / "bm-1", "DLR_BM/7", "--version", "1", "-o", output)
    assert nowhere.value.code is Code.MODEL_NOT_FOUND
    with pytest.raises(SetupRefused) as unsplit:
        run("models", "ensemble", folder / "bm-1", folder / "bm-2", "--version", "1", "-o", output, "--manifest",
            folder / "m.csv")  # fmt: skip
    assert unsplit.value.code is Code.SPLIT_IMPOSSIBLE
    assert not output.exists()
    output.mkdir()
    (output / "mine").touch()
    with pytest.raises(SetupRefused):
        run("models", "ensemble", folder / "bm-1", folder / "bm-2", "--version", "1", "-o", output)


def test_a_version_that_both_models_have_is_asked_for_by_name(tmp_path: Path) -> None:
    registered(tmp_path, "1.0")
    registered(tmp_path, "1.0", name="DLR_LH")
    assert get_settings().models_dir.is_dir()
    _, said = run("models", "ensemble", "1.0", "DLR_BM/1.0", "--version", "1", "-o", tmp_path / "out", status=2)
    assert "DLR_LH/1.0 or DLR_BM/1.0" in said


def test_the_calibration_of_an_ensemble_keeps_its_members(folder: Path, tmp_path: Path) -> None:
    members, output = [folder / f"bm-{fold}" for fold in FOLDS], tmp_path / "bm"
    run("models", "ensemble", *members, "--version", "all", "-o", output, "--manifest", folder / "folds.csv")
    _, said = run("models", "calibrate", output / "card.json", "--scores", output / "scores.csv", "--coverage", 0.9,
                  "--version", "sure", "-o", tmp_path / "sure.json")  # fmt: skip
    calibrated, before = load_card(tmp_path / "sure.json"), load_card(output / "card.json")
    assert (calibrated.members, calibrated.weights_sha256) == (before.members, before.weights_sha256)
    assert calibrated.conformal is not None
    assert "WEIGHTS..." in said
    with pytest.raises(typer.BadParameter):
        refuse_learned(Split.VALIDATION, calibrated)
