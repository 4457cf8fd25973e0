"""Audit messages of DICOM (PS3.15, A.5), as XML. Values in, a message out; nothing here sends anything."""

import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

from db.schema.audit import Audited
from db.writes.audit import AuditEvent


class Coded(NamedTuple):
    """A coded value (PS3.16, CID 400 to 405, unless another scheme is named)."""

    code: str
    meaning: str
    scheme: str = "DCM"


class Kind(NamedTuple):
    """What an event is to an audit.

    Attributes:
        action: C, R, U, D or E: create, read, update, delete, execute.
        outcome: 0: success; 4: minor failure.
    """

    event: Coded
    action: str
    type: Coded | None = None
    outcome: str = "0"


_APPLICATION: Final = Coded("110100", "Application Activity")
_AUTHENTICATION: Final = Coded("110114", "User Authentication")
_LOGIN: Final = Coded("110122", "Login")

KINDS: Final[Mapping[Audited, Kind]] = {
    Audited.APPLICATION_STARTED: Kind(_APPLICATION, "E", Coded("110120", "Application Start")),
    Audited.APPLICATION_STOPPED: Kind(_APPLICATION, "E", Coded("110121", "Application Stop")),
    Audited.SIGNED_IN: Kind(_AUTHENTICATION, "E", _LOGIN),
    Audited.SIGN_IN_REFUSED: Kind(_AUTHENTICATION, "E", _LOGIN, "4"),
    Audited.SIGNED_OUT: Kind(_AUTHENTICATION, "E", Coded("110123", "Logout")),
    Audited.STUDY_OPENED: Kind(Coded("110103", "DICOM Instances Accessed"), "R"),
    Audited.DOCUMENT_EXPORTED: Kind(Coded("110106", "Export"), "R"),
    Audited.INSTANCES_SENT: Kind(Coded("110104", "DICOM Instances Transferred"), "R"),
    Audited.RESULT_SENT: Kind(Coded("110106", "Export"), "R"),
    Audited.WORKLIST_QUERIED: Kind(Coded("110112", "Query"), "E"),
}
"""Of each event (PS3.15, A.5.3)."""

_STUDY_UID: Final = Coded("110180", "Study Instance UID")
_OPAQUE: Final = Coded("study_id", "Study of dlr-worker", "99DLR")
_QUERIED: Final = Coded("worklist", "Worklist of dlr-worker", "99DLR")
_SENDER: Final = Coded("110153", "Source Role ID")
_RECEIVER: Final = Coded("110152", "Destination Role ID")
_IS_APPLICATION: Final = Coded("110150", "Application")
_MEDIUM: Final = Coded("110154", "Destination Media")
_URI: Final = Coded("110037", "URI")

_IP_ADDRESS: Final = "2"
_SYSTEM_OBJECT: Final = "2"
_REPORT: Final = "3"
_APPLICATION_SERVER: Final = "4"
_NOT_IN_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_SENT: Final = (Audited.INSTANCES_SENT, Audited.RESULT_SENT)
_OF_APPLICATIONS: Final = (Audited.APPLICATION_STARTED, Audited.APPLICATION_STOPPED)


class Source(NamedTuple):
    """Who reports.

    Attributes:
        id: of this installation, such as a host's name.
        site: of the enterprise, where it has several.
    """

    id: str
    site: str | None = None


def audit_message(event: AuditEvent, source: Source) -> str:
    """Return the message of an event, in the schema of PS3.15, A.5.1."""
    kind = KINDS[event.event]
    root = Element("AuditMessage")
    at = event.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    identification = SubElement(
        root,
        "EventIdentification",
        EventActionCode=kind.action,
        EventDateTime=at,
        EventOutcomeIndicator=kind.outcome,
    )
    _code(identification, "EventID", kind.event)
    if kind.type is not None:
        _code(identification, "EventTypeCode", kind.type)
    _participants(root, event, source)
    _reported_by(root, source)
    _objects(root, event)
    return tostring(root, encoding="unicode")


def _participants(root: Element, event: AuditEvent, source: Source) -> None:
    if event.event in _OF_APPLICATIONS:
        _participant(root, event.actor, _IS_APPLICATION, is_requestor=False)
        return
    if event.event in _SENT:
        _participant(root, source.id, _SENDER, is_requestor=True)
        is_dicom = event.event is Audited.INSTANCES_SENT
        receives, medium = (_RECEIVER, None) if is_dicom else (_MEDIUM, _URI)
        _participant(root, event.detail or event.actor, receives, is_requestor=False, medium=medium)
        return
    is_query = event.event is Audited.WORKLIST_QUERIED
    _participant(root, event.actor, _SENDER if is_query else None, is_requestor=True, address=event.address)
    if is_query:
        _participant(root, source.id, _RECEIVER, is_requestor=False)
    if event.event is Audited.DOCUMENT_EXPORTED:
        _participant(root, source.id, _SENDER, is_requestor=False)
        _participant(root, f"document {event.detail}", _MEDIUM, is_requestor=False, medium=_URI)


def _participant(
    root: Element,
    who: str,
    role: Coded | None,
    *,
    is_requestor: bool,
    address: str | None = None,
    medium: Coded | None = None,
) -> None:
    participant = SubElement(root, "ActiveParticipant", UserID=_text(who), UserIsRequestor=str(is_requestor).lower())
    if address is not None:
        participant.set("NetworkAccessPointID", _text(address))
        participant.set("NetworkAccessPointTypeCode", _IP_ADDRESS)
    if role is not None:
        _code(participant, "RoleIDCode", role)
    if medium is not None:
        _code(SubElement(participant, "MediaIdentifier"), "MediaType", medium)


def _reported_by(root: Element, source: Source) -> None:
    reported_by = SubElement(root, "AuditSourceIdentification", AuditSourceID=_text(source.id))
    if source.site is not None:
        reported_by.set("AuditEnterpriseSiteID", _text(source.site))
    SubElement(reported_by, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})


def _objects(root: Element, event: AuditEvent) -> None:
    """Name the study and what was asked. The patient is not on record, and so in no message."""
    if event.study_id is not None:
        known = event.study_instance_uid
        study = _object(root, known or str(event.study_id), _OPAQUE if known is None else _STUDY_UID)
        SubElement(study, "ParticipantObjectName").text = str(event.study_id)
        if event.accession_number:
            described = SubElement(study, "ParticipantObjectDescription")
            SubElement(described, "Accession", Number=_text(event.accession_number))
    if event.event is Audited.WORKLIST_QUERIED:
        asked = SubElement(_object(root, "worklist", _QUERIED), "ParticipantObjectQuery")
        asked.text = b64encode((event.detail or "").encode()).decode()


def _object(root: Element, identifier: str, kind: Coded) -> Element:
    found = SubElement(
        root,
        "ParticipantObjectIdentification",
        ParticipantObjectID=_text(identifier),
        ParticipantObjectTypeCode=_SYSTEM_OBJECT,
        ParticipantObjectTypeCodeRole=_REPORT,
    )
    _code(found, "ParticipantObjectIDTypeCode", kind)
    return found


def _code(parent: Element, name: str, value: Coded) -> None:
    attributes = {"csd-code": value.code, "codeSystemName": value.scheme, "originalText": value.meaning}
    SubElement(parent, name, attributes)


def _text(value: str) -> str:
    """Return text without what XML 1.0 has no character for."""
    return _NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", value)
