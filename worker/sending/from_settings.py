"""The routes that the settings name: one for each of the older settings, and those of the file of destinations."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.imaging.image_source import ImageSource
from worker.reporting.documents import Camera
from worker.reporting.source_study import opened
from worker.sending.destination import Opens, Route, Sources
from worker.sending.destinations_file import Entry, read_destinations
from worker.sending.dicom_node import Caller, Node
from worker.sending.from_file import PICTURES, Workshop, documents_named, kinds_of, route_of
from worker.sending.pacs import Pacs
from worker.sending.parts import LOCAL, DocumentMaker, checked_ca, checked_secret, tls_of
from worker.sending.ups import Ups
from worker.sending.webhook import Webhook
from worker.sending.work_item import Performer, Worklist
from worker.settings import Settings

_DICOM_TLS: Final = ("DLR_SEND_CA", "DLR_SEND_CERTIFICATE", "DLR_SEND_KEY")


def routes(settings: Settings, camera: Camera | None = None) -> list[Route]:
    """Return what is delivered to, and on which terms: first by the older settings, then by the file.

    Args:
        settings: what is set.
        camera: what pictures are made with; needed where `wants_pictures`.

    Raises:
        SetupRefused: ``setting_invalid``, ``destinations_invalid``; there is none, settings do not fit each other, two
            have one name, or an extra is missing.
    """
    entries = _entries(settings)
    if not entries and (settings.send_pacs, settings.send_ups, settings.send_webhook_url) == (None, None, None):
        reason = "nothing to send to: set DLR_SEND_DESTINATIONS, DLR_SEND_PACS, DLR_SEND_UPS or DLR_SEND_WEBHOOK_URL"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    require_extra("send", "`dlr send`")
    images = ImageSource(settings.storage_root, settings.dicomweb, settings.pacs)
    sources = partial(opened, images=images, limits=settings.limits)
    found = _of_settings(settings, sources, camera)
    taken = {route.destination.name for route in found} & entries.keys()
    if taken:
        reason = f"destination.{min(taken)}: a DLR_SEND_ setting has switched on a destination of that name already"
        raise SetupRefused(Code.DESTINATIONS_INVALID, reason)
    workshop = Workshop(settings.send_ae_title, settings.send_timeout_s, sources, DocumentMaker(sources, camera))
    return found + [route_of(name, entry, workshop) for name, entry in entries.items()]


def is_asked_for(settings: Settings) -> bool:
    """Whether a setting names a destination, or a file of them."""
    named = settings.send_pacs, settings.send_ups, settings.send_webhook_url, settings.send_destinations
    return any(name is not None for name in named)


def destinations(settings: Settings, camera: Camera | None = None) -> list[Opens]:
    """Return the destinations of all routes."""
    return [route.destination for route in routes(settings, camera)]


def wants_pictures(settings: Settings) -> bool:
    """Whether pictures are made for a destination.

    Raises:
        SetupRefused: ``destinations_invalid``.
    """
    return settings.send_pictures or any(PICTURES in documents_named(entry) for entry in _entries(settings).values())


def _entries(settings: Settings) -> Mapping[str, Entry]:
    file: Path | None = settings.send_destinations
    return {} if file is None else read_destinations(file)


def _of_settings(settings: Settings, sources: Sources, camera: Camera | None) -> list[Route]:
    """Make the routes of the older settings, which take every result, demo results too."""
    tls = tls_of(_DICOM_TLS, settings.send_ca, settings.send_certificate, settings.send_key)
    caller = Caller(settings.send_ae_title, settings.send_timeout_s, tls)
    found: list[Route] = []
    if settings.send_pacs is not None:
        words = ("sr", PICTURES) if settings.send_pictures else ("sr",)
        maker = DocumentMaker(sources, camera)
        pacs = Pacs(Node.parsed(settings.send_pacs), caller, maker, kinds_of(words))
        found.append(Route(pacs, kind="dimse", documents=words))
    if settings.send_ups is not None:
        found.append(Route(Ups(Node.parsed(settings.send_ups), caller, _worklist(settings), sources), kind="ups"))
    if settings.send_webhook_url is not None:
        found.append(Route(_webhook(settings), kind="webhook"))
    return found


def _worklist(settings: Settings) -> Worklist:
    pacs = None if settings.send_pacs is None else Node.parsed(settings.send_pacs).ae_title
    retrieve = settings.send_retrieve_ae_title or pacs
    if retrieve is None:
        reason = "DLR_SEND_RETRIEVE_AE_TITLE: set the AE title from which the images of a work item are retrieved"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    performer = None if settings.send_performer is None else Performer.parsed(settings.send_performer)
    return Worklist(settings.send_worklist_label, retrieve, pacs is not None, performer)


def _webhook(settings: Settings) -> Webhook:
    url = settings.send_webhook_url
    if url is None:
        raise SetupRefused(Code.SETTING_INVALID, "DLR_SEND_WEBHOOK_URL is not set")
    if url.username or url.password:
        raise SetupRefused(Code.SETTING_INVALID, "DLR_SEND_WEBHOOK_URL must not contain a user or a password")
    if settings.send_webhook_identifiers and url.scheme != "https" and url.host not in LOCAL:
        raise SetupRefused(Code.SETTING_INVALID, "DLR_SEND_WEBHOOK_IDENTIFIERS needs a DLR_SEND_WEBHOOK_URL of https")
    given = None if settings.send_webhook_secret is None else settings.send_webhook_secret.get_secret_value()
    secret = checked_secret("DLR_SEND_WEBHOOK_SECRET", given)
    ca = checked_ca("DLR_SEND_WEBHOOK_CA", settings.send_webhook_ca)
    return Webhook(str(url), secret, settings.send_timeout_s, ca, settings.send_webhook_identifiers)
