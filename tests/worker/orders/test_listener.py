"""Messages over MLLP: what a sender is answered, and what is in Redis by then."""

import asyncio
import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import hl7
import pytest
import trustme
from hl7.client import MLLPClient
from redis import Redis

from tests.waiting import until
from tests.worker.orders.messages import msh, omi, oru, segments
from worker.broker.message_gate import read_message as through_the_gate
from worker.orders.inbound_queue import InboundQueue
from worker.orders.listener import Listener, ListenerConfig, listen
from worker.orders.order_map import default_map

CONFIG = ListenerConfig("127.0.0.1", 0, (), (), 8, 1 << 16, 30.0, {"kind": "pacs", "server": "pacs"}, default_map())


@contextmanager
def listening(redis_url: str, config: ListenerConfig = CONFIG) -> Iterator[int]:
    """Run a listener in a thread; give its port."""
    port: list[int] = []
    over = threading.Event()
    client = Redis.from_url(redis_url, socket_timeout=5, socket_connect_timeout=5)
    serving = threading.Thread(
        target=lambda: asyncio.run(
            listen(Listener(config, InboundQueue(client, "")), lambda _, at: port.append(at), over.is_set)
        )
    )
    serving.start()
    try:
        until(lambda: port)
        yield port[0]
    finally:
        over.set()
        serving.join()
        client.close()


def say(port: int, *blocks: bytes) -> list[hl7.Message]:
    with MLLPClient("127.0.0.1", port) as client:
        return [hl7.parse(client.send_message(block).strip(b"\x0b\x1c\r").decode()) for block in blocks]


def code(answer: hl7.Message) -> str:
    return str(answer.extract_field("MSA", 1, 1))


def queued(redis_url: str) -> list[tuple[str, dict[str, Any]]]:
    """The tasks and their arguments, as a worker's gate reads them, the first to be taken first."""
    with Redis.from_url(redis_url) as client:
        lists = ["intake", *(f"intake\x06\x16{step}" for step in (3, 6, 9))]
        items = [item for name in lists for item in reversed(client.lrange(name, 0, -1))]
    read = [through_the_gate(item, 1 << 20) for item in items]
    return [(one.task, one.kwargs) for one in read]


def test_an_order_is_in_redis_before_it_is_accepted_behind_what_is_pushed_and_urgent_ones_first(redis_url: str) -> None:
    with listening(redis_url) as port:
        messages = oru("A1", control_id="1"), omi("A2", "", "S", "2"), oru("A3", priority="^^^^^A", control_id="3")
        answers = say(port, *messages)
        accepted = [(code(one), str(one.extract_field("MSA", 1, 2))) for one in answers]
        assert accepted == [("AA", "1"), ("AA", "2"), ("AA", "3")]
        jobs = [arguments["job"] for _, arguments in queued(redis_url)]
    asked = [(job["accession_number"], job["priority"]) for job in jobs]
    assert asked == [("A2", "stat"), ("A3", "urgent"), ("A1", "routine")]
    assert jobs[0]["images"] == {"kind": "pacs", "server": "pacs"}


def test_a_message_that_is_sent_again_is_accepted_again_and_makes_one_job(redis_url: str) -> None:
    with listening(redis_url) as port:
        assert [code(one) for one in say(port, oru("A1"), oru("A1"))] == ["AA", "AA"]
    with listening(redis_url) as port:  # after a restart too
        assert [code(one) for one in say(port, oru("A1"), oru("A2"))] == ["AA", "AA"]
    jobs = [arguments["job"]["accession_number"] for _, arguments in queued(redis_url)]
    assert jobs == ["A1", "A2"], "a number that stands for another study is another order"


def test_the_numbers_of_two_senders_are_not_one(redis_url: str) -> None:
    with listening(redis_url) as port:
        say(port, oru("A1"), oru("A1").replace(b"|RIS|", b"|OTHER|"))
    assert len(queued(redis_url)) == 2


def test_what_does_not_say_that_a_study_is_ready_is_accepted_and_nothing_follows(redis_url: str) -> None:
    with listening(redis_url) as port:
        assert [code(one) for one in say(port, oru(status="I"))] == ["AA"]
    assert queued(redis_url) == []


def test_what_can_not_be_read_is_rejected_with_a_reason_and_its_record_is_on_the_queue_once(redis_url: str) -> None:
    broken = segments(msh("ORM^O01", "9"), "ORC|SC||||CM")
    with listening(redis_url) as port:
        answers = say(port, broken, broken, b"hello")
    assert [code(one) for one in answers] == ["AR"] * 3
    assert "names no study" in str(answers[0].extract_field("MSA", 1, 3))
    assert str(answers[0].extract_field("ERR", 1, 3)) == "101"
    recorded = queued(redis_url)
    assert [(task, said["code"]) for task, said in recorded] == [("dlr.record_refusal", "hl7_invalid")] * 2
    assert "ORC|SC" in recorded[0][1]["raw"]


def test_a_type_that_is_not_read_and_an_unknown_application_are_rejected_and_leave_no_record(redis_url: str) -> None:
    config = replace(CONFIG, applications=("RIS|HOSPITAL",))
    with listening(redis_url, config) as port:
        answers = say(port, segments(msh("ADT^A01"), "PID|1"), oru().replace(b"|RIS|", b"|OTHER|"), oru())
    assert [code(one) for one in answers] == ["AR", "AR", "AA"]
    assert str(answers[0].extract_field("ERR", 1, 3)) == "200"
    assert len(queued(redis_url)) == 1


def test_while_redis_is_away_the_sender_keeps_its_message(own_redis: Any) -> None:
    with listening(own_redis.url()) as port:
        own_redis.stop()
        assert [code(one) for one in say(port, oru(), b"hello")] == ["AE", "AE"]
        own_redis.start()
        assert [code(one) for one in say(port, oru())] == ["AA"]
    assert len(queued(own_redis.url())) == 1


def test_a_message_that_is_too_large_is_rejected_and_the_connection_closed(redis_url: str) -> None:
    with listening(redis_url) as port:
        assert [code(one) for one in say(port, oru("A" * (1 << 17)))] == ["AR"]
        assert [code(one) for one in say(port, oru())] == ["AA"]


def test_an_address_that_is_not_allowed_and_one_connection_too_many_are_closed_unheard(redis_url: str) -> None:
    with listening(redis_url, replace(CONFIG, networks=(ip_network("10.0.0.0/8"),))) as port, pytest.raises(OSError):
        _raise_if_closed(port)
    with listening(redis_url, replace(CONFIG, connections=1)) as port, MLLPClient("127.0.0.1", port) as first:
        first.send_message(oru())
        with pytest.raises(OSError):
            _raise_if_closed(port)


def _raise_if_closed(port: int) -> None:
    with MLLPClient("127.0.0.1", port) as client:
        if not client.send_message(oru()):
            raise ConnectionResetError


def test_a_sender_that_is_silent_is_let_go(redis_url: str) -> None:
    with listening(redis_url, replace(CONFIG, idle_s=0.2)) as port, MLLPClient("127.0.0.1", port) as client:
        assert client.socket.recv(1) == b""


def test_over_tls_a_sender_without_a_certificate_is_no_sender(redis_url: str) -> None:
    ca = trustme.CA()
    of_server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(of_server)
    ca.configure_trust(of_server)
    of_server.verify_mode = ssl.CERT_REQUIRED
    known, unknown = ssl.create_default_context(), ssl.create_default_context()
    for context in (known, unknown):
        ca.configure_trust(context)
    ca.issue_cert("ris.example").configure_cert(known)
    with listening(redis_url, replace(CONFIG, tls=of_server)) as port:
        assert b"|AA|" in _send_over(known, port)
        with pytest.raises(OSError):
            _send_over(unknown, port)
    assert len(queued(redis_url)) == 1


def _send_over(context: ssl.SSLContext, port: int) -> bytes:
    with MLLPClient("127.0.0.1", port) as client:
        client.socket = context.wrap_socket(client.socket, server_hostname="127.0.0.1")
        answer: bytes = client.send_message(oru())
    if not answer:
        raise ConnectionResetError
    return answer


def test_no_identifier_is_in_a_key_of_redis(redis_url: str) -> None:
    with listening(redis_url) as port:
        say(port, oru("SECRET", control_id="SECRET-1"))
    with Redis.from_url(redis_url) as client:
        keys = set(client.scan_iter("*"))
        assert keys
        assert not any(b"SECRET" in key for key in keys)
        [item] = client.lrange("intake\x06\x169", 0, -1)
    assert json.loads(base64.b64decode(json.loads(item)["body"]))[1]["job"]["accession_number"] == "SECRET"
