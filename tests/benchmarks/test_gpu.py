"""The run that is prepared for a GPU, on a simulated one: each part measures, and what is away is said."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu_card import BF16_PEAK_TFLOPS, named


@pytest.mark.slow
def test_the_prepared_run_passes_on_a_simulated_device(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "gpu.json"
    assert gpu.main(["--simulated", "--quick", "--format", "json", "--out", str(out)]) == 0
    said = json.loads(out.read_text())
    assert said == json.loads(capsys.readouterr().out)
    assert said["card"] == "simulated"
    rows = said["rows"]
    assert {row["part"] for row in rows} == set(gpu.PARTS)
    assert all(row["passed"] for row in rows if row["goal"])
    [busy] = [row for row in rows if row["part"] == "feeding" and row["goal"]]
    assert 0.9 <= busy["value"] <= 1


def test_without_a_gpu_it_says_how_to_try_it(capsys: pytest.CaptureFixture[str]) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(SystemExit) as ended:
        gpu.main(["--only", "lone"])
    assert ended.value.code == 2
    assert "--simulated" in capsys.readouterr().err


def test_a_part_for_which_no_time_is_left_says_so(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    assert gpu.main(["--simulated", "--quick", "--only", "lone", "--seconds", "0", "--out", str(out)]) == 1
    [row] = json.loads(out.read_text())["rows"]
    assert (row["value"], row["why"]) == (None, "not measured: no time was left")


@pytest.mark.parametrize(
    ("name", "tflops"),
    [("NVIDIA H100 80GB HBM3", 989.0), ("NVIDIA H100 PCIe", 756.0), ("NVIDIA H200", 989.0), ("Tesla T4", None)],
)
def test_a_card_s_peak_is_found_by_its_name(name: str, tflops: float | None) -> None:
    assert named(BF16_PEAK_TFLOPS, name) == tflops
