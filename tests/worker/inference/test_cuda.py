"""What of the CUDA runner can be seen without CUDA; the rest runs where there is a device."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.inference.test_model_pair import _pair
from worker.inference.cuda import MOST_BUCKETS, CudaRunner, Layout, buckets
from worker.inference.model_pair import TorchRunner
from worker.inference.runner import probabilities


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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("bm", [{}, {"input_size": 48}])
def test_cuda_scores_as_pytorch_does(bm: dict[str, object]) -> None:
    pair = _pair("resnet50", **bm)
    lh, other, ages = pair.inputs_of.noise(7)
    expected = probabilities(TorchRunner(pair).run(lh, other, ages))
    runner = CudaRunner(pair, torch.device("cuda"), 8)
    for count in (7, 1, 3):
        scores = probabilities(runner.run(lh[:count], other[:count], ages[:count]))
        assert np.abs(scores - expected[:count]).max() < runner.tolerance
