"""An engine starts on two sound models and a device that scores as PyTorch does, or it says why not."""

import gc
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from tests.worker.inference.samples import registry_with_both, sample_card, write_image_stage
from worker.errors import Code, DlrError, ModelRefused, SetupRefused, Unavailable
from worker.inference.cpu import OpenVinoRunner
from worker.inference.engine import Engine
from worker.inference.loading import load_engine
from worker.inference.model_pair import ModelPair, TorchRunner
from worker.inference.runner import Logits
from worker.inference.weights_file import sha256_of

pytestmark = pytest.mark.slow

FOLDER = "registry/DLR_BM/1.0"


def _refusal(folder: Path, kind: type[DlrError], device: str = "cpu") -> DlrError:
    with pytest.raises(kind) as refused:
        load_engine(folder / "registry", device, 8, 0)
    return refused.value


def test_it_does_not_start_without_both_models_active(tmp_path: Path) -> None:
    assert _refusal(tmp_path, ModelRefused).code is Code.MODEL_NOT_ACTIVE


def test_it_does_not_start_on_weights_that_changed_since(tmp_path: Path) -> None:
    registry_with_both(tmp_path)
    path = tmp_path / FOLDER / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    refused = _refusal(tmp_path, ModelRefused)
    assert refused.code is Code.WEIGHTS_HASH_MISMATCH
    assert "DLR_BM 1.0" in refused.reason


@pytest.mark.parametrize(
    "changed",
    [
        {"image.backbone.conv1.weight": torch.zeros(64, 0, 7, 7)},
        {"image.backbone.layer1.0.bn1.bias": None},
        {"image.fc1.bias": torch.zeros(128, dtype=torch.bfloat16)},
        {"image.backbone.layer2.0.conv1.weight": torch.full((128, 64, 3, 3), torch.nan)},
    ],
    ids=["no channels", "a tensor less", "a type that numpy has not", "no numbers"],
)
def test_weights_that_do_not_fit_are_refused_by_what_does_not_whatever_openvino_makes_of_them(
    tmp_path: Path, changed: dict[str, torch.Tensor | None]
) -> None:
    registry_with_both(tmp_path)
    path = tmp_path / FOLDER / "weights.safetensors"
    tensors = load_file(path) | changed
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)
    (tmp_path / FOLDER / "card.json").write_text(sample_card(name="DLR_BM", weights_sha256=sha256_of(path)).to_json())
    refused = _refusal(tmp_path, ModelRefused)
    assert refused.code is Code.WEIGHTS_SHAPE_MISMATCH
    assert next(iter(changed)) in refused.reason


def test_a_version_of_the_image_stage_that_was_put_into_service_by_hand_does_not_start(tmp_path: Path) -> None:
    registry_with_both(tmp_path)
    write_image_stage(tmp_path / FOLDER, name="DLR_BM")
    assert _refusal(tmp_path, ModelRefused).code is Code.MODEL_IMAGE_ONLY


def test_a_device_that_is_not_there_is_refused(tmp_path: Path) -> None:
    registry_with_both(tmp_path)
    assert _refusal(tmp_path, SetupRefused, "cuda:99").code is Code.SETTING_INVALID


def test_a_device_whose_scores_are_others_than_pytorchs_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry_with_both(tmp_path)
    score = OpenVinoRunner.run

    def a_little_off(self: OpenVinoRunner, *batch: list[object]) -> NDArray[np.float32]:
        logits = score(self, *batch)  # type: ignore[arg-type]
        logits[0, 1, 0] += 0.01
        return logits

    monkeypatch.setattr(OpenVinoRunner, "run", a_little_off)
    refused = _refusal(tmp_path, Unavailable)
    assert refused.code is Code.DEVICE_UNAVAILABLE
    assert "differ" in refused.reason


class SimulatedGpu:
    """A card that fails at something, and has what it was given for as long as anybody has a reference to it."""

    def __init__(self, fails_at: str, error: Callable[[], Exception]) -> None:
        self._fails_at, self._error = fails_at, error
        self._given: list[weakref.ref[ModelPair]] = []
        self.has_when_given_back: list[int] = []

    def fail(self, at: str) -> None:
        if at == self._fails_at:
            raise self._error()

    def runner(self, pair: ModelPair, _device: torch.device, _batch_max: int = 64) -> TorchRunner:
        gpu = self

        class Runner(TorchRunner):
            def run(self, *batch: list[object]) -> Logits:
                gpu.fail("scoring")
                return super().run(*batch)  # type: ignore[arg-type]

        self._given.append(weakref.ref(pair))
        self.fail("making")
        return Runner(pair)

    def give_back(self) -> None:
        self.has_when_given_back.append(sum(pair() is not None for pair in self._given))


@pytest.fixture
def without_gc() -> Iterator[None]:
    """As a worker starts."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("without_gc")
@pytest.mark.parametrize(
    ("fails_at", "error", "said"),
    [
        ("making", lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB"), "DLR_BATCH_MAX"),
        ("making", lambda: RuntimeError("CUDA error: operation failed due to a previous error"), "nvidia-smi"),
        ("scoring", lambda: RuntimeError("CUDA error: out of memory"), "DLR_BATCH_MAX"),
        ("scoring", MemoryError, "DLR_BATCH_MAX"),
    ],
    ids=["no memory for the models", "a capture that fails", "no memory for a batch", "no memory here"],
)
def test_a_device_that_cannot_take_the_models_is_unavailable_and_keeps_nothing_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: str, error: Callable[[], Exception], said: str
) -> None:
    registry_with_both(tmp_path)
    gpu = SimulatedGpu(fails_at, error)
    monkeypatch.setattr("worker.inference.devices.choose_device", torch.device)
    monkeypatch.setattr("worker.inference.cuda.CudaRunner", gpu.runner)
    monkeypatch.setattr(torch.cuda, "empty_cache", gpu.give_back)
    refused = _refusal(tmp_path, Unavailable, "cuda")
    assert refused.code is Code.DEVICE_UNAVAILABLE
    assert said in refused.reason
    assert "CUDA" not in refused.reason
    assert gpu.has_when_given_back == [0]


def test_a_cpu_that_cannot_take_the_models_is_unavailable_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry_with_both(tmp_path)

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(OpenVinoRunner, "__init__", fail)
    assert "memory" in _refusal(tmp_path, Unavailable).reason


def test_an_engine_that_does_not_start_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry_with_both(tmp_path)
    begun: list[threading.Thread] = []

    def fail(_: Engine) -> None:
        begun.extend(one for one in threading.enumerate() if one.name.startswith("batcher"))
        raise Unavailable(Code.DEVICE_UNAVAILABLE)

    before = set(threading.enumerate())
    monkeypatch.setattr(Engine, "probe", fail)
    _refusal(tmp_path, Unavailable)
    mine = set(begun) - before
    assert mine
    assert not [one for one in mine if one.is_alive()]


def test_where_pytorch_is_not_imported_another_process_scores_and_this_one_needs_none(tmp_path: Path) -> None:
    registry_with_both(tmp_path)
    program = (
        "import sys\nfrom pathlib import Path\nfrom worker.inference.loading import load_engine\n"
        f"load_engine(Path({str(tmp_path / 'registry')!r}), 'cpu', None, 0).close()\n"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)


@pytest.mark.parametrize("module", ["worker.inference.loading", "worker.inference.openvino_graph"])
def test_a_worker_on_a_cpu_imports_no_pytorch(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
