"""How a receiver listens for DICOM, as the settings say, and whether it answers."""

import socket
import ssl
from dataclasses import dataclass
from typing import Final

from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.network.addresses import is_loopback
from worker.network.server_tls import server_tls
from worker.settings import Settings

VERIFICATION: Final = "1.2.840.10008.1.1"
"""The SOP Class of a C-ECHO (PS3.4, annex A)."""

ANSWERS_S: Final = 5.0
"""How long a receiver may take to answer a probe, in seconds."""

_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  asked at home


@dataclass(frozen=True, slots=True)
class ReceiverConfig:
    """How to listen.

    Attributes:
        address: of the interface.
        port: 0: any free one.
        ae_title: ours; an association that calls another one is rejected.
        callers: the AE titles that may call; empty: all.
        associations: the most at once.
        tls: ``None``: without.
    """

    address: str
    port: int
    ae_title: str
    callers: tuple[str, ...]
    associations: int
    tls: ssl.SSLContext | None = None


def receiver_config_of(settings: Settings) -> ReceiverConfig:
    """Read how to listen from the settings.

    Raises:
        SetupRefused: ``setting_invalid``; the settings contradict each other, or pynetdicom is not installed.
    """
    require_extra("dicom", "`dlr receive`")
    callers = tuple(name.strip() for name in settings.receive_callers.split(",") if name.strip())
    if not callers and not is_loopback(settings.receive_address):
        reason = "DLR_RECEIVE_CALLERS: beyond this machine, say which AE titles may send (DLR_RECEIVE_ADDRESS)"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return ReceiverConfig(
        settings.receive_address,
        settings.receive_port,
        settings.receive_ae_title,
        callers,
        settings.receive_associations,
        server_tls("DLR_RECEIVE", settings.receive_certificate, settings.receive_key, settings.receive_ca),
    )


def echo(config: ReceiverConfig) -> bool:
    """Ask a receiver of this host whether it answers: a C-ECHO, by somebody who may call it.

    Where senders have to show a certificate, that it takes a connection is all that is asked.
    """
    from pynetdicom import AE

    address = _EVERYWHERE.get(config.address, config.address)
    if config.tls is not None and config.tls.verify_mode is ssl.CERT_REQUIRED:
        try:
            socket.create_connection((address, config.port), ANSWERS_S).close()
        except OSError:
            return False
        return True
    entity = AE(ae_title=(config.callers or (config.ae_title,))[0])
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = entity.connection_timeout = ANSWERS_S
    entity.add_requested_context(VERIFICATION)
    tls = None if config.tls is None else (_of_ourselves(), address)
    association = entity.associate(address, config.port, ae_title=config.ae_title, tls_args=tls)
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return "Status" in status and status.Status == 0


def _of_ourselves() -> ssl.SSLContext:
    """Return a context that verifies nobody: who answers at our own port is not the question."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
