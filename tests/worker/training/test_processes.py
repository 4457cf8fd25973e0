"""Two processes train one model, as torchrun starts them: one writes, and each has its share of each batch."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.command_line import dlr
from tests.waiting import patience
from tests.worker.training.small import config
from tests.worker.training.test_resume import result
from worker.errors import Code, SetupRefused
from worker.training.processes import team

KILLED = """
import os, signal
from worker.cli.main import main
from worker.training import checkpoint

write_json, calls = checkpoint.write_json, []

def killing(*arguments):
    calls.append(arguments)
    if len(calls) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    write_json(*arguments)

checkpoint.write_json = killing
main()
"""
"""The command, whose first process is killed between the files of the second checkpoint."""


def torchrun(logs: Path, *program: str) -> subprocess.CompletedProcess[bytes]:
    options = ["--standalone", "--nproc-per-node=2", f"--log-dir={logs}"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, *program]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, timeout=patience(300), check=False)


@pytest.mark.slow
def test_two_processes_train_one_model_and_when_one_is_killed_they_go_on_to_the_same_weights(tmp_path: Path) -> None:
    (tmp_path / "killed.py").write_text(KILLED)
    (tmp_path / "small.toml").write_text('backbone = "resnet18"\ninput_size = 32\nepochs = 2\nbatch = 16\n')
    asked = ["train", "bm", "--phantom", "110", "--config", str(tmp_path / "small.toml"), "--device", "cpu",
             "--format", "json", "--output"]  # fmt: skip
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"

    done = torchrun(tmp_path / "logs", "-m", "worker.cli.main", *asked, str(whole))
    assert done.returncode == 0, done.stderr.decode()
    card = json.loads(done.stdout)["card"]  # one document: the other process prints nothing
    assert card["name"] == "DLR_BM"
    assert (whole / "log.csv").read_text().count("\n") == 3
    assert not (whole / "checkpoint").exists()
    weights = load_file(whole / "weights.safetensors")
    assert all(torch.isfinite(tensor).all() for tensor in weights.values())

    assert torchrun(tmp_path / "logs", str(tmp_path / "killed.py"), *asked, str(stopped)).returncode != 0
    assert (stopped / "checkpoint" / "state.json").exists()
    assert not (stopped / "card.json").exists()
    again = torchrun(tmp_path / "logs", "-m", "worker.cli.main", *asked, str(stopped))
    assert again.returncode == 0, again.stderr.decode()
    assert result(stopped) == result(whole)

    # What is finished needs nobody: each process finds that by itself.
    first, second = (dlr(*asked, whole, WORLD_SIZE=2, RANK=rank, LOCAL_RANK=rank) for rank in (0, 1))
    assert json.loads(first.stdout) == json.loads(done.stdout) | {"was_finished": True}
    assert (second.returncode, second.stdout) == (0, "")
    alone = dlr(*asked, whole)
    assert (alone.returncode, "differs in processes" in alone.stderr) == (1, True)


def test_a_batch_that_can_not_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "3"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(SetupRefused) as refused, team("cpu", config(batch=16).batch):
        pass
    assert refused.value.code is Code.CONFIG_INVALID
