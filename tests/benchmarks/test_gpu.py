"""The run that is prepared for a GPU, on a simulated one: each part measures, and what is away is said."""

import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.card import BF16_PEAK_TFLOPS, NvidiaSmi, SimulatedCard, named, plain
from benchmarks.gpu.peers import BATCHES, peers
from benchmarks.gpu.run import Row, Run, noise
from benchmarks.gpu.service import at_most
from benchmarks.gpu.variants import Bf16Weights, Bf16WeightsNhwcBytes, NhwcBytes, TwoStreams
from benchmarks.models import pair
from benchmarks.simulated_gpu import SimulatedGpu
from tests.waiting import until
from worker.inference.cuda import CudaRunner
from worker.inference.model_pair import ModelPair
from worker.inference.runner import Logits, probabilities

# --- the whole of it


@pytest.mark.slow
def test_the_prepared_run_passes_on_a_simulated_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.json"
    arguments = ["--simulated", "--quick", "--seconds", "1200", "--format", "json", "--out", str(out)]
    assert gpu.main(arguments) == 0
    said = json.loads(out.read_text())
    assert said == json.loads(capsys.readouterr().out)
    assert said["card"] == "simulated"
    rows = said["rows"]
    assert {row["part"] for row in rows} == set(gpu.PARTS)
    assert all(row["passed"] for row in rows if row["goal"])
    [busy] = [row for row in rows if row["part"] == "feeding" and row["goal"]]
    assert 0.9 <= busy["value"] <= 1
    status, lost = [row["value"] for row in rows if row["part"] == "faults"][1:]
    assert (status, lost) == (os.EX_SOFTWARE, 0)


def test_without_a_gpu_it_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--only", "lone"])
    assert ended.value.code == 2
    assert "--simulated" in capsys.readouterr().err


def test_the_help_says_how_fast_the_simulated_device_is_in_each_part(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu.main(["--help"])
    said = capsys.readouterr().out
    assert "T(n) = 2 + 0.25 n ms" in said
    assert "T(n) = 20 + 40 n ms" in said


# --- time, and what is lost of it


def test_a_part_for_which_no_time_is_left_says_so(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert gpu.main(["--simulated", "--quick", "--only", "lone", "--seconds", "0", "--out", str(out)]) == 1
    [row] = json.loads(out.read_text())["rows"]
    assert (row["value"], row["why"]) == (None, "not measured: no time was left")


def test_a_part_is_cut_off_in_its_midst_and_its_goal_is_not_reached(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert gpu.main(["--simulated", "--only", "memory", "--seconds", "1", "--out", str(out)]) == 1
    [row] = json.loads(out.read_text())["rows"]
    assert re.fullmatch(r"cut off: [\d,]+ of 100,000 lesions", row["why"])
    assert (row["value"], row["passed"]) == (None, False)


def test_what_was_measured_is_on_disk_before_the_next_and_one_that_breaks_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, seen = tmp_path / "gpu.json", []

    def breaks(_: Run) -> Iterator[Row]:
        yield Row("breaks", "one", 1.0, "")
        seen.append(json.loads(out.read_text())["rows"])
        raise RuntimeError("no such kernel")

    def follows(_: Run) -> Iterator[Row]:
        yield Row("follows", "two", 2.0, "")

    monkeypatch.setattr(gpu, "PARTS", {"breaks": gpu.Part(breaks, 1), "follows": gpu.Part(follows, 1)})
    assert gpu.main(["--simulated", "--out", str(out)]) == 1
    assert [[row["what"] for row in rows] for rows in seen] == [["one"]]
    rows = json.loads(out.read_text())["rows"]
    assert [(row["what"], row["value"]) for row in rows] == [("one", 1.0), ("the rest", None), ("two", 2.0)]
    assert rows[1]["why"] == "broken off: RuntimeError: no such kernel"


def test_a_peer_is_ended_when_its_time_is_over_which_is_no_failure(tmp_path: Path) -> None:
    run = Run(SimulatedCard(tmp_path), 0.1, quick=True, ends=time.monotonic() + 0.3)
    rows = list(peers(run))
    assert [row.why for row in rows] == ["not measured: no time was left"] * len(BATCHES)
    assert {row.passed for row in rows} == {None}


# --- the card


@pytest.mark.parametrize(
    ("name", "tflops"),
    [("NVIDIA H100 80GB HBM3", 989.0), ("NVIDIA H100 PCIe", 756.0), ("NVIDIA H200", 989.0), ("Tesla T4", None)],
)
def test_a_card_s_peak_is_found_by_its_name(name: str, tflops: float | None) -> None:
    assert named(BF16_PEAK_TFLOPS, name) == tflops


@pytest.mark.parametrize(("share", "reached"), [(0.95, True), (0.89, False), (None, False)])
def test_a_card_is_busy_only_where_that_was_measured(share: float | None, reached: bool) -> None:
    row = at_most(share)
    assert row.passed is reached
    assert ("not measured" in str(row.as_row()["value"])) is (share is None)


def test_the_driver_is_asked_for_the_card_by_its_own_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, asked = tmp_path / "nvidia-smi", tmp_path / "asked"
    program.write_text(f'#!/bin/sh\necho "$@" >> {asked}\necho 97\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with NvidiaSmi("6fb1-22") as busy:
        until(lambda: asked.exists() and asked.read_text().count("\n") > 1)
    assert "--id=GPU-6fb1-22" in asked.read_text()
    assert busy.share() == pytest.approx(0.97)


def test_without_the_driver_s_program_nobody_knows_how_busy_a_card_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with NvidiaSmi("6fb1-22") as busy:
        pass
    assert busy.share() is None


# --- what the runner might be instead


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [(NhwcBytes, 1e-4), (Bf16Weights, CudaRunner.tolerance), (Bf16WeightsNhwcBytes, CudaRunner.tolerance)],
    ids=["NHWC", "bf16", "both"],
)
def test_a_variant_scores_as_the_plain_pair_does(
    kind: type[ModelPair], tolerance: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.samples.BACKBONE", "resnet18")
    cpu, batch, is_bf16 = torch.device("cpu"), noise(3), issubclass(kind, Bf16Weights)
    made = pair(kind).fold()
    found, expected = plain(made, cpu, bf16=is_bf16)(batch), plain(pair(), cpu)(batch)
    differs = np.abs(probabilities(found) - probabilities(expected)).max()
    assert differs <= tolerance
    held = {module.weight.dtype for module in made.modules() if isinstance(module, nn.Conv2d)}
    assert held == {torch.bfloat16 if is_bf16 else torch.float32}


def test_two_streams_have_two_batches_at_work_at_once() -> None:
    both = threading.Barrier(2, timeout=30)

    class Waits(SimulatedGpu):
        def run(self, *batch: object) -> Logits:
            both.wait()
            return super().run(*batch)  # type: ignore[arg-type]

    runner = TwoStreams(lambda: Waits(0.0, 0.0))
    assert runner.threads == 2
    found: dict[int, Logits] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: runner.run(*noise(n))})) for n in (1, 2)]  # type: ignore[misc]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for count, logits in found.items():
        assert np.array_equal(logits, SimulatedGpu(0.0, 0.0).run(*noise(count)))
    assert set(found) == {1, 2}


# --- the page


def test_the_table_of_a_run_says_the_card_and_each_row() -> None:
    machine = {"cores": "16", "processor": "a processor", "commit": "abc1234", "torch": "2.14.1"}
    rows = [
        {"part": "lone", "what": "p50", "value": 1.234567, "unit": "ms", "goal": "", "passed": None, "why": ""},
        {
            "part": "feeding",
            "what": "busy",
            "value": None,
            "unit": "",
            "goal": ">= 0.9",
            "passed": False,
            "why": "away",
        },
    ]
    said, _, head, _, *lines = gpu.as_markdown({"card": "NVIDIA H200", "machine": machine, "rows": rows}).splitlines()
    assert said == "NVIDIA H200; 16 cores of a processor; commit abc1234; torch 2.14.1."
    assert head.startswith("| part | what | value |")
    assert lines == ["| lone | p50 | 1.235 | ms |  | reported |", "| feeding | busy | away |  | >= 0.9 | NO |"]
