"""``GET /v1/studies/{study_id}/documents/{kind}``: what `dlr export` writes. A document names the patient."""

from collections.abc import Sequence
from enum import StrEnum
from secrets import token_hex
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from worker.api.accesses import note_access
from worker.api.openapi import problems
from worker.api.service import Service, ServiceDep, may
from worker.api.tokens import Scope, Token
from worker.errors import Code, SetupRefused
from worker.imaging.image_source import ImageSource
from worker.reporting.documents import Camera, Document, Kind, documents_of
from worker.reporting.result import StudyResult, read_results
from worker.reporting.source_study import opened

router = APIRouter(tags=["documents"])

DICOM: Final = "application/dicom"


class DocumentKind(StrEnum):
    """Which document of a result."""

    SR = "sr"
    FHIR = "fhir"
    HL7 = "hl7"
    PICTURES = "pictures"


_KINDS: Final = {
    DocumentKind.SR: (Kind.SR, DICOM),
    DocumentKind.FHIR: (Kind.FHIR, "application/fhir+json"),
    DocumentKind.HL7: (Kind.HL7, "application/hl7-v2"),
    DocumentKind.PICTURES: (Kind.SC, f'multipart/related; type="{DICOM}"'),
}
"""As the rest of the software calls it, and the media type."""

_DESCRIBED: Final = {
    "description": "The document",
    "content": {media: {"schema": {"type": "string", "format": "binary"}} for _, media in _KINDS.values()},
}


@router.get(
    "/v1/studies/{study_id}/documents/{kind}",
    summary="Get a document",
    response_class=Response,
    responses={200: _DESCRIBED, **problems(404, 409)},
)
def document(
    request: Request,
    service: ServiceDep,
    caller: Annotated[Token, may(Scope.DOCUMENTS_READ)],
    study_id: UUID,
    kind: DocumentKind,
) -> Response:
    """Make a document of a study's result, as `dlr export` does: a recommendation, never a diagnosis.

    Patient and study are those of its images' headers, which must still be there. The pictures are a multipart/related
    of a Secondary Capture for each lesion that was scored.
    """
    with service.writing() as session:
        session.connection(execution_options={"postgresql_readonly": True})
        [result] = read_results(session, study_id)
    made, media_type = _KINDS[kind]
    documents = _documents(service, made, result)
    note_access(service, request, caller, study_id, kind)
    if kind is DocumentKind.PICTURES:
        return _related(documents)
    return Response(documents[0].content, media_type=media_type)


def _documents(service: Service, kind: Kind, result: StudyResult) -> list[Document]:
    settings = service.settings
    images = ImageSource(settings.storage_root, settings.dicomweb)
    with opened(result, images, settings.limits) as source:
        return documents_of(kind, result, source, _camera(service) if kind is Kind.SC else None)


def _camera(service: Service) -> Camera:
    try:
        from worker.reporting.frames import frame_reader

        return Camera(frame_reader(service.decoders()))
    except ImportError:
        reason = "pictures need the extra: pip install 'dlr-worker[worker]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None


def _related(documents: Sequence[Document]) -> Response:
    boundary = token_hex(16)
    parts = [
        f"--{boundary}\r\nContent-Type: {DICOM}\r\n\r\n".encode() + document.content + b"\r\n" for document in documents
    ]
    body = b"".join([*parts, f"--{boundary}--\r\n".encode()])
    media_type = f'multipart/related; type="{DICOM}"; boundary={boundary}'
    return Response(body, headers={"Content-Type": media_type})
