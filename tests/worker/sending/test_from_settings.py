"""Which destinations the settings switch on, and which settings do not fit each other."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from sqlalchemy.orm import Session, sessionmaker

from tests.worker.sending.hospital import Archive, end_study, running
from worker.errors import SetupRefused
from worker.sending.dicom_node import Node
from worker.sending.from_settings import destinations
from worker.sending.sender import Sender
from worker.settings import Settings


def test_each_setting_switches_its_destination_on() -> None:
    found = destinations(Settings(send_pacs="PACS@h:104", send_ups="RIS@h:105", send_webhook_url="https://h/hook"))
    assert [one.name for one in found] == ["pacs", "ups", "webhook"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "nothing to send to"),
        ({"send_ups": "RIS@h:105"}, "DLR_SEND_RETRIEVE_AE_TITLE"),
        ({"send_webhook_url": "https://me:secret@h/"}, "a user or a password"),
        ({"send_webhook_url": "http://h/", "send_webhook_identifiers": True}, "https"),
        ({"send_webhook_url": "http://h/", "send_webhook_secret": "short"}, "fewer than 16"),
        (
            {"send_webhook_url": "https://h/", "send_webhook_ca": Path("/nowhere")},
            "DLR_SEND_WEBHOOK_CA cannot be read",
        ),
        ({"send_webhook_url": "https://h/", "send_webhook_ca": Path(__file__)}, "DLR_SEND_WEBHOOK_CA cannot be read"),
        ({"send_pacs": "PACS@h:104", "send_key": Path("key")}, "need DLR_SEND_CA"),
        ({"send_pacs": "PACS@h:104", "send_ca": Path("/nowhere")}, "cannot be read"),
    ],
)
def test_settings_that_do_not_fit_are_named(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupRefused) as refused:
        destinations(Settings(**settings))
    assert said in refused.value.reason
    assert "me:secret" not in refused.value.reason


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("PACS@pacs.hospital:104", Node("PACS", "pacs.hospital", 104)),
        ("A PACS@10.0.0.1:11112", Node("A PACS", "10.0.0.1", 11112)),
        ("PACS@[::1]:104", Node("PACS", "::1", 104)),
    ],
)
def test_an_address_is_a_title_a_host_and_a_port(text: str, node: Node) -> None:
    assert Node.parsed(str(Settings(send_pacs=text).send_pacs)) == node


@pytest.mark.parametrize("text", ["PACS", "PACS@h", "@h:1", "A-TITLE-THAT-IS-TOO-LONG@h:1", "PACS@h:x"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="send_pacs"):
        Settings(send_pacs=text)


def test_a_pacs_has_to_prove_who_it_is_and_asks_who_we_are(
    sessions: sessionmaker[Session], root: Path, port: int, tmp_path: Path
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
    key = {"send_certificate": tmp_path / "certificate", "send_key": tmp_path / "key"}

    def stored(**settings: Any) -> bool:
        said = Settings(storage_root=root, send_pacs=f"PACS@localhost:{port}", send_timeout_s=5, **settings)
        sender = Sender(destinations(said)[0], sessions, 0, 60, lambda work: work())
        sender.switch_on()
        with sessions.begin() as session:
            session.connection().exec_driver_sql("UPDATE delivery SET next_at = now() WHERE state = 'waiting'")
        return sender.work().sent == 1

    end_study(sessions, root)
    with running(Archive(port, tls=tls)):
        assert not stored()
        assert not stored(send_ca=tmp_path / "other", **key)
        assert not stored(send_ca=tmp_path / "ca")
        assert stored(send_ca=tmp_path / "ca", **key)
