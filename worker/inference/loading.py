"""Loads both models onto a device. It starts once the device scores as PyTorch does in float32.

What OpenVINO compiles it compiles outside of Python's lock, while another process imports PyTorch and scores what both
are compared on; where this one has imported it anyway, or needs it for its GPU, this one does.
"""

import logging
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.errors import Code, DlrError, Unavailable
from worker.inference import cpu
from worker.inference.engine import Engine
from worker.inference.entry import Entry
from worker.inference.fit_to_serve import require_age_stage
from worker.inference.kept_reference import KeptReference
from worker.inference.model_card import ModelCard
from worker.inference.reference import COMPARED, by_another_process, by_pytorch
from worker.inference.reference_process import give_up, needs_no_pytorch
from worker.inference.registry import Registry
from worker.inference.runner import Batch, Inputs, Logits, Runner, probabilities, temperatures_of
from worker.inference.shares import Versions
from worker.inference.weights_file import read_weights
from worker.telemetry.measures import Measures

if TYPE_CHECKING:
    import torch

    from worker.inference.model_pair import ModelPair

logger = logging.getLogger(__name__)

R = TypeVar("R", bound=Runner)

_NO_MEMORY: Final = "the device has not enough memory free for both models: free some, or lower DLR_BATCH_MAX"
_FAILS: Final = "the device fails while both models are put on it: look at it and its driver (nvidia-smi, dmesg)"

_Contents = Sequence[Sequence[Future[bytes]]]
"""The files of each model's networks."""


def load_engine(
    models_dir: Path,
    device: str,
    batch_max: int | None,
    wait_ms: float,
    measures: Measures | None = None,
    lost: Callable[[], object] = lambda: None,
    meanwhile: Callable[[], object] = lambda: None,
    versions: Versions | None = None,
    kept_in: Path | None = None,
) -> Engine:
    """Load both models and start the engine, once it scores as PyTorch does in float32.

    Args:
        models_dir: the registry's folder.
        device: ``auto`` (CUDA where there is one, else the CPU), ``cpu``, ``cuda`` or ``cuda:N``.
        batch_max: the most images in one batch; ``None``: what suits the device.
        wait_ms: the longest wait for more, while more is arriving, in milliseconds.
        measures: is told of each batch.
        lost: is called once the device has failed for too long.
        meanwhile: is called while another process scores.
        versions: of DLR_LH and DLR_BM; ``None``: the active ones.
        kept_in: the folder of what another process has scored before, so that it need not again; ``None``: none.

    Raises:
        ModelRefused: a model is not active, or its card and weights do not fit each other; the reason says where.
        SetupRefused: ``setting_invalid``, when there is no such device.
        Unavailable: ``device_unavailable``, when the device does not score, or scores differently.
    """
    registry = Registry(models_dir)
    lh, bm = versions or registry.division().active
    entries = registry.entry("DLR_LH", lh), registry.entry("DLR_BM", bm)
    cards = entries[0].card, entries[1].card
    for card in cards:
        require_age_stage(card)
    noise = Inputs.of(cards).noise(COMPARED)
    kept = None if kept_in is None else KeptReference(kept_in, cards, COMPARED)
    # Each member of an ensemble by itself: in the mean of many, one that the device gets wrong would hardly show.
    temperatures = temperatures_of([card for card in cards for _ in range(card.passes)])
    with ThreadPoolExecutor(4, "loading") as threads:
        contents = [
            [threads.submit(read_weights, one.card, path, place) for place, path in enumerate(one.weights_paths)]
            for one in entries
        ]
        ready = threads.submit(by_openvino, cards, contents, noise) if needs_no_pytorch(device) else None
        if ready is not None and "torch" not in sys.modules:
            scoring = threads.submit(_expected, entries, kept)
            meanwhile()
            expected = scoring.result()
        else:
            pair, expected = by_pytorch(cards, [[content.result() for content in of_card] for of_card in contents])
        runner, logits = ready.result() if ready is not None else _on(device, pair, batch_max, noise)
    engine = Engine(cards, runner, batch_max, wait_ms / 1000, measures, lost)
    try:
        engine.probe()
        difference = _difference(logits, expected, temperatures)
        if ready is not None and kept is not None and not difference <= runner.tolerance:
            # What was kept may be to blame: PyTorch itself is asked before the device is.
            expected = by_another_process(entries)
            kept.write(expected)
            difference = _difference(logits, expected, temperatures)
        if not difference <= runner.tolerance:
            reason = f"the device's scores differ by {difference:.2g} from PyTorch's in float32"
            raise Unavailable(Code.DEVICE_UNAVAILABLE, reason)
    except DlrError:
        engine.close()
        raise
    if isinstance(runner, cpu.OpenVinoRunner):
        runner.compile_for_one()
    return engine


def _expected(entries: Sequence[Entry], kept: KeptReference | None) -> Logits:
    """Return what PyTorch scores: what it scored before, or else what another process does now."""
    found = None if kept is None else kept.read()
    if found is not None:
        give_up()
        return found
    found = by_another_process(entries)
    if kept is not None:
        kept.write(found)
    return found


def _difference(found: Logits, expected: Logits, temperatures: NDArray[np.float64] | None) -> float:
    """Return by how much the furthest two probabilities differ."""
    return float(np.abs(probabilities(found, temperatures) - probabilities(expected, temperatures)).max())


def cpu_runner(pair: "ModelPair") -> Runner:
    """Put a pair on the CPU, by the fastest way that is installed.

    Args:
        pair: on the CPU; it is changed, and not to be used afterwards.
    """
    if not cpu.is_installed():
        return _on_pytorch(pair)
    runner = cpu.OpenVinoRunner(pair.cards, pair.weights())
    runner.compile_for_one()
    return runner


def by_openvino(cards: Sequence[ModelCard], contents: _Contents, noise: Batch) -> tuple[cpu.OpenVinoRunner, Logits]:
    """Compile both models, and score a batch. Nothing here needs PyTorch, and most of it no lock of Python's."""
    from safetensors.numpy import load

    weights = [[load(content.result()) for content in networks] for networks in contents]
    return _made(lambda: cpu.OpenVinoRunner(cards, weights), noise)


def _on(device: str, pair: "ModelPair", batch_max: int | None, noise: Batch) -> tuple[Runner, Logits]:
    from worker.inference.devices import choose_device

    place = choose_device(device)
    if place.type == "cuda":
        return _made(lambda: _on_cuda(pair.twin(), place, batch_max), noise)
    if cpu.is_installed():
        return _made(lambda: cpu.OpenVinoRunner(pair.cards, pair.weights()), noise)
    return _made(lambda: _on_pytorch(pair.twin()), noise)


def _made(make: Callable[[], R], noise: Batch) -> tuple[R, Logits]:
    """Put both models on their device, and score a batch there.

    Raises:
        Unavailable: ``device_unavailable``: it fails at that, or has not the memory; what it had taken is free again.
    """
    try:
        return _scored(make(), noise)
    except (RuntimeError, MemoryError) as error:
        failed = type(error).__qualname__
        is_of_memory = isinstance(error, MemoryError) or "out of memory" in str(error)
    # The error is gone here, and with it its frames, which had what was made so far.
    _give_back_memory()
    # The device's own message is not repeated: it may be of any length and hold anything.
    logger.error("the device failed while both models were put on it: %s", failed)
    raise Unavailable(Code.DEVICE_UNAVAILABLE, _NO_MEMORY if is_of_memory else _FAILS)


def _scored(runner: R, noise: Batch) -> tuple[R, Logits]:
    return runner, runner.run(*noise)


def _give_back_memory() -> None:
    """Give back to a GPU what PyTorch has freed on it and keeps."""
    if torch := sys.modules.get("torch"):
        with suppress(RuntimeError):  # a device that fails at everything
            torch.cuda.empty_cache()


def _on_cuda(pair: "ModelPair", device: "torch.device", batch_max: int | None) -> Runner:
    from worker.inference.cuda import CudaRunner

    return CudaRunner(pair, device) if batch_max is None else CudaRunner(pair, device, batch_max)


def _on_pytorch(pair: "ModelPair") -> Runner:
    import torch

    from worker.inference.model_pair import TorchRunner

    logger.info("OpenVINO is not installed (the extra `cpu`): PyTorch runs the models, which takes about twice as long")
    return TorchRunner(pair.fold().to(memory_format=torch.channels_last))
