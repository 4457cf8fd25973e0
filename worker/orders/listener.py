"""``dlr listen``: HL7 v2 over MLLP. What it answered AA to is in Redis, as any job that is pushed.

Nothing of a message is logged. What cannot be read is answered AR, and its record is found in `dlr failed list`; where
Redis is away the answer is AE, and the sender keeps the message.
"""

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from worker.errors import Code, JobRefused, SetupRefused
from worker.orders import acknowledgment as ack
from worker.orders.acknowledgment import Answer, acknowledgment
from worker.orders.inbound_queue import InboundQueue
from worker.orders.order import Header, header_of, is_read, job_of, read_message
from worker.orders.order_map import OrderMap
from worker.outages.redis_answers import AWAY as REDIS_AWAY
from worker.outages.redis_answers import reason_of

if TYPE_CHECKING:
    from hl7 import Message
    from hl7.mllp import HL7StreamReader, HL7StreamWriter

logger = logging.getLogger(__name__)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LATER: Final = "the message was not kept: send it again later"


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """How to listen.

    Attributes:
        address: of the interface.
        port: 0: any free one.
        networks: from which senders may connect; none: from everywhere that the address is reached.
        applications: ``MSH-3|MSH-4`` of the senders; none: all.
        connections: the most at once.
        max_bytes: the largest message.
        idle_s: a connection on which nothing has come for so long is closed.
        images: where the studies are, as a job has it.
        told: what of a message means what.
        tls: ``None``: without.
    """

    address: str
    port: int
    networks: Sequence[Network]
    applications: Sequence[str]
    connections: int
    max_bytes: int
    idle_s: float
    images: dict[str, str]
    told: OrderMap
    tls: ssl.SSLContext | None = None


@dataclass(slots=True)
class Listener:
    """Answers messages.

    Attributes:
        config: how.
        queue: where jobs go.
    """

    config: ListenerConfig
    queue: InboundQueue
    _open: set["asyncio.Task[None]"] = field(default_factory=set)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[tuple[str, int]]:
        """Answer connections until the context ends; give the address and port.

        Raises:
            SetupRefused: ``setting_invalid``; the port is taken, or is not ours to take.
        """
        from hl7.mllp import start_hl7_server

        config = self.config
        try:
            server = await start_hl7_server(
                self._serve, config.address, config.port, limit=config.max_bytes, ssl=config.tls
            )
        except OSError as error:
            reason = f"DLR_LISTEN_PORT: {config.address}:{config.port} cannot be used: {error.strerror}"
            raise SetupRefused(Code.SETTING_INVALID, reason) from None
        try:
            host, port, *_ = server.sockets[0].getsockname()
            yield str(host), int(port)
        finally:
            server.close()
            for task in tuple(self._open):
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _serve(self, reader: "HL7StreamReader", writer: "HL7StreamWriter") -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= self.config.connections or not self._may_connect(writer):
            logger.warning("a connection was closed: its address is not allowed, or there are too many")
            writer.close()
            return
        self._open.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, EOFError, TimeoutError):  # gone, silent, or in the middle of a message
            pass
        finally:
            self._open.discard(task)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _converse(self, reader: "HL7StreamReader", writer: "HL7StreamWriter") -> None:
        from hl7.mllp import InvalidBlockError

        while True:
            try:
                block = await asyncio.wait_for(reader.readblock(), self.config.idle_s)
            except InvalidBlockError:
                logger.warning("a connection was closed: it does not speak MLLP")
                return
            except ValueError:  # it goes on in the middle of a message, so that nothing more can be read
                why = "the message is larger than DLR_LISTEN_MAX_BYTES"
                writer.writeblock(acknowledgment(None, Answer.REJECT, why, ack.WRONG))
                await writer.drain()
                logger.warning("a message was rejected: %s", Code.JOB_TOO_LARGE)
                return
            writer.writeblock(await asyncio.to_thread(self.answer, block))
            await asyncio.wait_for(writer.drain(), self.config.idle_s)

    def answer(self, block: bytes) -> bytes:
        """Keep what a message asks for, and return what its sender is answered; never raises on any block."""
        message: Message | None = None
        header = Header("", "", "", "")
        try:
            message = read_message(block)
            header = header_of(message)
            return self._answer(message, header)
        except JobRefused as refused:
            return self._refused(block, message, header, refused)
        except REDIS_AWAY as error:
            logger.warning("a message was not kept, and its sender has to send it again: Redis %s", reason_of(error))
            return acknowledgment(message, Answer.ERROR, LATER, ack.AWAY)
        except Exception as error:
            logger.error("a defect of this software", exc_info=error)
            return acknowledgment(message, Answer.ERROR, "this is a defect of the receiver; please report it", ack.AWAY)

    def _answer(self, message: "Message", header: Header) -> bytes:
        config = self.config
        if config.applications and header.sender not in config.applications:
            logger.warning("a message was rejected: its sender is not in DLR_LISTEN_APPLICATIONS")
            return acknowledgment(message, Answer.REJECT, "the sending application is unknown here", ack.WRONG)
        if not is_read(header.kind):
            return acknowledgment(message, Answer.REJECT, "this type of message is not read here", ack.UNSUPPORTED)
        job = job_of(message, header.kind, config.images, config.told)
        if job is None:
            return acknowledgment(message, Answer.ACCEPT)
        is_new = self.queue.put(header.sender, header.control_id, job)
        logger.info("an order was taken" if is_new else "an order was there already")
        return acknowledgment(message, Answer.ACCEPT)

    def _refused(self, block: bytes, message: "Message | None", header: Header, refused: JobRefused) -> bytes:
        logger.warning("a message was rejected: %s", refused.code)
        text = block.decode("utf-8", "backslashreplace").replace("\x00", "\\x00").replace("\r", "\n")
        try:
            self.queue.refuse(header.sender, header.control_id, text, refused)
        except REDIS_AWAY as error:
            logger.warning("its record was not kept: Redis %s", reason_of(error))
            return acknowledgment(message, Answer.ERROR, LATER, ack.AWAY)
        return acknowledgment(message, Answer.REJECT, refused.reason, ack.MISSING)

    def _may_connect(self, writer: "HL7StreamWriter") -> bool:
        if not self.config.networks:
            return True
        peer = ipaddress.ip_address(writer.get_extra_info("peername")[0].partition("%")[0])
        mapped = getattr(peer, "ipv4_mapped", None)
        return any((mapped or peer) in network for network in self.config.networks)


async def listen(listener: Listener, said: Callable[[str, int], None], is_over: Callable[[], bool]) -> None:
    """Listen until it is over.

    Args:
        listener: who answers.
        said: is told where.
        is_over: is asked several times a second.
    """
    async with listener.listening() as (host, port):
        said(host, port)
        while not is_over():
            await asyncio.sleep(0.2)
