"""The CUDA runner: on simulated GPUs what they show, and on a real one the same, where there is one."""

import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.waiting import patience, until
from tests.worker.inference.simulated_cuda import SimulatedCuda, installed
from tests.worker.inference.test_model_pair import _pair
from worker.inference.cuda import MOST_BUCKETS, CudaRunner, Layout, buckets
from worker.inference.model_pair import ModelPair, TorchRunner
from worker.inference.runner import Batch, probabilities

FIRST, SECOND = torch.device("cpu", 0), torch.device("cpu", 1)
"""Simulated GPUs."""

on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


@given(st.integers(1, 512))
def test_every_batch_finds_a_bucket_that_it_fills_to_the_half(batch_max: int) -> None:
    sizes = buckets(batch_max)
    assert len(sizes) <= MOST_BUCKETS
    assert sizes[-1] == batch_max
    assert sizes == tuple(sorted(set(sizes)))
    for count in range(sizes[0], batch_max + 1):
        assert next(size for size in sizes if size >= count) < 2 * count


@given(
    count=st.integers(1, 9),
    shapes=st.lists(st.tuples(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=2),
)
def test_a_batch_is_one_run_of_bytes_and_nothing_in_it_overlaps(count: int, shapes: list[tuple[int, int, int]]) -> None:
    layout = Layout.of(count, shapes)
    memory = torch.zeros(layout.size, dtype=torch.uint8)
    views = layout.views(memory)
    assert [tuple(view.shape) for view in views] == [(count, 2), *((count, *shape) for shape in shapes)]
    rng = np.random.default_rng(0)
    wanted = [
        rng.normal(size=(count, 2)).astype(np.float32),
        *(rng.integers(0, 256, (count, *shape), np.uint8) for shape in shapes),
    ]
    for view, values in zip(views, wanted, strict=True):
        view.numpy()[:] = values
    for view, values in zip(layout.views(memory), wanted, strict=True):
        np.testing.assert_array_equal(view.numpy(), values)


@pytest.fixture
def cuda() -> Iterator[SimulatedCuda]:
    with installed() as cuda:
        yield cuda


def _small_pair() -> ModelPair:
    """A pair whose ResNets are one convolution each: for what does not depend on them."""
    pair = _pair()
    for network in (*pair.lh.each, *pair.bm.each):
        convolution = torch.nn.Conv2d(3, network.image.backbone.width, 8, stride=8, bias=False)
        network.image.backbone = torch.nn.Sequential(  # type: ignore[assignment]
            convolution, torch.nn.ReLU(inplace=True), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
        )
    return pair.requires_grad_(False)


def batch_and_scores(pair: ModelPair, count: int) -> tuple[Batch, NDArray[np.float64]]:
    """Noise, and what PyTorch says of it in float32."""
    batch = pair.inputs_of.noise(count)
    return batch, probabilities(TorchRunner(pair).run(*batch))


def differs_by(runner: CudaRunner, batch: Batch, expected: NDArray[np.float64], count: int) -> float:
    lh, bm, ages = batch
    found = probabilities(runner.run(lh[:count], bm[:count], ages[:count]))
    return float(np.abs(found - expected[:count]).max())


@pytest.mark.parametrize("bm", [{}, {"input_size": 48}], ids=["one crop", "two crops"])
def test_a_graph_of_each_bucket_scores_as_pytorch_does(cuda: SimulatedCuda, bm: dict[str, object]) -> None:
    pair = _pair(**bm)
    batch, expected = batch_and_scores(pair, 3)
    runner = CudaRunner(pair, FIRST, 3)
    for count in (3, 1, 2):
        assert differs_by(runner, batch, expected, count) < runner.tolerance
    assert cuda.happened.count("capture") == len(buckets(3))


def test_logits_are_float32_of_a_pair_that_rounds_them_too(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = _small_pair()
    forward = pair.forward
    monkeypatch.setattr(pair, "forward", lambda *inputs: forward(*inputs).bfloat16())
    assert CudaRunner(pair, FIRST, 1).run(*pair.inputs_of.noise(1)).dtype == np.float32
    assert cuda.contexts == {0}


def test_the_weights_that_graphs_read_stay_where_they_are_once_nobody_else_has_the_pair(cuda: SimulatedCuda) -> None:
    pair = _small_pair()
    batch, expected = batch_and_scores(pair, 1)
    runner = CudaRunner(pair, FIRST, 1)
    del pair
    gc.collect()
    assert differs_by(runner, batch, expected, 1) < runner.tolerance
    assert cuda.happened[-2:] == ["replay", "record"]


def test_a_batch_that_is_waited_for_while_another_pair_is_captured_is_answered_and_spoils_nothing(
    cuda: SimulatedCuda,
) -> None:
    pair, other = _small_pair(), _small_pair()
    batch, expected = batch_and_scores(pair, 1)
    former = CudaRunner(pair, FIRST, 1)
    launched, capturing, answered = threading.Event(), threading.Event(), threading.Event()

    def wait_until_it_is_captured() -> None:
        launched.set()
        assert capturing.wait(patience(10))

    def wait_until_it_is_answered() -> None:
        capturing.set()
        assert answered.wait(patience(10))

    def score() -> float:
        try:
            return differs_by(former, batch, expected, 1)
        finally:
            answered.set()

    with ThreadPoolExecutor(1) as threads:
        cuda.at_wait = wait_until_it_is_captured
        scoring = threads.submit(score)
        assert launched.wait(patience(10))
        cuda.at_capture = wait_until_it_is_answered
        made = CudaRunner(other, FIRST, 1)
        assert scoring.result() < former.tolerance
        assert differs_by(made, batch, expected, 1) < made.tolerance


def test_nothing_is_launched_while_a_graph_is_captured_and_what_waited_for_it_is_afterwards(
    cuda: SimulatedCuda,
) -> None:
    pair, other = _small_pair(), _small_pair()
    batch, expected = batch_and_scores(pair, 1)
    former = CudaRunner(pair, FIRST, 1)
    with ThreadPoolExecutor(1) as threads:
        scoring = []
        cuda.at_capture = lambda: scoring.append(threads.submit(differs_by, former, batch, expected, 1))
        CudaRunner(other, FIRST, 1)
        assert scoring[0].result() < former.tolerance
    assert cuda.happened[-4:] == ["capture", "captured", "replay", "record"]


def test_a_capture_that_fails_leaves_the_thread_its_stream_and_others_can_be_captured(cuda: SimulatedCuda) -> None:
    pair = _small_pair()
    batch, expected = batch_and_scores(pair, 1)
    before = cuda.stream_of_thread()
    cuda.at_capture = cuda.forbidden_in_capture
    with pytest.raises(RuntimeError, match="during capture"):
        CudaRunner(_small_pair(), FIRST, 1)
    assert cuda.stream_of_thread() is before
    cuda.at_capture = lambda: None
    runner = CudaRunner(pair, FIRST, 1)
    assert differs_by(runner, batch, expected, 1) < runner.tolerance


def test_who_waits_for_a_batch_sleeps_and_no_batch_makes_an_event(cuda: SimulatedCuda) -> None:
    pair = _small_pair()
    batch, expected = batch_and_scores(pair, 1)
    runner = CudaRunner(pair, FIRST, 1)
    for _ in range(3):
        assert differs_by(runner, batch, expected, 1) < runner.tolerance
    assert [event.blocking for event in cuda.events] == [True] * runner.threads


def test_a_runner_on_the_second_gpu_opens_nothing_on_the_first(cuda: SimulatedCuda) -> None:
    pair = _small_pair()
    batch, expected = batch_and_scores(pair, 1)
    runner = CudaRunner(pair, SECOND, 1)
    with ThreadPoolExecutor(1) as threads:
        assert threads.submit(differs_by, runner, batch, expected, 1).result() < runner.tolerance
    assert cuda.contexts == {1}


@on_a_gpu
@pytest.mark.parametrize("bm", [{}, {"input_size": 48}])
def test_cuda_scores_as_pytorch_does(bm: dict[str, object]) -> None:
    pair = _pair("resnet50", **bm)
    batch, expected = batch_and_scores(pair, 7)
    runner = CudaRunner(pair, torch.device("cuda"), 8)
    for count in (7, 1, 3):
        assert differs_by(runner, batch, expected, count) < runner.tolerance


@on_a_gpu
def test_on_a_gpu_runners_are_made_while_another_one_scores() -> None:
    pair = _pair("resnet50")
    batch, expected = batch_and_scores(pair, 7)
    scoring = CudaRunner(pair, torch.device("cuda"), 8)
    del pair
    first = scoring.run(*batch)
    ended = threading.Event()
    scored = []

    def score() -> None:
        while not ended.is_set():
            scored.append(scoring.run(*batch))

    with ThreadPoolExecutor(scoring.threads) as threads:
        at_work = [threads.submit(score) for _ in range(scoring.threads)]
        try:
            until(lambda: len(scored) > 1)
            for _ in range(33):  # there are 32 streams, so that one of them is the first one's
                made = CudaRunner(_pair("resnet18"), torch.device("cuda"), 2)
                count = len(scored)
                until(lambda: len(scored) > count)  # noqa: B023
        finally:
            ended.set()
        for one in at_work:
            one.result()
    assert made.batch_max == 2
    for logits in scored:
        np.testing.assert_allclose(logits, first, atol=1e-3)
    assert differs_by(scoring, batch, expected, 7) < scoring.tolerance


@on_a_gpu
def test_on_a_gpu_without_memory_a_runner_cannot_be_made_and_what_is_there_goes_on() -> None:
    pair = _pair("resnet50")
    batch, expected = batch_and_scores(pair, 7)
    runner = CudaRunner(pair, torch.device("cuda"), 8)
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + (64 << 20)) / total)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            CudaRunner(_pair("resnet50"), torch.device("cuda"), 64)
        assert differs_by(runner, batch, expected, 7) < runner.tolerance
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    again = CudaRunner(_pair("resnet50"), torch.device("cuda"), 8)
    assert differs_by(again, batch, expected, 7) < again.tolerance


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two CUDA devices")
def test_a_runner_on_the_second_of_two_gpus_opens_nothing_on_the_first() -> None:
    program = (
        "import torch\nfrom tests.worker.inference.test_model_pair import _pair\n"
        "from worker.inference.cuda import CudaRunner\npair = _pair()\nbatch = pair.inputs_of.noise(1)\n"
        "CudaRunner(pair, torch.device('cuda:1'), 1).run(*batch)\n"
        "assert torch._C._cuda_hasPrimaryContext(1) and not torch._C._cuda_hasPrimaryContext(0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
