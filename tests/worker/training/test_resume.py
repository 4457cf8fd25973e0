"""A training that is killed at any moment ends, once it goes on, in the same weights to the bit.

What a killed process leaves is what is on the disk at that moment. So one training is copied at each of them, and goes
on from each copy; the processes that are killed in earnest are those of the command.
"""

import csv
import hashlib
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file

from tests.command_line import dlr
from tests.shared import made_once
from tests.waiting import patience, until
from tests.worker.training.small import config, phantoms
from worker.errors import Code, SetupRefused
from worker.inference.model_card import ModelName, load_card
from worker.training.checkpoint_files import write_json
from worker.training.train import Running, identity_of, train

pytestmark = pytest.mark.slow

Moment = tuple[str, int]
"""Before a call of a function: its name, and which call."""

MOMENTS: dict[str, Moment] = {
    "before the first step": ("worker.training.fit._loss", 1),
    "in the first epoch": ("worker.training.fit._loss", 3),
    "before the first checkpoint is in place": ("worker.durable_files.sync", 3),
    "between the files of the first checkpoint": ("worker.training.checkpoint.write_json", 1),
    "between the first checkpoint and the log": ("worker.training.log.write_bytes", 2),
    "in the second epoch": ("worker.training.fit._loss", 5),
    "between the files of the second checkpoint": ("worker.training.checkpoint.write_json", 2),
    "in the second stage": ("worker.training.age_stage.weighted_loss", 7),
    "before the weights are in place": ("worker.training.artefacts.write_tensors", 1),
    "between weights and scores": ("worker.training.artefacts.write_bytes", 1),
    "before the card": ("worker.training.artefacts.write_bytes", 2),
    "behind the card": ("worker.training.checkpoint.Checkpoints.remove", 1),
}


class Ended(BaseException):
    """Ends a training whose folder was copied."""


@contextmanager
def before(moments: Mapping[Moment, Callable[[], None]]) -> Iterator[None]:
    """Do something at each moment of what is done in the context."""
    calls: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., object]:
        original = pkgutil.resolve_name(name)

        def call(*arguments: object, **options: object) -> object:
            calls[name] += 1
            moments.get((name, calls[name]), lambda: None)()
            return original(*arguments, **options)

        return call

    with ExitStack() as patched:
        for name in {name for name, _ in moments}:
            patched.enter_context(mock.patch(name, counted(name)))
        yield


def copy(output: Path, to: Path) -> None:
    """Copy a training's folder as it is; its files are never written into, so that the same files may be in both."""
    shutil.copytree(output, to, ignore=shutil.ignore_patterns(".lock"), copy_function=os.link)


def killed(moment: Moment, output: Path, to: Path) -> None:
    """Leave a training as it would be if it were killed at a moment."""

    def end() -> None:
        copy(output, to)
        raise Ended

    with pytest.raises(Ended), before({moment: end}):
        finish(output)


def finish(output: Path, model: ModelName = "DLR_LH", **changes: Any) -> None:
    made = config(**changes)
    train(model, phantoms(made), made, output)


def result(output: Path) -> Mapping[str, object]:
    """All that a training leaves, without the times."""
    card = load_card(output / "card.json")
    log = [{**line, "seconds": ""} for line in csv.DictReader((output / "log.csv").open())]
    files = sorted(path.name for path in output.iterdir() if path.name != ".lock")
    scores = (output / "scores.csv").read_text()
    weights = hashlib.sha256((output / "weights.safetensors").read_bytes()).hexdigest()
    assert weights == card.weights_sha256
    return {"card": card.model_copy(update={"created_at": None}), "log": log, "scores": scores, "files": files}


@pytest.fixture(scope="module")
def left() -> Path:
    """What a training would have left at each moment, by its name, and what it ended in, in ``whole``."""

    def make(folder: Path) -> None:
        output = folder / "whole"
        with before({moment: partial(copy, output, folder / name) for name, moment in MOMENTS.items()}):
            finish(output)

    return made_once("a training at each moment", make)


@pytest.fixture(scope="module")
def uninterrupted(left: Path) -> Mapping[str, object]:
    return result(left / "whole")


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_ends_in_the_same_weights(
    moment: str, tmp_path: Path, left: Path, uninterrupted: Mapping[str, object]
) -> None:
    shutil.copytree(left / moment, tmp_path / "run")
    finish(tmp_path / "run")
    assert result(tmp_path / "run") == uninterrupted


def test_one_that_is_killed_again_and_again_does_too(
    tmp_path: Path, left: Path, uninterrupted: Mapping[str, object]
) -> None:
    shutil.copytree(left / "in the first epoch", tmp_path / "0")
    # From the third on there is one epoch to go, and its calls are counted from there.
    for number, moment in enumerate(
        (
            MOMENTS["in the first epoch"],
            MOMENTS["in the second epoch"],
            ("worker.training.checkpoint.write_json", 1),
            MOMENTS["in the second stage"],
        )
    ):
        killed(moment, tmp_path / f"{number}", tmp_path / f"{number + 1}")
    finish(tmp_path / "4")
    assert result(tmp_path / "4") == uninterrupted


def test_both_stages_at_once_resume_too(tmp_path: Path) -> None:
    with before({MOMENTS["in the second epoch"]: partial(copy, tmp_path / "whole", tmp_path / "killed")}):
        finish(tmp_path / "whole", "DLR_BM", stages="joint")
    finish(tmp_path / "killed", "DLR_BM", stages="joint")
    assert result(tmp_path / "killed") == result(tmp_path / "whole")


def test_the_command_that_is_killed_from_outside_goes_on_when_it_is_given_again(tmp_path: Path) -> None:
    settings = tmp_path / "small.toml"
    settings.write_text('backbone = "resnet18"\ninput_size = 32\nepochs = 4\nbatch = 16\n')
    asked = ["train", "bm", "--phantom", "110", "--config", str(settings), "--device", "cpu", "--format", "json"]
    output = tmp_path / "killed"
    with subprocess.Popen(
        [sys.executable, "-m", "worker.cli.main", *asked, "--output", str(output)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        until(lambda: (output / "checkpoint" / "state.json").exists() or process.poll() is not None, 120)
        process.kill()
        process.wait(patience(60))
    assert process.returncode == -signal.SIGKILL
    assert not (output / "card.json").exists()
    done = [dlr(*asked, "--output", tmp_path / name) for name in ("killed", "whole")]
    killed, whole = (json.loads(one.stdout)["card"] | {"created_at": None} for one in done)
    assert killed == whole


def test_a_finished_training_does_nothing_and_says_so(tmp_path: Path, left: Path) -> None:
    def written() -> dict[str, int]:
        return {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir() if path.name != ".lock"}

    shutil.copytree(left / "whole", tmp_path / "run")
    before_it, made = written(), config()
    again = train("DLR_LH", phantoms(made), made, tmp_path / "run")
    assert again is not None
    assert again.judged is None
    assert written() == before_it


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
    tmp_path: Path,
    left: Path,
    uninterrupted: Mapping[str, object],
    model: ModelName,
    changes: dict[str, Any],
    named: str,
) -> None:
    shutil.copytree(left / "whole", tmp_path / "run")
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path / "run", model, **changes)
    assert refused.value.code is Code.TRAINING_DIFFERS
    assert f"differs in {named}:" in refused.value.reason
    assert result(tmp_path / "run") == uninterrupted


def test_a_run_that_could_not_start_leaves_its_folder_to_another(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path / "run", init=str(tmp_path / "other.safetensors"))
    assert refused.value.code is Code.WEIGHTS_UNAVAILABLE
    finish(tmp_path / "run", init="random", seed=4, epochs=1)
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


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("worker.durable_files.sync", full)
    with pytest.raises(SetupRefused) as refused:
        finish(tmp_path / "run")
    assert (refused.value.code, "is the disk full" in refused.value.reason) == (Code.SETTING_INVALID, True)


def test_a_damaged_checkpoint_is_said(tmp_path: Path, left: Path) -> None:
    shutil.copytree(left / "in the second epoch", tmp_path / "run")
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
    made = config(epochs=1)
    train("DLR_LH", phantoms(made), made, tmp_path / "run", Running(on_share=meanwhile))
    assert set(codes) == {Code.ALREADY_RUNNING}
