"""A UPS manager for tests: pynetdicom's SCP with the state machine and the final states of PS3.4, annex CC."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydicom import Dataset
from pydicom.uid import generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import UnifiedProcedureStepPull, UnifiedProcedureStepPush, Verification

STATION = ("DLR1", "99HOSPITAL", "Breast ultrasound")
WORKITEM = ("110004", "DCM", "Computer Aided Diagnosis")

# Final State codes P and X of table CC.2.5-3.
COMPLETED = ("PerformedStationNameCodeSequence", "PerformedProcedureStepStartDateTime", "PerformedWorkitemCodeSequence",
             "PerformedProcedureStepEndDateTime")  # fmt: skip
CANCELED = ("ProcedureStepCancellationDateTime", "ProcedureStepDiscontinuationReasonCodeSequence")


def coded(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code


def reference(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def work_item(
    studies: tuple[str, ...] = ("1.2.3",), accession: str | None = None, station: Any = STATION, **changes: Any
) -> Dataset:
    """A step that is scheduled and ready."""
    item = Dataset()
    item.SOPClassUID, item.SOPInstanceUID = UnifiedProcedureStepPush, generate_uid()
    item.ProcedureStepState, item.InputReadinessState = "SCHEDULED", "READY"
    item.ScheduledProcedureStepPriority = "MEDIUM"
    item.ScheduledStationNameCodeSequence = [] if station is None else [coded(*station)]
    item.ScheduledStationClassCodeSequence = []
    item.ScheduledWorkitemCodeSequence = [coded(*WORKITEM)]
    item.InputInformationSequence = [reference(TypeOfInstances="DICOM", StudyInstanceUID=uid) for uid in studies]
    item.ReferencedRequestSequence = [] if accession is None else [reference(AccessionNumber=accession)]
    for keyword, value in changes.items():
        setattr(item, keyword, value)
    return item


@dataclass
class UpsManager:
    """Keeps work items, by SOP Instance UID.

    Attributes:
        before_answer: is called with the name of a service and an item's UID once it is done, before it is answered.
        matches: whether it matches the codes that it is asked for.
        times: how often it gives one item.
        refuses: statuses to answer instead, by state that is asked for.
    """

    port: int
    ae_title: str = "RIS"
    before_answer: Callable[[str, str], None] = lambda _service, _uid: None
    matches: bool = True
    times: int = 1
    refuses: dict[str, int] = field(default_factory=dict)
    items: dict[str, Dataset] = field(default_factory=dict)
    transactions: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, str]] = field(default_factory=list)
    claims: list[tuple[str, str]] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _server: Any = None

    def add(self, item: Dataset) -> str:
        uid = str(item.SOPInstanceUID)
        self.items[uid] = item
        return uid

    def state(self, uid: str) -> str:
        return str(self.items[uid].ProcedureStepState)

    def start(self) -> None:
        entity = AE(ae_title=self.ae_title)
        entity.require_called_aet = True
        for sop_class in (Verification, UnifiedProcedureStepPull):
            entity.add_supported_context(sop_class)
        handlers: list[Any] = [
            (evt.EVT_C_FIND, self._find),
            (evt.EVT_N_ACTION, self._change),
            (evt.EVT_N_SET, self._set),
        ]
        self._server = entity.start_server(("127.0.0.1", self.port), block=False, evt_handlers=handlers)

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server = None

    def _find(self, event: Any) -> Iterator[tuple[int, Dataset | None]]:
        asked = event.identifier
        for item in list(self.items.values()):
            same_state = item.ProcedureStepState == asked.ProcedureStepState
            if same_state and (not self.matches or self._has_codes(item, asked)):
                yield from [(0xFF00, item)] * self.times
        yield 0x0000, None

    @staticmethod
    def _has_codes(item: Dataset, asked: Dataset) -> bool:
        for keyword in ("ScheduledStationNameCodeSequence", "ScheduledWorkitemCodeSequence"):
            wanted = asked[keyword].value[0].CodeValue
            if wanted and wanted not in {code.CodeValue for code in item[keyword].value}:
                return False
        return True

    def _change(self, event: Any) -> tuple[int, Dataset | None]:
        assert event.action_type == 1
        assert event.request.RequestedSOPClassUID == UnifiedProcedureStepPush
        uid, asked = str(event.request.RequestedSOPInstanceUID), event.action_information
        with self._lock:
            status = self.changed(uid, str(asked.ProcedureStepState), str(asked.TransactionUID))
        self.before_answer(str(asked.ProcedureStepState), uid)
        return status, None

    def changed(self, uid: str, wanted: str, transaction: str) -> int:
        """Ask for another state (table CC.1.1-2)."""
        item = self.items.get(uid)
        if item is None:
            return 0xC307
        if wanted in self.refuses:
            return self.refuses[wanted]
        state = item.ProcedureStepState
        if wanted == "IN PROGRESS":
            self.claims.append((uid, transaction))
            if state != "SCHEDULED":
                return 0xC302 if state == "IN PROGRESS" else 0xC300
            self.transactions[uid] = transaction
        else:
            if state == "SCHEDULED":
                return 0xC310
            if state in ("COMPLETED", "CANCELED"):
                return 0xC300 if state != wanted else 0xB306 if wanted == "COMPLETED" else 0xB304
            if transaction != self.transactions[uid]:
                return 0xC301
            if not self._may_end(item, wanted):
                return 0xC304
        item.ProcedureStepState = wanted
        return 0x0000

    @staticmethod
    def _may_end(item: Dataset, wanted: str) -> bool:
        whole, keywords = (
            ("UnifiedProcedureStepPerformedProcedureSequence", COMPLETED)
            if wanted == "COMPLETED"
            else ("ProcedureStepProgressInformationSequence", CANCELED)
        )
        part = item.get(whole)
        return bool(part) and all(part[0].get(keyword) for keyword in keywords)

    def _set(self, event: Any) -> tuple[int, Dataset | None]:
        assert event.request.RequestedSOPClassUID == UnifiedProcedureStepPush
        uid, said = str(event.request.RequestedSOPInstanceUID), event.modification_list
        with self._lock:
            status = self.was_set(uid, said)
        self.before_answer("N-SET", uid)
        return status, None

    def was_set(self, uid: str, said: Dataset) -> int:
        """Say something of an item (CC.2.6)."""
        item = self.items.get(uid)
        if item is None:
            return 0xC307
        if item.ProcedureStepState != "IN PROGRESS":
            return 0xC310 if item.ProcedureStepState == "SCHEDULED" else 0xC300
        if said.get("TransactionUID") != self.transactions[uid]:
            return 0xC301
        del said.TransactionUID
        item.update(said)
        self.told.append((uid, str(said.ProcedureStepProgressInformationSequence[0].get("ProcedureStepProgress", ""))))
        return 0x0000


@contextmanager
def managing(manager: UpsManager) -> Iterator[UpsManager]:
    manager.start()
    try:
        yield manager
    finally:
        manager.stop()
