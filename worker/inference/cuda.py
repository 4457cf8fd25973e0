"""The models on a CUDA device: bfloat16, CUDA graphs over a few padded batch sizes, pinned buffers used in turns."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.inference.model_pair import ModelPair
from worker.inference.runner import Pixels

if TYPE_CHECKING:
    from torch.cuda import _POOL_HANDLE

MOST_BUCKETS = 8
_WARM_UPS = 3
_ALIGNMENT = 16
_AGES_BYTES = 8

_LAUNCHING = threading.Lock()
"""Held by whoever launches, or captures a graph, one at a time in this process.

PyTorch allows no two captures at once, and has 32 streams for each device, which it hands out in turns: a runner's may
be the one into which another is being captured.
"""


def buckets(batch_max: int) -> tuple[int, ...]:
    """Return the batch sizes that graphs are made for, rising: ``batch_max``, its half, and so on, eight at most."""
    sizes = {batch_max}
    while len(sizes) < MOST_BUCKETS and min(sizes) > 1:
        sizes.add((min(sizes) + 1) // 2)
    return tuple(sorted(sizes))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a batch's ages and pixels lie in one run of bytes, so that one transfer takes them all.

    Attributes:
        count: of lesions.
        shapes: of one lesion's pixels, one for each crop.
        starts: of the pixels; the ages, both models', start at 0.
        size: bytes.
    """

    count: int
    shapes: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    size: int

    @classmethod
    def of(cls, count: int, shapes: Sequence[tuple[int, ...]]) -> Self:
        """Lay a batch out."""
        ends = [_aligned(_AGES_BYTES * count)]
        for shape in shapes:
            ends.append(_aligned(ends[-1] + count * int(np.prod(shape))))
        return cls(count, tuple(shapes), tuple(ends[:-1]), ends[-1])

    def views(self, memory: Tensor) -> tuple[Tensor, ...]:
        """See normalized ages, float32 (count, 2), and pixels, uint8 (count, *shape), in memory, uint8 (size,)."""
        ages = memory[: _AGES_BYTES * self.count].view(torch.float32).view(self.count, 2)
        ends = [start + self.count * int(np.prod(shape)) for start, shape in zip(self.starts, self.shapes, strict=True)]
        pixels = (
            memory[start:end].view(self.count, *shape)
            for start, end, shape in zip(self.starts, ends, self.shapes, strict=True)
        )
        return ages, *pixels


@dataclass(frozen=True, slots=True)
class _Graph:
    layout: Layout
    memory: Tensor
    logits: Tensor
    graph: torch.cuda.CUDAGraph


@dataclass(frozen=True, slots=True)
class _Pinned:
    memory: Tensor
    logits: Tensor
    done: torch.cuda.Event


class CudaRunner:
    """A pair run by CUDA graphs.

    Two batches may be at work at once: one is packed into its pinned buffer, and its logits are read, while the device
    computes the other. All of them go through one stream, in whose order the graphs' own memory is used. Other runners
    of this process may score while one is made.

    Args:
        pair: on the CPU; it is changed, and not to be used afterwards.
        device: CUDA; nothing is done on any other, whichever is the calling thread's current one.
        batch_max: the most lesions in one batch.

    Raises:
        RuntimeError: the device fails, or has no memory left (`torch.OutOfMemoryError`).
    """

    tolerance = 0.03
    threads = 2
    studies = 64
    gather_s = 0.04

    def __init__(self, pair: ModelPair, device: torch.device, batch_max: int = 64) -> None:
        self.batch_max = batch_max
        self._device = device
        self._inputs_of = pair.inputs_of
        self._shapes = pair.inputs_of.crops
        sizes = buckets(batch_max)
        layouts = [Layout.of(size, self._shapes) for size in reversed(sizes)]
        with torch.cuda.device(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # Kept, since the graphs have the addresses of its weights, and nothing else keeps those from being freed.
            self._pair = pair.fold().to(device).to(memory_format=torch.channels_last)
            # One pool, the largest first: the smaller ones find their memory there. A graph may overwrite what another
            # left, its logits too: a batch's are copied out in the stream's order, before the next graph is replayed.
            pool = torch.cuda.graph_pool_handle()
            made = [_captured(self._pair, layout, device, self._stream, pool) for layout in layouts]
            self._graphs = {graph.layout.count: graph for graph in reversed(made)}
            self._ring: SimpleQueue[_Pinned] = SimpleQueue()
            for _ in range(self.threads):
                self._ring.put(_pinned(layouts[0], made[0].logits))

    def run(self, lh: Sequence[Pixels], bm: Sequence[Pixels], ages: Sequence[float]) -> NDArray[np.float32]:
        """Score a batch (see `Runner.run`)."""
        count = len(ages)
        graph = next(graph for size, graph in self._graphs.items() if size >= count)
        pinned = self._ring.get()
        try:
            memory = pinned.memory[: graph.layout.size]
            inputs = (lh, bm) if len(self._shapes) > 1 else (lh,)
            packed = graph.layout.views(memory)
            packed[0].numpy()[:count] = self._inputs_of.normalized(ages)
            for view, crops in zip(packed[1:], inputs, strict=True):
                np.stack(crops, out=view.numpy()[:count])
            with _LAUNCHING, torch.cuda.device(self._device), torch.cuda.stream(self._stream):
                graph.memory.copy_(memory, non_blocking=True)
                graph.graph.replay()
                pinned.logits[:count].copy_(graph.logits[:count], non_blocking=True)
                pinned.done.record(self._stream)
            pinned.done.synchronize()
            logits: NDArray[np.float32] = pinned.logits[:count].numpy().copy()
            return logits
        finally:
            self._ring.put(pinned)


def _captured(
    pair: ModelPair, layout: Layout, device: torch.device, stream: torch.cuda.Stream, pool: "_POOL_HANDLE"
) -> _Graph:
    memory = torch.zeros(layout.size, dtype=torch.uint8, device=device)
    inputs = layout.views(memory)
    graph = torch.cuda.CUDAGraph()
    # Without its cache, autocast converts the weights inside the graph, where they stay.
    precision = torch.autocast("cuda", torch.bfloat16, cache_enabled=False)
    stream.wait_stream(torch.cuda.current_stream(device))
    # Around the graph, which leaves its own stream to this thread where its capture fails.
    with torch.cuda.stream(stream), torch.inference_mode(), precision:
        for _ in range(_WARM_UPS):
            pair(*inputs)
        stream.synchronize()
        # By default, what another runner's threads do meanwhile, such as to wait for a batch, would end the capture.
        with _LAUNCHING, torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            logits = pair(*inputs).float()
    return _Graph(layout, memory, logits, graph)


def _pinned(layout: Layout, logits: Tensor) -> _Pinned:
    # Who waits for a blocking event sleeps; for another one he asks on and on, at the cost of a core.
    return _Pinned(
        torch.empty(layout.size, dtype=torch.uint8, pin_memory=True),
        torch.empty_like(logits, device="cpu", pin_memory=True),
        torch.cuda.Event(blocking=True),  # type: ignore[no-untyped-call]
    )


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT
