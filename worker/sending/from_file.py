"""A route of each entry in the file of destinations, ready to be delivered to."""

import ssl
from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from zoneinfo import ZoneInfo

from worker.errors import Code, SetupRefused
from worker.reporting.documents import Kind
from worker.reporting.hl7 import Addressing
from worker.sending.acknowledgement import Verdict
from worker.sending.commitment import Commitment
from worker.sending.destination import Documents, Opens, Route, Sources
from worker.sending.destinations_file import (
    Dimse,
    Entry,
    Fhir,
    FolderOnDisk,
    MllpReceiver,
    OAuth,
    StowServer,
    UpsManager,
    WebhookReceiver,
)
from worker.sending.dicom_node import Caller, Node
from worker.sending.fhir_server import FhirServer
from worker.sending.folder import Folder
from worker.sending.http_server import ClientCredentials, HttpServer
from worker.sending.mllp import Mllp
from worker.sending.pacs import Pacs
from worker.sending.parts import LOCAL, checked_ca, checked_secret, secret_in, tls_of
from worker.sending.rules import Rules
from worker.sending.stow import Stow
from worker.sending.terms import QuietHours, Terms
from worker.sending.ups import Ups
from worker.sending.webhook import Webhook
from worker.sending.work_item import Performer, Worklist

PICTURES: Final = "pictures"
_KINDS: Final[Mapping[str, Kind]] = {
    "sr": Kind.SR,
    PICTURES: Kind.SC,
    "hl7": Kind.HL7,
    "fhir": Kind.FHIR,
    "pdf": Kind.PDF,
}


@dataclass(frozen=True, slots=True)
class Workshop:
    """What all destinations are made with.

    Attributes:
        ae_title: ours, where an entry has none.
        timeout_s: the longest wait for an answer where an entry has none, in seconds.
        sources: the studies' images.
        documents: makes documents of results.
    """

    ae_title: str
    timeout_s: float
    sources: Sources
    documents: Documents


def documents_named(entry: Entry) -> tuple[str, ...]:
    """Return the documents that a destination gets, in the file's words; none where it gets something else."""
    return tuple(getattr(entry, "documents", ()))


def kinds_of(words: Iterable[str]) -> tuple[Kind, ...]:
    """Return the kinds of documents that are so called in the file, each once."""
    return tuple(dict.fromkeys(_KINDS[word] for word in words))


def route_of(name: str, entry: Entry, workshop: Workshop) -> Route:
    """Make the route of an entry.

    Raises:
        SetupRefused: ``destinations_invalid``; a file that it names cannot be used, or two of its values do not fit.
    """
    try:
        destination = _MAKE[type(entry)](name, entry, workshop)
    except SetupRefused as refused:
        raise SetupRefused(Code.DESTINATIONS_INVALID, f"destination.{name}: {refused.reason}") from None
    return Route(destination, terms_of(entry), entry.kind, documents_named(entry))


def terms_of(entry: Entry) -> Terms:
    """Return the terms that an entry states."""
    results, retry, quiet = entry.results, entry.retry, entry.quiet
    return Terms(
        rules=Rules(
            outcomes=results.outcomes,
            tiers=results.tiers,
            priorities=[priority.value for priority in results.priorities],
            sites=results.sites,
            scanners=results.scanners,
            models=results.models,
            demo=results.demo,
        ),
        by_priority=retry.order == "priority",
        first_wait_s=retry.first_wait_s,
        longest_wait_s=retry.longest_wait_s,
        most_deferrals=retry.most_deferrals,
        quiet=None if quiet is None else QuietHours(quiet.start, quiet.end, ZoneInfo(quiet.zone)),
        commitment_wait_s=entry.commitment_wait_s if isinstance(entry, Dimse) and entry.commitment else None,
    )


def _caller(entry: Dimse | UpsManager, workshop: Workshop) -> Caller:
    tls = tls_of(("ca", "certificate", "key"), entry.ca, entry.certificate, entry.key)
    return Caller(entry.ae_title or workshop.ae_title, entry.timeout_s or workshop.timeout_s, tls)


def _dimse(name: str, entry: Dimse, workshop: Workshop) -> Opens:
    kinds = kinds_of(entry.documents)
    node, caller = Node.parsed(entry.address), _caller(entry, workshop)
    asks = Commitment(node, caller, entry.commitment_wait_s, entry.commitment_hold_s) if entry.commitment else None
    return Pacs(node, caller, workshop.documents, kinds, name, asks)


def _ups(name: str, entry: UpsManager, workshop: Workshop) -> Opens:
    performer = None if entry.performer is None else Performer.parsed(entry.performer)
    worklist = Worklist(entry.label, entry.retrieve_ae_title, entry.sr, performer)
    return Ups(Node.parsed(entry.address), _caller(entry, workshop), worklist, workshop.sources, name)


def _webhook(name: str, entry: WebhookReceiver, workshop: Workshop) -> Opens:
    if entry.url.username or entry.url.password:
        raise SetupRefused(Code.SETTING_INVALID, "url must not contain a user or a password")
    if entry.identifiers and entry.url.scheme != "https" and entry.url.host not in LOCAL:
        raise SetupRefused(Code.SETTING_INVALID, "identifiers needs a url of https")
    secret = checked_secret("secret_file", secret_in("secret_file", entry.secret_file))
    timeout_s = entry.timeout_s or workshop.timeout_s
    return Webhook(str(entry.url), secret, timeout_s, checked_ca("ca", entry.ca), entry.identifiers, name)


def _stow(name: str, entry: StowServer, workshop: Workshop) -> Opens:
    return Stow(name, http_server(entry, workshop), workshop.documents, kinds_of(entry.documents))


def _fhir(name: str, entry: Fhir, workshop: Workshop) -> Opens:
    return FhirServer(name, http_server(entry, workshop), workshop.sources, entry.patient_system)


def http_server(entry: StowServer | Fhir, workshop: Workshop) -> HttpServer:
    """Return the server of an entry, with what signs in there: nothing, a password, a token, or OAuth.

    Raises:
        SetupRefused: ``setting_invalid``.
    """
    url = entry.url
    if url.username or url.password:
        raise SetupRefused(Code.SETTING_INVALID, "url must not contain a user or a password")
    if url.scheme != "https" and url.host not in LOCAL and not entry.plain_http:
        reason = "url is not https, and what is sent names a patient: plain_http = true sends it unencrypted"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    ways = [entry.user or entry.password_file, entry.token_file, entry.oauth]
    if sum(way is not None for way in ways) > 1 or (entry.user is None) != (entry.password_file is None):
        reason = "give a user and a password_file, or a token_file, or oauth, or none of them"
        raise SetupRefused(Code.SETTING_INVALID, reason)
    headers = {}
    if entry.user is not None:
        pair = f"{entry.user}:{secret_in('password_file', entry.password_file)}".encode()
        headers["Authorization"] = f"Basic {b64encode(pair).decode()}"
    if entry.token_file is not None:
        headers["Authorization"] = f"Bearer {secret_in('token_file', entry.token_file)}"
    timeout_s = entry.timeout_s or workshop.timeout_s
    ca = checked_ca("ca", entry.ca)
    return HttpServer(str(url).rstrip("/"), timeout_s, ca, headers, _credentials(entry.oauth))


def _credentials(oauth: OAuth | None) -> ClientCredentials | None:
    if oauth is None:
        return None
    if oauth.token_url.scheme != "https" and oauth.token_url.host not in LOCAL:
        raise SetupRefused(Code.SETTING_INVALID, "oauth.token_url has to be https: a secret goes there")
    secret = secret_in("oauth.client_secret_file", oauth.client_secret_file) or ""
    return ClientCredentials(str(oauth.token_url), oauth.client_id, secret, oauth.scope)


def _mllp(name: str, entry: MllpReceiver, workshop: Workshop) -> Opens:
    if not entry.tls and (entry.ca, entry.certificate, entry.key) != (None, None, None):
        raise SetupRefused(Code.SETTING_INVALID, "ca, certificate and key need tls = true")
    try:
        tls = ssl.create_default_context(cafile=entry.ca) if entry.tls else None
        if tls is not None and entry.certificate is not None:
            tls.load_cert_chain(entry.certificate, entry.key)
    except OSError:
        reason = "ca, certificate or key cannot be read, or do not match"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    addressing = Addressing(
        entry.sending_facility,
        entry.receiving_application,
        entry.receiving_facility,
        entry.processing_id,
        entry.placer_is_accession,
    )
    by_code = {code: _ON_NACK[word] for code, word in entry.on_nack}
    timeout_s = entry.timeout_s or workshop.timeout_s
    return Mllp(name, entry.host, entry.port, timeout_s, workshop.sources, addressing, tls, by_code)


_ON_NACK: Final = {"retry": Verdict.LATER, "fail": Verdict.REFUSED}


def _folder(name: str, entry: FolderOnDisk, workshop: Workshop) -> Opens:
    return Folder(name, entry.path, workshop.documents, kinds_of(entry.documents))


_MAKE: Final[Mapping[type, Callable[[str, Any, Workshop], Opens]]] = {
    Dimse: _dimse,
    StowServer: _stow,
    Fhir: _fhir,
    MllpReceiver: _mllp,
    UpsManager: _ups,
    WebhookReceiver: _webhook,
    FolderOnDisk: _folder,
}
