"""A FHIR R4 server: a result as one transaction, whose resources it creates or updates on conditions."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from worker.errors import Code, DlrError, StudyRefused, Unavailable
from worker.reporting.fhir_transaction import fhir_transaction
from worker.sending.destination import Deferred, Deliver, Parcel, Sources
from worker.sending.http_server import Answer, HttpServer, fault_of

if TYPE_CHECKING:
    from requests import Session

_JSON: Final = "application/fhir+json"
_CODE: Final = re.compile(r"[a-z][a-z-]{0,30}")
"""Of an issue (R4, value set issue-type): what an OperationOutcome says beside it may name a patient."""


@dataclass(frozen=True, slots=True)
class FhirServer:
    """A server.

    Attributes:
        patient_system: the URI of the hospital's patient identifiers.
    """

    name: str
    server: HttpServer
    sources: Sources
    patient_system: str

    @property
    def where(self) -> str:
        """Its base URL."""
        return self.server.url

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Keep one connection for several results, signed in."""
        with self.server.session() as session:
            yield lambda parcel: self._send(session, parcel)

    def test(self) -> str:
        """Sign in, and ask for the capability statement."""
        with self.server.session() as session:
            answer = self.server.ask(session, "GET", "/metadata", headers={"Accept": _JSON})
        if answer.status != HTTPStatus.OK:
            raise fault_of(answer)
        statement = _resource(answer, "CapabilityStatement")
        modes = [one.get("interaction", []) for one in statement.get("rest", []) if isinstance(one, dict)]
        named = {one.get("code") for mode in modes for one in mode if isinstance(one, dict)}
        said = "takes transactions" if "transaction" in named else "does not say that it takes transactions"
        return f"FHIR {str(statement.get('fhirVersion'))[:12]}, {said}"

    def _send(self, session: "Session", parcel: Parcel) -> None:
        with self.sources(parcel.result) as source:
            bundle = fhir_transaction(parcel.result, source, self.patient_system)
        headers = {"Content-Type": _JSON, "Accept": _JSON, "Prefer": "return=minimal"}
        check_transaction(self.server.ask(session, "POST", "", data=bundle.encode(), headers=headers))


def check_transaction(answer: Answer) -> None:
    """Read an answer to a transaction: all of it is done, or nothing.

    Raises:
        StudyRefused: ``destination_refused``; such as 412: several resources there have one of the identifiers.
        Unavailable: ``destination_unavailable``; also where what answers is no FHIR server.
        Deferred: 409: another change of the same resources came in between.
    """
    if answer.status == HTTPStatus.OK:
        entries = _resource(answer, "Bundle").get("entry", [])
        statuses = [str(one.get("response", {}).get("status", "")) for one in entries if isinstance(one, dict)]
        if not all(status.startswith(("2", "304")) for status in statuses):
            raise StudyRefused(Code.DESTINATION_REFUSED, "the server answers that a part of the transaction failed")
        return
    raise _fault(answer)


def _fault(answer: Answer) -> DlrError:
    said = f"the server answers HTTP {answer.status}{_issues(answer)}"
    if answer.status == HTTPStatus.CONFLICT:
        return Deferred(said)
    if answer.status == HTTPStatus.PRECONDITION_FAILED:
        return StudyRefused(Code.DESTINATION_REFUSED, f"{said}: several resources there have one identifier")
    fault = fault_of(answer)
    return StudyRefused(Code.DESTINATION_REFUSED, said) if isinstance(fault, StudyRefused) else fault


def _issues(answer: Answer) -> str:
    """Return the codes of an OperationOutcome's issues."""
    try:
        issues = json.loads(answer.body).get("issue", [])
        codes = dict.fromkeys(str(issue.get("code")) for issue in issues)
    except (ValueError, AttributeError, TypeError, RecursionError):
        return ""
    known = [code for code in codes if _CODE.fullmatch(code)]
    return f" ({', '.join(known[:4])})" if known else ""


def _resource(answer: Answer, kind: str) -> dict[str, Any]:
    try:
        content = json.loads(answer.body)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or content.get("resourceType") != kind:
        reason = f"the answer is no FHIR {kind}: is the URL the base of the FHIR service?"
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, reason)
    return content
