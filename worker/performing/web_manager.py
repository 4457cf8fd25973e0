"""A manager that speaks DICOMweb: the Worklist Service, UPS-RS, as its user agent (PS3.18, 11).

A server says by HTTP only that it will not; why, the item's state tells, and the header Warning (11.6.3, 11.7.3).
Two things are said in the standard's form first, and where that is refused in dcm4chee's: the Transaction UID of an
update in its payload, and who asks for a state at the end of the path.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from pydicom import Dataset

from worker.errors import Code, StudyRefused, Unavailable
from worker.performing.dimse_manager import MOST_READ
from worker.performing.manager import Answer, StepState, Worklist
from worker.performing.scheduled import Ours
from worker.sending import http_server
from worker.sending.http_server import HttpServer, fault_of

if TYPE_CHECKING:
    from requests import Session

PAGE: Final = 200
"""Items of one answer, of which no server that limits them gives fewer."""

_JSON: Final = "application/dicom+json"
_OF_THE_ITEM: Final = (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.GONE)
_NO_ROUTE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)
_NONE: Final = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_TRANSACTION: Final = "transaction uid"
"""What a Warning names where the Transaction UID is missing or incorrect (PS3.18, 11.6.3.2)."""


@dataclass(frozen=True, slots=True)
class WebManager:
    """The Worklist Service of a DICOMweb server.

    Attributes:
        server: its ``url`` is that of the service, without the ``/workitems`` of its resources.
        ae_title: ours.
    """

    server: HttpServer
    ae_title: str

    @property
    def where(self) -> str:
        """Its address."""
        return self.server.url

    def test(self) -> str:
        """Ask for one work item."""
        with self.opened():
            return "the search for work items is answered"

    @contextmanager
    def opened(self) -> Iterator[Worklist]:
        """Keep one connection for several requests.

        A search comes first: only where that is answered, what is not found is not there.
        """
        with self.server.session() as session:
            worklist = _WebWorklist(self.server, session, self.ae_title)
            worklist.search({"limit": 1})
            yield worklist


@dataclass(frozen=True, slots=True)
class _WebWorklist:
    server: HttpServer
    session: "Session"
    ae_title: str

    def scheduled(self, ours: Ours) -> Sequence[Dataset]:
        found: list[Dataset] = []
        while len(found) < MOST_READ:
            page = self.search(
                {"ProcedureStepState": "SCHEDULED", **ours.parameters(), "limit": PAGE, "offset": len(found)}
            )
            found += page
            if len(page) < PAGE:
                break
        return found

    def change(self, uid: str, transaction_uid: str, state: StepState) -> Answer:
        wanted = Dataset()
        wanted.TransactionUID, wanted.ProcedureStepState = transaction_uid, state.value
        path = f"{_path(uid)}/state"
        answer = self._send("PUT", path, wanted)
        if answer.status in _NO_ROUTE:
            answer = self._send("PUT", f"{path}/{quote(self.ae_title, safe='')}", wanted)
        return self._read(uid, answer, state)

    def update(self, uid: str, transaction_uid: str, said: Dataset) -> Answer:
        path = f"{_path(uid)}?transaction-uid={transaction_uid}"
        answer = self._send("POST", path, said)
        if answer.status in _OF_THE_ITEM and _is_of_the_transaction(answer):
            said.TransactionUID = transaction_uid
            again = self._send("POST", path, said)
            answer = again if _is_done(again) else answer
        return self._read(uid, answer)

    def search(self, parameters: dict[str, Any]) -> list[Dataset]:
        """Return the work items that match, as far as the server does."""
        answer = self.server.ask(self.session, "GET", "/workitems", params=parameters, headers={"Accept": _JSON})
        return [] if answer.status == HTTPStatus.NO_CONTENT else _items_of(answer)

    def _state_of(self, uid: str) -> str | None:
        """Return an item's Procedure Step State; ``None``: there is no such item."""
        answer = self.server.ask(self.session, "GET", _path(uid), headers={"Accept": _JSON})
        if answer.status in _NONE:
            return None
        return next((str(item.get("ProcedureStepState", "")) for item in _items_of(answer)), None)

    def _send(self, method: str, path: str, said: Dataset) -> http_server.Answer:
        headers = {"Accept": _JSON, "Content-Type": _JSON}
        body = json.dumps([said.to_json_dict()]).encode()
        return self.server.ask(self.session, method, path, data=body, headers=headers)

    def _read(self, uid: str, answer: http_server.Answer, wanted: StepState | None = None) -> Answer:
        """Return what an answer means, by the state that the item is in."""
        if _is_done(answer):
            return Answer.DONE
        if answer.status not in (*_OF_THE_ITEM, *_NO_ROUTE):
            raise fault_of(answer)
        match self._state_of(uid):
            case None:
                return Answer.UNKNOWN
            case "COMPLETED" | "CANCELED" as ended:
                return Answer.DONE if wanted is not None and ended == wanted.value else Answer.ENDED
            case "SCHEDULED" if wanted is not StepState.IN_PROGRESS:
                return Answer.NOT_IN_PROGRESS
            case "IN PROGRESS" if wanted is StepState.IN_PROGRESS:
                return Answer.IN_PROGRESS
            case "IN PROGRESS" if _is_of_the_transaction(answer):
                return Answer.NOT_OURS
        raise StudyRefused(Code.DESTINATION_REFUSED, f"the server answers HTTP {answer.status}")


def _path(uid: str) -> str:
    return f"/workitems/{quote(uid, safe='')}"


def _is_done(answer: http_server.Answer) -> bool:
    return HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES


def _is_of_the_transaction(answer: http_server.Answer) -> bool:
    return _TRANSACTION in answer.headers.get("Warning", "").lower()


def _items_of(answer: http_server.Answer) -> list[Dataset]:
    """Read work items in the DICOM JSON model (PS3.18, annex F); what is none of them is left out."""
    if not _is_done(answer):
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, f"the server answers HTTP {answer.status}")
    try:
        told = json.loads(answer.body)
    except ValueError:
        raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the server answers no DICOM JSON") from None
    items = [_item_of(one) for one in (told if isinstance(told, list) else [told])]
    return [item for item in items if item is not None]


def _item_of(told: Any) -> Dataset | None:
    try:
        return Dataset.from_json(told)
    except Exception:  # noqa: BLE001  whatever JSON of another model does to who reads it
        return None
