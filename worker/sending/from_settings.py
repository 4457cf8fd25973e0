"""The destinations that the settings name, ready to be delivered to."""

import ssl
from functools import partial
from io import BytesIO

from pydicom import Dataset, dcmread

from worker.errors import Code, SetupRefused
from worker.extras import require_extra
from worker.imaging.image_source import ImageSource
from worker.reporting.documents import Camera, Kind, documents_of
from worker.reporting.result import StudyResult
from worker.reporting.source_study import opened
from worker.sending.destination import Opens, Sources
from worker.sending.dicom_node import Caller, Node
from worker.sending.pacs import Pacs
from worker.sending.ups import Ups
from worker.sending.webhook import Webhook
from worker.sending.work_item import Performer, Worklist
from worker.settings import Settings

_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_SHORTEST_SECRET = 16


def destinations(settings: Settings, camera: Camera | None = None) -> list[Opens]:
    """Return the destinations that are switched on.

    Args:
        settings: what is set.
        camera: what pictures are made with; needed for ``send_pictures`` alone.

    Raises:
        SetupRefused: ``setting_invalid``; there is none, settings do not fit each other, or the extra is missing.
    """
    if (settings.send_pacs, settings.send_ups, settings.send_webhook_url) == (None, None, None):
        reason = "nothing to send to: set DLR_SEND_PACS, DLR_SEND_UPS or DLR_SEND_WEBHOOK_URL"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    require_extra("send", "`dlr send`")
    caller = Caller(settings.send_ae_title, settings.send_timeout_s, _tls(settings))
    images = ImageSource(settings.storage_root, settings.dicomweb, settings.pacs)
    sources = partial(opened, images=images, limits=settings.limits)
    found: list[Opens] = []
    if settings.send_pacs is not None:
        drawn = camera if settings.send_pictures else None
        found.append(Pacs(Node.parsed(settings.send_pacs), caller, partial(_documents, sources, drawn)))
    if settings.send_ups is not None:
        found.append(Ups(Node.parsed(settings.send_ups), caller, _worklist(settings), sources))
    if settings.send_webhook_url is not None:
        found.append(_webhook(settings))
    return found


def _documents(sources: Sources, camera: Camera | None, result: StudyResult) -> list[Dataset]:
    """Make the report and, with a camera, the pictures of the lesions that were scored."""
    drawn = camera is not None and any(lesion.scores for lesion in result.lesions)
    with sources(result) as source:
        made = documents_of(Kind.SR, result, source)
        if drawn:
            made += documents_of(Kind.SC, result, source, camera)
    return [dcmread(BytesIO(document.content)) for document in made]


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
    if settings.send_webhook_identifiers and url.scheme != "https" and url.host not in _LOCAL:
        raise SetupRefused(Code.SETTING_INVALID, "DLR_SEND_WEBHOOK_IDENTIFIERS needs a DLR_SEND_WEBHOOK_URL of https")
    secret = None if settings.send_webhook_secret is None else settings.send_webhook_secret.get_secret_value()
    if secret is not None and len(secret) < _SHORTEST_SECRET:
        raise SetupRefused(Code.SETTING_INVALID, "DLR_SEND_WEBHOOK_SECRET has fewer than 16 characters")
    ca, identifiers = settings.send_webhook_ca, settings.send_webhook_identifiers
    try:
        ssl.create_default_context(cafile=ca)
    except OSError:
        reason = "DLR_SEND_WEBHOOK_CA cannot be read, or has no PEM certificate"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return Webhook(str(url), secret, settings.send_timeout_s, ca, identifiers)


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.send_ca is None:
        if (settings.send_certificate, settings.send_key) != (None, None):
            raise SetupRefused(Code.SETTING_INVALID, "DLR_SEND_CERTIFICATE and DLR_SEND_KEY need DLR_SEND_CA")
        return None
    try:
        context = ssl.create_default_context(cafile=settings.send_ca)
        if settings.send_certificate is not None:
            context.load_cert_chain(settings.send_certificate, settings.send_key)
    except OSError:
        reason = "DLR_SEND_CA, DLR_SEND_CERTIFICATE or DLR_SEND_KEY cannot be read, or do not match"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return context
