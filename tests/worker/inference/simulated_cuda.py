"""CUDA as its runner sees it, on a CPU: graphs, streams, events, contexts, and what a capture forbids to whom.

What it does is written after CUDA's documentation (``cudaStreamCaptureMode``) and PyTorch's sources; no GPU has been
asked. A graph has addresses and keeps alive nothing but what was allocated while it was captured. Waiting for an
event, for a stream and for a device, and pinning memory, are what a capture forbids: to its own thread, and where its
mode is ``global`` to all threads.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_unflatten

POOL = (0, 1)


@dataclass(frozen=True, slots=True)
class _Address:
    """Memory that a graph reads or writes, and does not own."""

    storage: StorageWeakRef
    dtype: torch.dtype
    size: torch.Size
    stride: tuple[int, ...]
    offset: int

    @classmethod
    def of(cls, tensor: torch.Tensor) -> Self:
        storage = StorageWeakRef(tensor.untyped_storage())
        return cls(storage, tensor.dtype, tensor.size(), tensor.stride(), int(tensor.storage_offset()))

    def tensor(self) -> torch.Tensor:
        if self.storage.expired():
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        storage = torch.UntypedStorage._new_with_weak_ptr(self.storage.cdata)
        return torch.empty(0, dtype=self.dtype).set_(storage, self.offset, self.size, self.stride)


class _Recorder(TorchDispatchMode):
    """Notes what is launched, below autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[Any, list[Any], Any, list[torch.Tensor]]] = []
        self._owned: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        flat, tree = tree_flatten((args, kwargs or {}))
        noted = [self._noted(one) if isinstance(one, torch.Tensor) else one for one in flat]
        answer = func(*args, **(kwargs or {}))
        made = [one for one in tree_flatten(answer)[0] if isinstance(one, torch.Tensor)]
        of_arguments = {_place(one) for one in flat if isinstance(one, torch.Tensor)}
        is_view = all(_place(one) in of_arguments for one in made) and not func._schema.is_mutable
        if not is_view:
            self._owned |= {_place(one) for one in made} - of_arguments
            self.operations.append((func, noted, tree, [one.detach() for one in made]))
        return answer

    def _noted(self, tensor: torch.Tensor) -> Any:
        return tensor.detach() if _place(tensor) in self._owned else _Address.of(tensor)

    def replay(self) -> None:
        for func, noted, tree, outputs in self.operations:
            flat = [one.tensor() if isinstance(one, _Address) else one for one in noted]
            args, kwargs = tree_unflatten(flat, tree)
            answer = func(*args, **kwargs)
            for found, output in zip(_tensors(answer), outputs, strict=True):
                if _place(found) != _place(output) and not func._schema.is_mutable:
                    output.copy_(found)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _tensors(answer: Any) -> list[torch.Tensor]:
    return [one for one in tree_flatten(answer)[0] if isinstance(one, torch.Tensor)]


@dataclass(eq=False)
class Capture:
    """One that is under way."""

    thread: int
    stream: "Stream"
    mode: str
    is_spoiled: bool = False


@dataclass(eq=False)
class Stream:
    """Work in it is done at once."""

    cuda: "SimulatedCuda"
    device: int

    def wait_stream(self, other: "Stream") -> None:
        assert other.device == self.device

    def synchronize(self) -> None:
        self.cuda.forbidden_in_capture()


@dataclass(eq=False)
class Event:
    """Notes whether its waiters sleep."""

    cuda: "SimulatedCuda"
    blocking: bool

    def record(self, stream: Stream) -> None:
        self.cuda.launched(stream, "record")

    def synchronize(self) -> None:
        self.cuda.at_wait()
        self.cuda.forbidden_in_capture()


class Graph:
    """What a capture made."""

    cuda: "SimulatedCuda"

    def __init__(self) -> None:
        self.recorder = _Recorder()

    def replay(self) -> None:
        self.cuda.launched(self.cuda.stream_of_thread(), "replay")
        with torch.inference_mode():
            self.recorder.replay()


@dataclass
class SimulatedCuda:
    """A machine's GPUs; use `installed`.

    Attributes:
        contexts: the GPUs on which this process has one.
        events: that were made.
        happened: ``capture``, ``captured``, ``replay`` and the like, in order.
        at_capture: is called when one has begun, on its thread.
        at_wait: is called on a thread that begins to wait for an event.
        captures: that are under way.
    """

    contexts: set[int] = field(default_factory=set)
    events: list[Event] = field(default_factory=list)
    happened: list[str] = field(default_factory=list)
    at_capture: Callable[[], object] = lambda: None
    at_wait: Callable[[], object] = lambda: None
    captures: list[Capture] = field(default_factory=list)
    _thread: threading.local = field(default_factory=threading.local)
    _defaults: dict[int, Stream] = field(default_factory=dict)

    @property
    def device(self) -> int:
        """The current thread's."""
        return getattr(self._thread, "device", 0)

    def stream_of_thread(self) -> Stream:
        return getattr(self._thread, f"stream_{self.device}", None) or self._default(self.device)

    def forbidden_in_capture(self) -> None:
        """Do what no thread may that captures, and no other one either where the mode is ``global``."""
        for capture in self.captures:
            if capture.thread == threading.get_ident() or capture.mode == "global":
                capture.is_spoiled = True
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    def launched(self, stream: Stream, what: str) -> None:
        self.contexts.add(stream.device)
        self.happened.append(what)

    def _default(self, device: int) -> Stream:
        return self._defaults.setdefault(device, Stream(self, device))

    @contextmanager
    def on_device(self, device: torch.device) -> Iterator[None]:
        before, self._thread.device = self.device, device.index or 0
        try:
            yield
        finally:
            self._thread.device = before  # which opens no context there

    @contextmanager
    def on_stream(self, stream: Stream) -> Iterator[None]:
        before = self._entered(stream)
        try:
            yield
        finally:
            before()

    def _entered(self, stream: Stream) -> Callable[[], None]:
        """Make a stream and its device the thread's; return what goes back, which opens a context where it goes."""
        device, of_device = self.device, self.stream_of_thread()
        self._thread.device = stream.device
        on_that = self.stream_of_thread()
        setattr(self._thread, f"stream_{stream.device}", stream)

        def back() -> None:
            setattr(self._thread, f"stream_{stream.device}", on_that)
            if device != stream.device:
                self.contexts.add(device)
            self._thread.device = device
            setattr(self._thread, f"stream_{device}", of_device)

        return back

    @contextmanager
    def capturing(
        self, graph: Graph, *, pool: tuple[int, int], stream: Stream, capture_error_mode: str
    ) -> Iterator[None]:
        """As `torch.cuda.graph`, whose exit leaves the stream to the thread where the capture was spoiled."""
        self.contexts.add(self.device)
        self.forbidden_in_capture()  # it waits for the current device
        assert self.stream_of_thread().device == stream.device
        assert not self.captures
        assert pool == POOL
        back = self._entered(stream)
        capture = Capture(threading.get_ident(), stream, capture_error_mode)
        self.captures.append(capture)
        self.happened.append("capture")
        try:
            self.at_capture()
            with graph.recorder:
                yield
        finally:
            self.captures.remove(capture)
            self.happened.append("captured")
            if capture.is_spoiled:
                raise RuntimeError("CUDA error: operation failed due to a previous error during capture")
            back()

    def pinned(self, make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def made(*args: Any, pin_memory: bool = False, **kwargs: Any) -> torch.Tensor:
            if pin_memory:
                self.forbidden_in_capture()
                if not self.contexts:
                    self.contexts.add(self.device)
            return make(*args, **kwargs)

        return made

    def event(self, *, blocking: bool = False) -> Event:
        self.events.append(Event(self, blocking))
        return self.events[-1]


@contextmanager
def installed() -> Iterator[SimulatedCuda]:
    """Put simulated GPUs in the place of PyTorch's; what is to be on number N goes to ``torch.device("cpu", N)``."""
    cuda, autocast = SimulatedCuda(), torch.autocast
    of_this = type("Graph", (Graph,), {"cuda": cuda})

    def on_the_cpu(device: str, *args: Any, **kwargs: Any) -> Any:
        return autocast("cpu", *args, **kwargs)

    names = {
        "Stream": lambda device: Stream(cuda, device.index or 0),
        "Event": cuda.event,
        "CUDAGraph": of_this,
        "graph": cuda.capturing,
        "device": cuda.on_device,
        "stream": cuda.on_stream,
        "current_stream": lambda device: cuda._default(device.index or 0),
        "graph_pool_handle": lambda: POOL,
    }
    # PyTorch keeps which functions make tensors at the first use of a device as a context, and is to keep its own.
    with torch.device("cpu"):
        torch.empty(0)
    with pytest.MonkeyPatch.context() as patched:
        for name, simulated in names.items():
            patched.setattr(torch.cuda, name, simulated)
        patched.setattr(torch, "autocast", on_the_cpu)
        for name in ("empty", "empty_like"):
            patched.setattr(torch, name, cuda.pinned(getattr(torch, name)))
        yield cuda
