"""A training that is killed at any moment ends, once it goes on, in the same weights to the bit."""

import csv
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.worker.training.small import config, phantoms
from worker.errors import Code, SetupRefused
from worker.inference.card import ModelName, load_card
from worker.training.durable import write_json
from worker.training.train import Running, identity_of, train

KILLED = """
import importlib, os, signal, sys
from pathlib import Path
from tests.worker.training.small import config, phantoms
from worker.training.train import train

module, name, call, output, model, stages = sys.argv[1:]
owner = importlib.import_module(module)
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
original, calls = getattr(owner, last), 0

def killing(*arguments, **options):
    global calls
    calls += 1
    if calls == int(call):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments, **options)

setattr(owner, last, killing)
made = config(stages=stages)
train(model, phantoms(made), made, Path(output))
"""

MOMENTS = {
    "before the first step": ("worker.training.fit", "_loss", 1),
    "in the first epoch": ("worker.training.fit", "_loss", 3),
    "before the first checkpoint is in place": ("worker.training.durable", "_put", 2),
    "between the files of the first checkpoint": ("worker.training.checkpoint", "write_json", 1),
    "between the first checkpoint and the log": ("worker.training.log", "write_bytes", 2),
    "in the second epoch": ("worker.training.fit", "_loss", 5),
    "between the files of the second checkpoint": ("worker.training.checkpoint", "write_json", 2),
    "in the second stage": ("worker.training.age_stage", "weighted_loss", 7),
    "before the weights are in place": ("worker.training.outcome", "write_tensors", 1),
    "between weights and scores": ("worker.training.outcome", "write_bytes", 1),
    "before the card": ("worker.training.outcome", "write_bytes", 2),
    "behind the card": ("worker.training.checkpoint", "Checkpoints.remove", 1),
}


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}


def kill(moment: tuple[str, str, int], output: Path, model: ModelName = "DLR_LH", stages: str = "two") -> None:
    module, name, call = moment
    command = [sys.executable, "-c", KILLED, module, name, str(call), str(output), model, stages]
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=120, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def finish(output: Path, model: ModelName = "DLR_LH", **changes: Any) -> None:
    made = config(**changes)
    train(model, phantoms(made), made, output)


def result(output: Path) -> Mapping[str, object]:
    """All that a training leaves, without the times."""
    card = load_card(output / "card.json")
    log = [{**line, "seconds": ""} for line in csv.DictReader((output / "log.csv").open())]
    files = sorted(path.name for path in output.iterdir())
    scores = (output / "scores.csv").read_text()
    weights = hashlib.sha256((output / "weights.safetensors").read_bytes()).hexdigest()
    assert weights == card.weights_sha256
    return {"card": card.model_copy(update={"created_at": None}), "log": log, "scores": scores, "files": files}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, object]:
    output = tmp_path_factory.mktemp("uninterrupted") / "run"
    finish(output)
    return result(output)


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_killed_training_ends_in_the_same_weights(
    moment: tuple[str, str, int], tmp_path: Path, uninterrupted: Mapping[str, object]
) -> None:
    kill(moment, tmp_path / "run")
    finish(tmp_path / "run")
    assert result(tmp_path / "run") == uninterrupted


@pytest.mark.slow
def test_one_that_is_killed_again_and_again_does_too(tmp_path: Path, uninterrupted: Mapping[str, object]) -> None:
    for name in ("in the first epoch", "in the first epoch", "between the files of the first checkpoint"):
        kill(MOMENTS[name], tmp_path / "run")
    # What is left has one epoch to go: its calls are counted from there.
    kill(("worker.training.checkpoint", "write_json", 1), tmp_path / "run")
    kill(MOMENTS["in the second stage"], tmp_path / "run")
    finish(tmp_path / "run")
    assert result(tmp_path / "run") == uninterrupted


@pytest.mark.slow
def test_both_stages_at_once_resume_too(tmp_path: Path) -> None:
    finish(tmp_path / "whole", "DLR_BM", stages="joint")
    kill(MOMENTS["in the second epoch"], tmp_path / "run", "DLR_BM", "joint")
    finish(tmp_path / "run", "DLR_BM", stages="joint")
    assert result(tmp_path / "run") == result(tmp_path / "whole")


@pytest.mark.slow
def test_the_command_that_is_killed_from_outside_goes_on_when_it_is_given_again(tmp_path: Path) -> None:
    settings = tmp_path / "small.toml"
    settings.write_text('backbone = "resnet18"\ninput_size = 32\nepochs = 4\nbatch = 16\n')
    command = [sys.executable, "-m", "worker.cli.main", "train", "bm", "--phantom", "110", "--config", str(settings),
               "--device", "cpu", "--format", "json"]  # fmt: skip
    runs = []
    for name in ("whole", "killed"):
        output = tmp_path / name
        asked = [*command, "--output", str(output)]
        if name == "killed":
            with subprocess.Popen(asked, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                while not (output / "checkpoint" / "state.json").exists():
                    assert process.poll() is None
                    time.sleep(0.01)
                process.kill()
            assert process.returncode == -signal.SIGKILL
            assert not (output / "card.json").exists()
        done = subprocess.run(asked, env=environment(), capture_output=True, timeout=120, check=True)
        runs.append(json.loads(done.stdout)["card"] | {"created_at": None})
    assert runs[0] == runs[1]


def test_a_finished_training_does_nothing_and_says_so(tmp_path: Path) -> None:
    finish(tmp_path / "run")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir() if path.name != ".lock"}
    made = config()
    again = train("DLR_LH", phantoms(made), made, tmp_path / "run")
    assert again is not None
    assert again.judged is None
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir() if path.name != ".lock"}
    assert before == after


@pytest.mark.parametrize(
    ("model", "changes", "named"),
    [
        ("DLR_BM", {}, "model"),
        ("DLR_LH", {"seed": 5}, "data, seed"),
        ("DLR_LH", {"age__steps": 21}, "age.steps"),
        ("DLR_LH", {"phantoms__count": 120}, "data, phantoms.count"),
        ("DLR_LH", {"learning_rate": 0.5, "batch": 8}, "batch, learning_rate"),
    ],
)
def test_another_training_in_the_folder_is_refused_and_what_differs_is_named(
    tmp_path: Path, model: ModelName, changes: dict[str, Any], named: str
) -> None:
    finish(tmp_path / "run")
    before = result(tmp_path / "run")
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path / "run", model, **changes)
    assert refused.value.code is Code.TRAINING_DIFFERS
    assert f"differs in {named}:" in refused.value.reason
    assert result(tmp_path / "run") == before


def test_a_run_that_could_not_start_leaves_its_folder_to_another(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path / "run", init=str(tmp_path / "other.safetensors"))
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE
    finish(tmp_path / "run", init="random", seed=4)
    assert json.loads((tmp_path / "run" / "run.json").read_bytes())["seed"] == 4


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_training_of_another_kind_of_device_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    made = config()
    cohort = phantoms(made)
    own = identity_of("DLR_LH", cohort, made, device)
    assert own["device"] == "cpu"
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    write_json(tmp_path / "run" / "run.json", own | {"device": "cuda"})
    with pytest.raises(SetupRefused) as refused:
        train("DLR_LH", cohort, made, tmp_path / "run", Running(device=device))
    assert refused.value.code is Code.TRAINING_DIFFERS
    assert "differs in device:" in refused.value.reason


def test_a_damaged_checkpoint_and_a_full_disk_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from worker.training import durable

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(durable, "_put", full)
        with pytest.raises(SetupRefused) as refused:
            finish(tmp_path / "run")
    assert (refused.value.code, "room" in refused.value.reason) == (Code.SETTING_INVALID, True)

    def stopped(_progress: object) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as after_an_epoch:
        after_an_epoch.setattr(
            "worker.training.log._csv", lambda progress: stopped(progress) if progress.epochs else b""
        )
        with pytest.raises(KeyboardInterrupt):
            finish(tmp_path / "run")
    [kept] = (tmp_path / "run" / "checkpoint").glob("epoch-*")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path / "run")
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE
    assert "remove checkpoint/" in refused.value.reason
    for content in ("", "{}", "[1]"):
        (kept.parent / "state.json").write_text(content)
        with pytest.raises(SetupRefused) as refused:
            finish(tmp_path / "run")
        assert (refused.value.code, "state.json" in refused.value.reason) == (Code.WEIGHTS_UNAVAILABLE, True)
    for content in ("", "[1]", "1"):
        (tmp_path / "run" / "run.json").write_text(content)
        with pytest.raises(SetupRefused) as refused:
            finish(tmp_path / "run")
        assert (refused.value.code, "run.json" in refused.value.reason) == (Code.TRAINING_DIFFERS, True)


def test_a_folder_with_other_things_and_one_that_is_in_use_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path)
    assert refused.value.code is Code.TRAINING_DIFFERS
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path / "notes.txt")
    assert refused.value.code is Code.SETTING_INVALID

    def meanwhile(_share: float) -> None:
        with pytest.raises(SetupRefused) as busy:
            finish(tmp_path / "run")
        codes.append(busy.value.code)

    codes: list[Code] = []
    made = config()
    train("DLR_LH", phantoms(made), made, tmp_path / "run", Running(on_share=meanwhile))
    assert set(codes) == {Code.ALREADY_RUNNING}
