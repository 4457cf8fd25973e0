"""Webhooks: what is told and what is not, to a real receiver and the standard's library."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy.orm import Session, sessionmaker
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

from tests.worker.network.test_timed_http import ENDS_S, trickling
from tests.worker.sending.hospital import (
    FAILED,
    SENT,
    WAITING,
    Receiver,
    deliveries,
    end_study,
    receiving,
    settle,
)
from worker.errors import Code
from worker.sending.from_settings import destinations
from worker.sending.sender import Sender
from worker.settings import Settings

SECRET = "a secret of the hospital's"
Made = Callable[..., Sender]


@pytest.fixture
def sender(sessions: sessionmaker[Session], root: Path) -> Made:
    def made(url: str, timeout_s: float = 5, **settings: Any) -> Sender:
        (one,) = destinations(Settings(storage_root=root, send_timeout_s=timeout_s, send_webhook_url=url, **settings))
        sender = Sender(one, sessions, 0.1, 60, lambda work: work())
        sender.switch_on()
        return sender

    return made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as receiver:
        yield receiver


def test_a_receiver_hears_what_became_of_a_study_and_not_whose_it_is(
    sender: Made, sessions: sessionmaker[Session], root: Path, receiver: Receiver
) -> None:
    sending = sender(receiver.url)
    study_id = end_study(sessions, root)
    assert sending.work().sent == 1
    ((headers, body),) = receiver.heard
    (row,) = deliveries(sessions)
    told = receiver.bodies[0]
    assert told.pop("timestamp")
    assert told == {
        "type": "study.ended",
        "delivery_id": str(row["id"]),
        "study_id": str(study_id),
        "revision": 1,
        "state": "done",
        "priority": "routine",
        "worklist_class": "upgraded",
        "tier": "suspicious",
        "place_reason": "Lesion 1, BI-RADS 4A: both models are high, so a category above 4A is advised",
        "lesions": 1,
        "outcomes": {"upgraded": 1, "maintained": 0, "not_applicable": 0, "downgraded": 0},
        "error_code": None,
        "notices": ["demo, synthetic, not for clinical use"],
    }
    assert "1.2.826" not in str(headers) + body.decode()
    assert headers["content-type"] == "application/json"
    assert (row["state"], row["sop_instance_uid"]) == (SENT, None)


@pytest.mark.parametrize("secret", [SECRET, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_a_receiver_can_tell_that_it_is_ours(
    sender: Made, sessions: sessionmaker[Session], root: Path, receiver: Receiver, secret: str
) -> None:
    sending = sender(receiver.url, send_webhook_secret=secret)
    end_study(sessions, root)
    sending.work()
    ((headers, body),) = receiver.heard
    verifier = Verifier(secret if secret.startswith("whsec_") else secret.encode())
    assert verifier.verify(body, headers) == receiver.bodies[0]
    with pytest.raises(WebhookVerificationError):
        verifier.verify(body.replace(b"upgraded", b"downgraded"), headers)
    with pytest.raises(WebhookVerificationError):
        verifier.verify(body, headers | {"webhook-id": "another"})


def test_identifiers_are_told_only_where_the_setting_says_so(
    sender: Made, sessions: sessionmaker[Session], root: Path, receiver: Receiver
) -> None:
    sending = sender(receiver.url, send_webhook_identifiers=True)
    end_study(sessions, root)
    sending.work()
    assert receiver.bodies[0]["study_instance_uid"].startswith("1.2.826")
    assert receiver.bodies[0]["accession_number"] == "A1"


def test_a_receiver_in_trouble_is_told_again_with_the_same_id(
    sender: Made, sessions: sessionmaker[Session], root: Path, receiver: Receiver
) -> None:
    sending = sender(receiver.url)
    end_study(sessions, root)
    trouble = (500, 503, 429, 401, 403, 404, 405, 406, 407, 411, 415, 423, 426, 451, 302, 301)
    for receiver.status in trouble:
        assert sending.work().away is not None
        (row,) = deliveries(sessions)
        assert (row["state"], row["error_reason"]) == (WAITING, f"the receiver answers HTTP {receiver.status}")
        settle(sessions)
    receiver.status = 200
    assert sending.work().sent == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.heard}) == 1
    assert len(receiver.heard) == len(trouble) + 1, "and no redirect is followed"


def test_what_a_receiver_refuses_is_failed(
    sender: Made, sessions: sessionmaker[Session], root: Path, receiver: Receiver
) -> None:
    sending = sender(receiver.url)
    for number, receiver.status in enumerate((400, 409, 410, 413, 422)):
        end_study(sessions, root, number)
        assert sending.work().failed == 1
        row = deliveries(sessions)[-1]
        assert (row["state"], row["error_code"]) == (FAILED, Code.DESTINATION_REFUSED)


def test_a_receiver_that_is_down_is_told_once_it_is_up(
    sender: Made, sessions: sessionmaker[Session], root: Path, port: int
) -> None:
    sending = sender(f"http://127.0.0.1:{port}/hook")
    end_study(sessions, root)
    assert sending.work().away is not None
    settle(sessions)
    with receiving(Receiver(), port) as receiver:
        assert sending.work().sent == 1
    assert len(receiver.heard) == 1


def test_a_receiver_that_sends_a_byte_now_and_then_is_given_up_in_time(
    sender: Made, sessions: sessionmaker[Session], root: Path
) -> None:
    end_study(sessions, root)
    with trickling("header") as url:
        sending = sender(url, timeout_s=0.5)
        started = time.monotonic()
        assert sending.work().away is not None
        assert time.monotonic() - started < ENDS_S / 2


def test_a_receiver_whose_certificate_nobody_we_trust_signed_hears_nothing(
    sender: Made, sessions: sessionmaker[Session], root: Path, tmp_path: Path
) -> None:
    ca, other = trustme.CA(), trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("localhost").configure_cert(tls)
    for name, one in (("ca", ca), ("other", other)):
        one.cert_pem.write_to_path(tmp_path / name)
    end_study(sessions, root)
    with receiving(Receiver(), tls=tls) as receiver:
        wary = sender(receiver.url, send_webhook_ca=tmp_path / "other")
        assert wary.work().away is not None
        assert receiver.heard == []
        settle(sessions)
        assert sender(receiver.url, send_webhook_ca=tmp_path / "ca").work().sent == 1
    assert len(receiver.heard) == 1
