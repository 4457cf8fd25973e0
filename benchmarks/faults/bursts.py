"""Bursts of orders by HL7 and of jobs by HTTP, in whose middle what takes them is killed: each is on record once."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Protocol

from benchmarks.faults.not_here import NotPossibleHere
from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import verify
from benchmarks.faults.waiting import listens
from benchmarks.measuring import Say
from worker.api.tokens import Scope, Tokens
from worker.extras import is_installed
from worker.network.port import LOOPBACK, free_port

SENDERS: Final = 8
PATIENCE_S: Final = 120.0
ENDED_WITHIN_S: Final = 1800.0
ANSWER_S: Final = 10.0
PAUSE_S: Final = 0.1
"""How long a sender waits before it sends again what was not acknowledged, in seconds."""


class Sender(Protocol):
    """A connection to what takes messages."""

    def send(self, number: int) -> bool:
        """Send the message of this number; say whether it was acknowledged.

        Raises:
            OSError: nobody answers.
        """

    def close(self) -> None:
        """Hang up; the next message is sent over another connection."""


@dataclass
class Burst:
    """Messages of several senders, each sent until it is acknowledged.

    Attributes:
        each: messages of one sender.
        repeated: messages that were sent more than once.
    """

    each: int
    repeated: int = 0
    _acknowledged: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def count(self) -> int:
        """All messages."""
        return SENDERS * self.each

    def send(self, connect: Callable[[], Sender], kills: int, kill: Callable[[], None]) -> None:
        """Send all of them, and kill what takes them after each equal part.

        Args:
            connect: gives each sender its connection.
            kills: how often.
            kill: does it, and starts what was killed again.

        Raises:
            TimeoutError: messages are not acknowledged any more.
        """
        with ThreadPoolExecutor(SENDERS) as senders:
            sending = [senders.submit(self._send_all, connect(), sender) for sender in range(SENDERS)]
            for _ in range(kills):
                for _ in range(self.count // (kills + 1)):
                    if not self._acknowledged.acquire(timeout=PATIENCE_S):
                        raise TimeoutError("messages are not acknowledged any more")
                kill()
            self.repeated = sum(one.result() for one in sending)

    def _send_all(self, sender: Sender, place: int) -> int:
        times = [self._send_one(sender, number) for number in range(place * self.each, (place + 1) * self.each)]
        sender.close()
        return sum(sent > 1 for sent in times)

    def _send_one(self, sender: Sender, number: int) -> int:
        """Send a message until it is acknowledged; return how often."""
        times, until = 1, time.monotonic() + PATIENCE_S
        while not _is_taken(sender, number):
            if time.monotonic() > until:
                raise TimeoutError("a message is not acknowledged")
            times += 1
            sender.close()
            time.sleep(PAUSE_S)
        self._acknowledged.release()
        return times


def _is_taken(sender: Sender, number: int) -> bool:
    try:
        return sender.send(number)
    except OSError:
        return False


# --- orders by HL7


def listener_killed(say: Say, *, quick: bool) -> Figure:
    """Kill the listener while eight senders each send their orders, and let them repeat what nobody acknowledged.

    The archive has none of the studies, so that each order ends as a refusal that a person sees.
    """
    _require("listen", "dicomweb")
    kills, burst = (1, Burst(4)) if quick else (5, Burst(500))
    with _empty_archive() as url, fault_service(say) as service:
        port = free_port(service.services.home.folder("run") / "listen.port")
        servers = json.dumps({"archive": {"url": url}})
        service.give_workers(DLR_DICOMWEB_SERVERS=servers, DLR_LISTEN_PORT=str(port))
        service.start_worker("intake")
        restart = partial(_restart, service, "listen", port)
        restart()
        burst.send(partial(_Ris, port), kills, restart)
        service.until(lambda: service.waiting() == 0, ENDED_WITHIN_S, "an empty queue", 0.5)
        rows = service.sql("SELECT accession_number AS order, state::text, error_code AS code FROM study")
    times = Counter(row["order"] for row in rows)
    lost = sum(_accession(number) not in times for number in range(burst.count))
    twice = sum(count > 1 for count in times.values())
    ends = ", ".join(sorted({f"{row['state']} ({row['code']})" for row in rows}))
    return Figure(
        "`dlr listen` killed -9 among orders by HL7",
        f"{kills} times; {burst.count} orders over {SENDERS} MLLP connections, {burst.repeated} of them sent again for "
        "want of an answer; their archive is empty",
        f"{lost} lost, {twice} twice on record, {len(times)} in all: {ends}",
        "each order that was answered AA ends in the ledger once",
        passed=lost == twice == 0 and len(times) == burst.count and burst.repeated > 0,
    )


@dataclass
class _Ris:
    """A RIS that sends orders over a connection of its own."""

    port: int
    _client: Any = None

    def send(self, number: int) -> bool:
        from hl7.client import MLLPClient

        self._client = self._client or MLLPClient(LOOPBACK, self.port)
        self._client.socket.settimeout(ANSWER_S)
        return b"MSA|AA|" in self._client.send_message(_order(number))

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def _order(number: int) -> bytes:
    segments = (
        f"MSH|^~\\&|RIS|HOSPITAL|DLR||20261130080000||ORM^O01|{number}|P|2.5.1||||||UNICODE UTF-8",
        "ORC|SC||||CM",
        "OBR|1" + "|" * 17 + _accession(number),
    )
    return "".join(f"{segment}\r" for segment in segments).encode()


def _accession(number: int) -> str:
    return f"A{number}"


@contextmanager
def _empty_archive() -> Iterator[str]:
    """Run a DICOMweb server that has no studies."""

    class Archive(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/dicom+json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Archive) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.05,))
        serving.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


# --- jobs by HTTP


def interface_killed(say: Say, *, quick: bool) -> Figure:
    """Kill the HTTP interface while eight programs push jobs, and let them repeat what nobody answered."""
    _require("api")
    kills, burst = (1, Burst(4)) if quick else (5, Burst(500))
    with fault_service(say) as service:
        settings = service.services.settings
        port = free_port(settings.home / "run" / "api.port")
        token = Tokens(settings.api_tokens).create("burst", [Scope.JOBS_WRITE], None)
        service.give_workers(DLR_API_PORT=str(port), DLR_API_REQUESTS_PER_S="100000")
        service.start_worker("inference")
        studies = service.studies.make(burst.count)
        restart = partial(_restart, service, "api", port)
        restart()
        burst.send(partial(_Program, f"http://{LOOPBACK}:{port}/v1/jobs", token, studies), kills, restart)
        service.until_ended(studies, ENDED_WITHIN_S)
        verdict = verify(service, studies)
        rows = service.sql("SELECT count(*) FROM study")[0]["count"]
    return Figure(
        "`dlr api` killed -9 among jobs by HTTP",
        f"{kills} times; {burst.count} jobs of {SENDERS} programs, each with its Idempotency-Key, {burst.repeated} of "
        "them pushed again for want of an answer",
        f"{said(verdict)}; {rows} rows",
        "each job that was answered 202 ends in the ledger once",
        passed=verdict.is_clean and rows == burst.count and burst.repeated > 0,
    )


class _Program:
    """A program that pushes jobs over a connection of its own."""

    def __init__(self, url: str, token: str, studies: Sequence[MadeStudy]) -> None:
        from requests import Session

        self._url, self._studies = url, studies
        self._session = Session()
        self._session.headers["Authorization"] = f"Bearer {token}"

    def send(self, number: int) -> bool:
        key = {"Idempotency-Key": f"job-{number}"}
        answer = self._session.post(self._url, json=self._studies[number].job, headers=key, timeout=ANSWER_S)
        return answer.status_code == 202

    def close(self) -> None:
        self._session.close()


# --- both


def _require(*extras: str) -> None:
    missing = [extra for extra in extras if not is_installed(extra)]
    if missing:
        raise NotPossibleHere(f"the extra `{missing[0]}` is not installed here")


def _restart(service: FaultService, command: str, port: int) -> None:
    """Kill ``dlr COMMAND`` if it runs, start it, and wait until it listens."""
    if command in service.workers:
        service.kill_workers([command])
    service.start_module(command, "worker.cli.main", command)
    service.until(lambda: listens(port), PATIENCE_S, f"dlr {command}")
    service.say(f"dlr {command} listens")
