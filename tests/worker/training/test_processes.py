"""Two processes train one model, as torchrun starts them: one writes, and each has its share of each batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.worker.training.small import config
from tests.worker.training.test_resume import KILLED, MOMENTS, result
from worker.errors import Code, SetupRefused
from worker.training.processes import team

SETTINGS = 'backbone = "resnet18"\ninput_size = 32\nepochs = 2\nbatch = 16\n'
NEVER = 10**6


def torchrun(logs: Path, *program: str, processes: int = 2) -> subprocess.CompletedProcess[bytes]:
    options = ["--standalone", f"--nproc-per-node={processes}", f"--log-dir={logs}"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, *program]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, timeout=300, check=False)


def dlr_train(folder: Path, output: Path, processes: int = 2) -> subprocess.CompletedProcess[bytes]:
    settings = folder / "small.toml"
    settings.write_text(SETTINGS)
    options = ["--phantom", "110", "--config", str(settings), "--device", "cpu", "--output", str(output)]
    return torchrun(
        folder / "logs", "-m", "worker.cli.main", "train", "bm", *options, "--format", "json", processes=processes
    )


@pytest.mark.slow
def test_two_processes_train_one_model_and_one_of_them_writes(tmp_path: Path) -> None:
    done = dlr_train(tmp_path, tmp_path / "two")
    assert done.returncode == 0, done.stderr.decode()
    card = json.loads(done.stdout)["card"]  # one document: the other process prints nothing
    assert (tmp_path / "two" / "log.csv").read_text().count("\n") == 3
    assert not (tmp_path / "two" / "checkpoint").exists()
    weights = load_file(tmp_path / "two" / "weights.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())
    again = dlr_train(tmp_path, tmp_path / "two")
    assert again.returncode == 0, again.stderr.decode()
    assert json.loads(again.stdout) == json.loads(done.stdout) | {"was_finished": True}
    assert card["name"] == "DLR_BM"
    alone = dlr_train(tmp_path, tmp_path / "two", processes=1)
    assert alone.returncode == 1
    assert b"differs in processes" in alone.stderr


@pytest.mark.slow
def test_two_processes_of_which_one_is_killed_go_on_to_the_same_weights(tmp_path: Path) -> None:
    program = tmp_path / "killed.py"
    program.write_text(KILLED)

    def run(name: str, call: int) -> int:
        module, function, _ = MOMENTS["between the files of the second checkpoint"]
        arguments = [str(program), module, function, str(call), str(tmp_path / name), "DLR_BM", "two"]
        return torchrun(tmp_path / "logs", *arguments).returncode

    assert run("whole", NEVER) == 0
    assert run("stopped", 2) != 0
    assert not (tmp_path / "stopped" / "card.json").exists()
    assert run("stopped", NEVER) == 0
    assert result(tmp_path / "stopped") == result(tmp_path / "whole")


def test_a_batch_that_can_not_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "3"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupRefused) as refused, team("cpu", config(batch=16).batch):
        pass
    assert refused.value.code is Code.CONFIG_INVALID
