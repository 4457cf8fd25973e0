"""ORU^R01 to an HL7 v2 receiver, whose messages are read and answered by python-hl7 (PyPI `hl7`)."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hl7
import pytest
import trustme
from sqlalchemy.orm import Session, sessionmaker

from tests.worker.sending.hospital import FAILED, SENT, WAITING, deliveries, end_study, settle
from worker.errors import Code
from worker.sending.from_settings import routes
from worker.sending.sender import Sender
from worker.settings import Settings

pytestmark = pytest.mark.slow

Sessions = sessionmaker[Session]
Answer = Callable[[Any], str]


def acknowledge(message: Any, code: str = "AA", error: str | None = None) -> str:
    answer = str(message.create_ack(code))
    return answer if error is None else f"{answer}ERR|||{error}|E\r"


@dataclass
class Ris:
    """Hears messages, and answers as a test has it."""

    answer: Answer = acknowledge
    heard: list[Any] = field(default_factory=list)
    calls: int = 0
    port: int = 0


@contextmanager
def hearing(ris: Ris, port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Ris]:
    listener = socket.create_server(("127.0.0.1", port))
    ris.port = listener.getsockname()[1]

    def serve() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            try:
                with plain if tls is None else tls.wrap_socket(plain, server_side=True) as connection:
                    ris.calls += 1
                    converse(connection)
            except OSError:
                plain.close()

    def converse(connection: socket.socket) -> None:
        content = b""
        while part := connection.recv(65536):
            content += part
            while b"\x1c\r" in content:
                frame, _, content = content.partition(b"\x1c\r")
                message = hl7.parse(frame.removeprefix(b"\x0b").decode())
                ris.heard.append(message)
                connection.sendall(b"\x0b" + ris.answer(message).encode() + b"\x1c\r")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield ris
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


Made = Callable[..., Sender]


@pytest.fixture
def sender(sessions: Sessions, root: Path, tmp_path: Path) -> Made:
    def made(port: int, more: str = "", timeout_s: float = 5) -> Sender:
        file = tmp_path / "destinations.toml"
        file.write_text(
            f'[destination.ris]\nkind = "mllp"\nhost = "localhost"\nport = {port}\ntimeout_s = {timeout_s}\n'
            'sending_facility = "RADIOLOGY"\nreceiving_application = "RIS"\nreceiving_facility = "HOSPITAL"\n'
            f"results = {{demo = true}}\n{more}"
        )
        (route,) = routes(Settings(storage_root=root, send_destinations=file))
        sender = Sender(route.destination, sessions, 0.1, 600, lambda work: work(), terms=route.terms)
        sender.switch_on()
        return sender

    return made


def state(sessions: Sessions) -> tuple[str, str | None, str | None]:
    row = deliveries(sessions)[-1]
    return row["state"], row["error_code"], row["error_reason"]


def test_a_result_is_a_message_with_its_order_each_lesion_and_what_it_is_not_for(
    sender: Made, sessions: Sessions, root: Path
) -> None:
    with hearing(Ris()) as ris:
        sending = sender(ris.port, "placer_is_accession = true\n")
        end_study(sessions, root, 1)
        end_study(sessions, root, 2, fails=True)
        assert sending.work().sent == 2
    assert ris.calls == 1, "over one connection"
    message = ris.heard[0]
    msh = message["MSH"][0]
    assert [str(msh[place]) for place in (4, 5, 6, 9, 11, 12)] == [
        "RADIOLOGY", "RIS", "HOSPITAL", "ORU^R01^ORU_R01", "P", "2.5.1",
    ]  # fmt: skip
    orc, obr = message["ORC"][0], message["OBR"][0]
    assert [str(orc[place]) for place in (1, 2, 3)] == ["RE", "A1", "A1"]
    assert [str(obr[place])[:8] for place in (2, 3, 7, 25)] == ["A1", "A1", "20261123", "P"]
    assert str(obr[4])
    notes = [str(nte[3]) for nte in message["NTE"]]
    assert notes == ["DLR: recommendation, not a diagnosis", "demo, synthetic, not for clinical use"]
    assert "1" in {str(obx[4]) for obx in message["OBX"]}
    assert [str(segment[0]) for segment in message][:4] == ["MSH", "PID", "ORC", "OBR"]
    assert [row["state"] for row in deliveries(sessions)] == [SENT, SENT]


@pytest.mark.parametrize(
    ("code", "error", "becomes"),
    [
        ("AE", "101", (FAILED, "destination_refused", "the receiver answers AE and error 101")),
        ("AE", "207", (WAITING, "destination_deferred", "the receiver answers AE and error 207")),
        ("AR", None, (WAITING, "destination_deferred", "the receiver answers AR")),
        ("AE", None, (FAILED, "destination_refused", "the receiver answers AE")),
    ],
)
def test_a_message_that_is_not_taken_is_sent_again_or_not_and_holds_up_no_other(
    sender: Made, sessions: Sessions, root: Path, code: str, error: str | None, becomes: tuple[str, str, str]
) -> None:
    ris = Ris(lambda message: acknowledge(message) if len(ris.heard) == 1 else acknowledge(message, code, error))
    with hearing(ris):
        sending = sender(ris.port)
        end_study(sessions, root, 1, fails=True)
        end_study(sessions, root, 2, fails=True)
        done = sending.work()
    assert (done.sent, done.away) == (1, None)
    assert state(sessions) == becomes


def test_what_is_sent_again_is_the_same_message_and_ends_after_so_many_times(
    sender: Made, sessions: Sessions, root: Path
) -> None:
    with hearing(Ris(lambda message: acknowledge(message, "AR"))) as ris:
        sending = sender(ris.port, "retry = {most_deferrals = 2}\n")
        end_study(sessions, root, fails=True)
        assert sending.work().held_up == 1
        settle(sessions)
        assert sending.work().failed == 1
    assert str(ris.heard[0]) == str(ris.heard[1])
    assert state(sessions)[1:] == ("destination_refused", "the receiver answers AR, 2 times")


def test_a_vendor_whose_ae_is_for_now_has_a_setting(sender: Made, sessions: Sessions, root: Path) -> None:
    with hearing(Ris(lambda message: acknowledge(message, "AE"))) as ris:
        sending = sender(ris.port, 'on_nack = {AE = "retry"}\n')
        end_study(sessions, root, fails=True)
        assert sending.work().held_up == 1


@pytest.mark.parametrize("answer", ["", "<html>", "MSH|^~\\&|RIS\rMSA|AA|another\r"])
def test_an_answer_that_is_none_is_waited_for(sender: Made, sessions: Sessions, root: Path, answer: str) -> None:
    with hearing(Ris(lambda _: answer)) as ris:
        sending = sender(ris.port)
        end_study(sessions, root, fails=True)
        assert sending.work().away is not None
    assert state(sessions)[:2] == (WAITING, Code.DESTINATION_UNAVAILABLE)


def test_a_receiver_that_is_down_has_it_once_it_is_up(sender: Made, sessions: Sessions, root: Path, port: int) -> None:
    sending = sender(port)
    end_study(sessions, root, fails=True)
    assert sending.work().away is not None
    settle(sessions)
    with hearing(Ris(), port) as ris:
        assert "takes connections" in sending.destination.test()
        assert ris.heard == []
        assert sending.work().sent == 1


def test_a_receiver_that_takes_the_message_and_is_silent_is_given_up_in_time(
    sender: Made, sessions: Sessions, root: Path
) -> None:
    end_study(sessions, root, fails=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sending = sender(listener.getsockname()[1], timeout_s=0.5)
        sending.switch_on()
        end_study(sessions, root, 2, fails=True)
        started = time.monotonic()
        assert sending.work().away is not None
        assert time.monotonic() - started < 20


def test_over_tls_a_receiver_has_to_prove_who_it_is_and_asks_who_we_are(
    sender: Made, sessions: Sessions, root: Path, tmp_path: Path
) -> None:
    ca, other = trustme.CA(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(tls)
    ca.configure_trust(tls)
    tls.verify_mode = ssl.CERT_REQUIRED
    ours = ca.issue_cert("worker")
    ours.private_key_pem.write_to_path(tmp_path / "key")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "certificate")
    for name, one in (("ca", ca), ("other", other)):
        one.cert_pem.write_to_path(tmp_path / name)
    key = 'tls = true\ncertificate = "certificate"\nkey = "key"\n'
    with hearing(Ris(), tls=tls) as ris:
        wary = sender(ris.port, f'{key}ca = "other"\n')
        end_study(sessions, root, fails=True)
        assert wary.work().away is not None
        assert ris.heard == []
        settle(sessions)
        sending = sender(ris.port, f'{key}ca = "ca"\n')
        assert "TLSv1" in sending.destination.test()
        assert sending.work().sent == 1
