"""A TCP proxy between hosts that misbehaves when it is told to: stalls, resets, or is slow."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

_CHUNK = 1 << 16
_LINGER = struct.pack("ii", 1, 0)


class Proxy:
    """What it does with connections; changed by its methods, from any thread.

    Args:
        address: at which it listens.
        target: address and port of the server behind it.

    Attributes:
        port: at which it listens.
        late_s: how much later each piece of an answer comes, in seconds.
    """

    def __init__(self, address: str, target: tuple[str, int]) -> None:
        self._address = address
        self.target = target
        self.port = 0
        self.late_s = 0.0
        self._stalls = self._resets = False
        self._open: set[_Passage] = set()

    def stall(self) -> None:
        """Take connections, and let nothing flow, neither on those that there are.

        Those that have stalled since the last time are reset: their clients have given them up.
        """
        self._stalls = True
        self._to_each(_Passage.stall)

    def reset(self) -> None:
        """Reset the connections that there are, and each new one."""
        self._resets = True
        self._to_each(_Passage.reset)

    def pass_on(self) -> None:
        """Let new connections flow. What was stalled stays so, as behind a balancer that has lost its other half."""
        self._stalls = self._resets = False

    async def serve(self, ready: threading.Event) -> None:
        """Take connections until `end`."""
        self._loop, self._ends = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._take, self._address, 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await self._ends.wait()

    def end(self) -> None:
        """Take no more, and drop those that there are."""
        self._loop.call_soon_threadsafe(self._ends.set)

    def _to_each(self, do: "Callable[[_Passage], None]") -> None:
        self._loop.call_soon_threadsafe(lambda: [do(passage) for passage in list(self._open)])

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        passage = _Passage(self, reader, writer)
        if self._stalls:
            passage.stall()
        self._open.add(passage)
        passage.task.add_done_callback(lambda _: self._open.discard(passage))
        if self._resets:
            passage.reset()


class _Passage:
    """One connection from a client to the server."""

    def __init__(self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy, self._reader, self._writer = proxy, reader, writer
        self._flows = asyncio.Event()
        self._flows.set()
        self.task = asyncio.create_task(self._run())

    def stall(self) -> None:
        if self._flows.is_set():
            self._flows.clear()
        else:
            self.reset()

    def reset(self) -> None:
        """Source: socket(7), SO_LINGER: a connection that is closed without lingering is reset."""
        with suppress(OSError):
            self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER)
        self._writer.transport.abort()
        self.task.cancel()

    async def _run(self) -> None:
        """Pass on what comes from either side, until one of them ends."""
        try:
            await self._flows.wait()
            server_reader, server_writer = await asyncio.open_connection(*self._proxy.target)
            ways = [
                asyncio.create_task(self._pump(self._reader, server_writer, is_answer=False)),
                asyncio.create_task(self._pump(server_reader, self._writer, is_answer=True)),
            ]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                server_writer.close()
        except OSError:
            pass  # the server does not answer: the client sees its connection end
        finally:
            self._writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                if is_answer:
                    await asyncio.sleep(self._proxy.late_s)
                await self._flows.wait()
                sink.write(data)
                await sink.drain()


@contextmanager
def proxy(address: str, target: tuple[str, int]) -> Iterator[Proxy]:
    """Run a proxy in a thread of this process."""
    made, ready = Proxy(address, target), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(made.serve(ready)), name="proxy", daemon=True)
    thread.start()
    if not ready.wait(10):
        raise TimeoutError(f"the proxy before {target} does not listen")
    try:
        yield made
    finally:
        made.end()
        thread.join(10)
