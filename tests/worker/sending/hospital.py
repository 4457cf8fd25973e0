"""The other side of what is sent, for real: a Storage SCP, a UPS manager and an HTTP receiver that can be told how to
behave, be stopped, and be started again at the same address."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import (
    Comprehensive3DSRStorage,
    SecondaryCaptureImageStorage,
    UnifiedProcedureStepPush,
    Verification,
)
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.schema.vocabulary import DeliveryState
from tests.db.samples import ended, refused, scored, study
from tests.db.samples import lesion as marked
from tests.worker.reporting.samples import STUDY_UID, write_image

SUCCESS, OUT_OF_RESOURCES, REFUSED = 0x0000, 0xA700, 0xA900


@dataclass
class Archive:
    """A PACS and worklist manager: keeps what it is given, by SOP Instance UID.

    Attributes:
        answer: gives the status for an instance; it is kept when that is a success or a warning.
    """

    port: int
    ae_title: str = "PACS"
    answer: Callable[[str], int] = lambda _uid: SUCCESS
    sop_classes: tuple[str, ...] = (Comprehensive3DSRStorage, SecondaryCaptureImageStorage, UnifiedProcedureStepPush)
    tls: Any = None
    kept: dict[str, Dataset] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    associations: list[str] = field(default_factory=list)
    callers: tuple[str, ...] = ()
    _server: Any = None

    def start(self) -> None:
        entity = AE(ae_title=self.ae_title)
        entity.require_called_aet = True
        entity.require_calling_aet = list(self.callers)
        for sop_class in (Verification, *self.sop_classes):
            entity.add_supported_context(sop_class)
        handlers: list[Any] = [
            (evt.EVT_C_STORE, self._store),
            (evt.EVT_N_CREATE, self._create),
            (evt.EVT_N_ACTION, self._cancel),
            (evt.EVT_ACCEPTED, lambda event: self.associations.append(event.assoc.requestor.ae_title)),
        ]
        place = ("127.0.0.1", self.port)
        self._server = entity.start_server(place, block=False, evt_handlers=handlers, ssl_context=self.tls)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _store(self, event: Any) -> int:
        uid = str(event.request.AffectedSOPInstanceUID)
        return self._keep(uid, event.dataset)

    def _create(self, event: Any) -> tuple[int, Dataset | None]:
        uid = str(event.request.AffectedSOPInstanceUID)
        if uid in self.kept:
            self.asked.append(uid)
            return 0x0111, None
        item = event.attribute_list
        return self._keep(uid, item), item

    def _cancel(self, event: Any) -> tuple[int, Dataset | None]:
        """Cancel a work item that is scheduled; 0xC307 for one that there is not (PS3.4, table CC.2.2-3)."""
        assert event.action_type == 2
        uid = str(event.request.RequestedSOPInstanceUID)
        if uid not in self.kept:
            return 0xC307, None
        self.kept[uid].ProcedureStepState = "CANCELED"
        return SUCCESS, None

    def _keep(self, uid: str, dataset: Dataset) -> int:
        self.asked.append(uid)
        status = self.answer(uid)
        if status == SUCCESS or status >> 12 == 0xB:
            self.kept[uid] = dataset
        return status


@contextmanager
def running(archive: Archive) -> Iterator[Archive]:
    archive.start()
    try:
        yield archive
    finally:
        archive.stop()


@dataclass
class Receiver:
    """Hears webhooks, and answers with a status that a test may change."""

    status: int = 204
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(body) for _, body in self.heard]


@contextmanager
def receiving(receiver: Receiver, port: int = 0, tls: Any = None) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.heard.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(receiver.status)
            self.send_header("Location", f"{receiver.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    receiver.url = f"http{'s' if tls else ''}://localhost:{server.server_address[1]}/hook"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def end_study(
    sessions: sessionmaker[Session],
    root: Path,
    number: int = 1,
    *,
    fails: bool = False,
    images: dict[str, Any] | None = None,
) -> UUID:
    """End a study of one image, with one lesion on it."""
    uid, path = f"{STUDY_UID[:50]}.{number}", root / f"{number}.dcm"
    root.mkdir(exist_ok=True)
    sop = write_image(path, study_instance_uid=uid)
    job = {"images": images or {"kind": "files", "paths": [path.name]}}
    lesions = (marked("L1", sop_instance_uid=sop, frame=1),)
    with sessions.begin() as session:
        record = study(uid, str(number), lesions=lesions, job=job)
        return ended(session, record, refused() if fails else scored()).study_id


def deliveries(sessions: sessionmaker[Session]) -> list[dict[str, Any]]:
    """Every delivery, as it stands in the database."""
    with sessions() as session:
        rows = [
            dict(row)
            for table in ("delivery", "named_delivery")
            for row in session.execute(text(f"SELECT * FROM {table}")).mappings()
        ]
    return sorted(rows, key=lambda row: row["id"])


def settle(sessions: sessionmaker[Session]) -> None:
    """Let everything that waits be due now."""
    with sessions.begin() as session:
        for table in ("delivery", "named_delivery"):
            session.execute(text(f"UPDATE {table} SET next_at = now() WHERE state = 'waiting'"))


def unwritten(sessions: sessionmaker[Session]) -> None:
    """Let everything that was sent be due again, as if that had not been written down."""
    with sessions.begin() as session:
        for table in ("delivery", "named_delivery"):
            session.execute(text(f"UPDATE {table} SET state = 'waiting', sent_at = NULL, next_at = now()"))


WAITING, SENT, FAILED = (state.value for state in (DeliveryState.WAITING, DeliveryState.SENT, DeliveryState.FAILED))
