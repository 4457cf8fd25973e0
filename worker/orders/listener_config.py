"""How a listener listens for HL7, as the settings say."""

import ipaddress

from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.intake.fetched_from import fetched_from
from worker.network.addresses import is_loopback
from worker.network.server_tls import server_tls
from worker.orders.listener import ListenerConfig, Network
from worker.orders.order_map import OrderMap
from worker.settings import Settings


def listener_config_of(settings: Settings, told: OrderMap) -> ListenerConfig:
    """Read how to listen from the settings.

    Args:
        settings: what is set.
        told: what of a message means what.

    Raises:
        SetupRefused: ``setting_invalid``; the settings contradict each other, or the extra ``listen`` is not installed.
    """
    require_extra("listen", "`dlr listen`")
    networks = _networks(settings.listen_senders)
    if not networks and not is_loopback(settings.listen_address):
        reason = "DLR_LISTEN_SENDERS: beyond this machine, say which addresses may send (DLR_LISTEN_ADDRESS)"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return ListenerConfig(
        address=settings.listen_address,
        port=settings.listen_port,
        networks=networks,
        applications=[name.strip() for name in settings.listen_applications.split(",") if name.strip()],
        connections=settings.listen_connections,
        max_bytes=settings.listen_max_bytes,
        idle_s=settings.listen_idle_s,
        images=fetched_from(settings, "DLR_LISTEN_SERVER", settings.listen_server),
        told=told,
        tls=server_tls("DLR_LISTEN", settings.listen_certificate, settings.listen_key, settings.listen_ca),
    )


def _networks(text: str) -> list[Network]:
    try:
        return [ipaddress.ip_network(one.strip()) for one in text.split(",") if one.strip()]
    except ValueError:
        reason = "DLR_LISTEN_SENDERS: has to be addresses or networks separated by commas, such as 10.1.2.3,10.2.0.0/16"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
