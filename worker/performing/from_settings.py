"""The performer's manager and terms, as the settings say."""

from sqlalchemy.orm import Session, sessionmaker

from db.writes import outbox
from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.intake.fetched_from import fetched_from
from worker.performing.dimse_manager import DimseManager
from worker.performing.manager import Manager
from worker.performing.outcome import Reports
from worker.performing.performer import Terms
from worker.performing.scheduled import Coded, Ours
from worker.performing.web_manager import WebManager
from worker.sending.dicom_node import Caller, Node
from worker.sending.http_server import HttpServer
from worker.sending.parts import tls_of
from worker.settings import Settings

_TLS = ("DLR_PERFORM_CA", "DLR_PERFORM_CERTIFICATE", "DLR_PERFORM_KEY")


def manager_of(settings: Settings) -> Manager:
    """Return the manager whose work items are performed.

    Raises:
        SetupRefused: ``setting_invalid``; none is named, a file of TLS cannot be read, or an extra is missing.
    """
    require_extra("send", "`dlr perform`")
    if (settings.perform_manager is None) == (settings.perform_dicomweb is None):
        reason = (
            "DLR_PERFORM_MANAGER: name the UPS manager whose work items are performed, as AET@host:port, or by "
            "DLR_PERFORM_DICOMWEB one of DLR_DICOMWEB_SERVERS"
        )
        raise SetupRefused(Code.SETTING_INVALID, reason)
    if settings.perform_manager is None:
        return _web_manager(settings, settings.perform_dicomweb or "")
    tls = tls_of(_TLS, settings.perform_ca, settings.perform_certificate, settings.perform_key)
    return DimseManager(
        Node.parsed(settings.perform_manager), Caller(settings.perform_ae_title, settings.perform_timeout_s, tls)
    )


def _web_manager(settings: Settings, name: str) -> WebManager:
    server = settings.dicomweb.servers.get(name)
    if server is None:
        raise SetupRefused(Code.SETTING_INVALID, "DLR_PERFORM_DICOMWEB: name one server of DLR_DICOMWEB_SERVERS")
    told = HttpServer(server.url, settings.perform_timeout_s, server.ca, server.headers)
    return WebManager(told, settings.perform_ae_title.strip())


def terms_of(settings: Settings) -> Terms:
    """Return what is claimed, and how.

    Raises:
        SetupRefused: ``setting_invalid``; nothing says which items are ours, where their studies are is not said, or it
            is said half where reports are.
    """
    ours = Ours(
        _codes(settings.perform_stations), _codes(settings.perform_station_classes), _codes(settings.perform_workitems)
    )
    if not (ours.stations or ours.classes or ours.workitems):
        reason = (
            "DLR_PERFORM_STATIONS: say which work items are ours, by DLR_PERFORM_STATIONS, DLR_PERFORM_STATION_CLASSES "
            "or DLR_PERFORM_WORKITEMS"
        )
        raise SetupRefused(Code.SETTING_INVALID, reason)
    title = settings.perform_ae_title.strip()
    return Terms(
        ours=ours,
        images=fetched_from(settings, "DLR_PERFORM_SERVER", settings.perform_server),
        station=ours.stations[0] if ours.stations else Coded(title, "99DLR", title),
        most=settings.perform_most,
        retry_wait_s=settings.retry_wait_s,
        reports=_reports(settings),
    )


def require_delivered_to(destination: str, sessions: sessionmaker[Session]) -> None:
    """Refuse a destination of reports that nobody delivers to: an item would wait for its report without end.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    with sessions() as session:
        known = {state.destination for state in outbox.outbox_states(session)}
    if destination not in known:
        reason = "DLR_PERFORM_DESTINATION: `dlr send` has not delivered to a destination of that name yet"
        raise SetupRefused(Code.SETTING_INVALID, reason)


def _reports(settings: Settings) -> Reports | None:
    destination, retrieve = settings.perform_destination, settings.perform_retrieve_ae_title
    if destination is None and retrieve is None:
        return None
    if destination is None or retrieve is None:
        reason = "DLR_PERFORM_DESTINATION and DLR_PERFORM_RETRIEVE_AE_TITLE: set both, or neither"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    return Reports(destination, retrieve.strip())


def _codes(text: str) -> tuple[Coded, ...]:
    return tuple(Coded.parsed(one) for one in text.split(",") if one.strip())
