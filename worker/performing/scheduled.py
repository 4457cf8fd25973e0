"""A scheduled work item (PS3.4, table CC.2.5-3): whether it is ours, and the job that it asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from pydicom import Dataset

from worker.clinical.categories import Priority
from worker.contract import request_for
from worker.errors import Code, JobRefused

_STATIONS: Final = "ScheduledStationNameCodeSequence"
_CLASSES: Final = "ScheduledStationClassCodeSequence"
_WORKITEMS: Final = "ScheduledWorkitemCodeSequence"
_RETURNED: Final = (
    "SOPInstanceUID",
    "StudyInstanceUID",
    "ScheduledProcedureStepPriority",
    "InputInformationSequence",
    "ReferencedRequestSequence",
)


class Coded(NamedTuple):
    """A coded concept."""

    value: str
    scheme: str
    meaning: str

    @classmethod
    def parsed(cls, text: str) -> Self:
        """Read ``value^scheme`` or ``value^scheme^meaning``, as the settings have it."""
        value, scheme, *meaning = (part.strip() for part in text.split("^"))
        return cls(value, scheme, meaning[0] if meaning else value)


@dataclass(frozen=True, slots=True)
class Ours:
    """Which work items are ours: those that have one of the codes of each kind that names any.

    Attributes:
        stations: of Scheduled Station Name Code Sequence.
        classes: of Scheduled Station Class Code Sequence.
        workitems: of Scheduled Workitem Code Sequence.
    """

    stations: Sequence[Coded] = ()
    classes: Sequence[Coded] = ()
    workitems: Sequence[Coded] = ()
    _wanted: dict[str, Sequence[Coded]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        wanted = {_STATIONS: self.stations, _CLASSES: self.classes, _WORKITEMS: self.workitems}
        object.__setattr__(self, "_wanted", wanted)

    def includes(self, item: Dataset) -> bool:
        """Whether a manager's item is one of ours; managers need not match what they are asked for."""
        return is_ready(item) and all(
            _concepts(codes) & _concepts(_codes(item, keyword)) for keyword, codes in self._wanted.items() if codes
        )

    def query(self) -> Dataset:
        """Return the identifier of a C-FIND for items that are scheduled and ready; of one code of a kind, by it."""
        asked = Dataset()
        asked.ProcedureStepState, asked.InputReadinessState = "SCHEDULED", "READY"
        for keyword in _RETURNED:
            setattr(asked, keyword, [] if keyword.endswith("Sequence") else "")
        for keyword, codes in self._wanted.items():
            code = Dataset()
            code.CodeValue = codes[0].value if len(codes) == 1 else ""
            code.CodingSchemeDesignator = codes[0].scheme if len(codes) == 1 else ""
            code.CodeMeaning = ""
            setattr(asked, keyword, [code])
        return asked

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of a search by DICOMweb: of one code of a kind, its value; and what is to be returned.

        Input Readiness State is none of them: there are servers that refuse a search by it.
        """
        one_of = {f"{keyword}.CodeValue": codes[0].value for keyword, codes in self._wanted.items() if len(codes) == 1}
        return {**one_of, "includefield": [*_RETURNED, "InputReadinessState", *self._wanted]}


def is_ready(item: Dataset) -> bool:
    """Whether an item is scheduled and its input is there, so far as its manager says."""
    state, readiness = _text(item, "ProcedureStepState"), _text(item, "InputReadinessState")
    return state in ("", "SCHEDULED") and readiness in ("", "READY")


def uid_of(item: Dataset) -> str:
    """Return an item's SOP Instance UID; empty where its manager says none."""
    return _text(item, "SOPInstanceUID")


def workitem_of(item: Dataset) -> Coded | None:
    """Return which kind of work an item is, where it says so whole."""
    return next(iter(_codes(item, _WORKITEMS)), None)


def job_of(item: Dataset, images: dict[str, str]) -> dict[str, Any]:
    """Return the job that an item asks for: its study, whose lesions are read from its reports.

    Args:
        item: as a C-FIND gives it.
        images: where studies are, as a job has it.

    Raises:
        JobRefused: ``work_item_invalid``; the reason names attributes, and no values.
    """
    study = _study(item)
    accession = _accession(item, study)
    if study is None and accession is None:
        reason = "the work item names no study: it has neither a Study Instance UID nor an Accession Number"
        raise JobRefused(Code.WORK_ITEM_INVALID, reason)
    return request_for(images, _priority(item), study, accession, Code.WORK_ITEM_INVALID)


def _study(item: Dataset) -> str | None:
    """Return the one study that is its input; where prior studies are input too, the one that is requested."""
    inputs = _each(_items(item, "InputInformationSequence"), "StudyInstanceUID")
    requested = _each([*_items(item, "ReferencedRequestSequence"), item], "StudyInstanceUID")
    found = inputs & requested if len(inputs) > 1 else inputs or requested
    if len(found) > 1 or (inputs and not found):
        reason = "the work item has several studies as input, and does not say which of them it is about"
        raise JobRefused(Code.WORK_ITEM_INVALID, reason)
    return next(iter(found), None)


def _accession(item: Dataset, study: str | None) -> str | None:
    requests = _items(item, "ReferencedRequestSequence")
    of_study = [one for one in requests if _text(one, "StudyInstanceUID") in ("", study)]
    found = _each(requests if study is None else of_study, "AccessionNumber")
    if len(found) > 1 and study is None:
        reason = "the work item has several Accession Numbers, and no Study Instance UID"
        raise JobRefused(Code.WORK_ITEM_INVALID, reason)
    return found.pop() if len(found) == 1 else None


def _priority(item: Dataset) -> Priority:
    """Return HIGH as ``urgent``; DICOM has no third level, and ``stat`` stays for who says so."""
    return Priority.URGENT if _text(item, "ScheduledProcedureStepPriority") == "HIGH" else Priority.ROUTINE


def _codes(item: Dataset, keyword: str) -> list[Coded]:
    read = [(_text(one, "CodeValue"), _text(one, "CodingSchemeDesignator"), one) for one in _items(item, keyword)]
    return [Coded(value, scheme, _text(one, "CodeMeaning") or value) for value, scheme, one in read if value and scheme]


def _concepts(codes: Iterable[Coded]) -> set[tuple[str, str]]:
    return {(code.value, code.scheme) for code in codes}


def _each(items: Iterable[Dataset], keyword: str) -> set[str]:
    return {_text(one, keyword) for one in items} - {""}


def _items(item: Dataset, keyword: str) -> list[Dataset]:
    try:
        return list(item.get(keyword) or [])
    except Exception:  # noqa: BLE001  whatever a value that is no sequence does to who reads it
        return []


def _text(item: Dataset, keyword: str) -> str:
    try:
        value = item.get(keyword)
    except Exception:  # noqa: BLE001  whatever a value that is none does to who reads it
        return ""
    return "" if value is None else str(value).strip("\x00 ")
