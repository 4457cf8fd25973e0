"""Images on a PACS (PS3.4, annex C): which instances a study has there, and those that are needed, as files.

What comes is written down as it came, and is read like any other file of a stranger: in a decoder, within its limits.
Why a job names a server and no address: docs/decisions/0024-a-job-names-a-dicomweb-server.md.
"""

import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from worker.errors import Code, LesionRefused, SetupRefused, StudyRefused
from worker.image_access import Pacs
from worker.imaging.found_instance import Found, is_uid
from worker.imaging.query_retrieve import Call, Given


def call_of(pacs: Pacs, name: str) -> Call:
    """Return who asks a PACS, for as long as one study may take.

    Raises:
        StudyRefused: ``pacs_server_unknown``.
        SetupRefused: ``setting_invalid``; the extra ``dicom`` is not installed.
    """
    if name not in pacs.servers:
        raise StudyRefused(Code.PACS_SERVER_UNKNOWN)
    try:
        import pynetdicom  # noqa: F401
    except ImportError:
        reason = "a PACS needs the extra: pip install 'dlr-worker[dicom]'"
        raise SetupRefused(Code.SETTING_INVALID, reason) from None
    return Call(pacs.servers[name], pacs, time.monotonic() + pacs.timeout_s)


def studies_of(call: Call, accession_number: str) -> list[str]:
    """Return the Study Instance UIDs of an accession number, which is compared here too, character for character.

    Raises:
        StudyRefused: ``pacs_failed``.
        Unavailable: ``pacs_unavailable``.
    """
    found = call.find("STUDY", {"AccessionNumber": accession_number}, ("StudyInstanceUID",))
    same = [one for one in found if _text(one, "AccessionNumber") == accession_number.strip()]
    return _uids(_text(one, "StudyInstanceUID") for one in same)


def instances_of(call: Call, study_instance_uid: str) -> list[Found]:
    """Return what a PACS has of a study: none where it has not the study.

    Raises:
        StudyRefused: ``pacs_failed``.
        Unavailable: ``pacs_unavailable``.
    """
    of_study = {"StudyInstanceUID": study_instance_uid}
    series = {
        _text(one, "SeriesInstanceUID"): _text(one, "Modality")
        for one in call.find("SERIES", of_study, ("SeriesInstanceUID", "Modality"))
    }
    return [
        Found(_text(one, "SOPInstanceUID"), uid, _text(one, "SOPClassUID"), modality)
        for uid, modality in series.items()
        if is_uid(uid)
        for one in call.find("IMAGE", of_study | {"SeriesInstanceUID": uid}, ("SOPInstanceUID", "SOPClassUID"))
        if is_uid(_text(one, "SOPInstanceUID"))
    ]


def get(call: Call, study_instance_uid: str, found: Sequence[Found], folder: Path) -> dict[str, Path]:
    """Have instances given (C-GET); return the files by SOP Instance UID. What is not there was not given.

    Args:
        call: to the PACS.
        study_instance_uid: of the study.
        found: as `instances_of` has them.
        folder: where the files are made.

    Raises:
        StudyRefused: ``fetch_too_large``, ``pacs_failed``.
        Unavailable: ``pacs_unavailable``, ``storage_unavailable``.
    """
    within(call.pacs, found)
    given = Given(folder, call.pacs.max_bytes)
    for series, of_series in _by_series(found).items():
        uids = [one.sop_instance_uid for one in of_series]
        call.get(
            study_instance_uid, series, uids, {sop_class for one in of_series for sop_class in one.sop_classes}, given
        )
    return {
        one.sop_instance_uid: given.files[one.sop_instance_uid] for one in found if one.sop_instance_uid in given.files
    }


def move(call: Call, study_instance_uid: str, found: Sequence[Found], destination: str) -> None:
    """Have instances sent to a `dlr receive` (C-MOVE).

    Raises:
        StudyRefused: ``fetch_too_large``, ``pacs_failed``.
        Unavailable: ``pacs_unavailable``.
    """
    within(call.pacs, found)
    for series, of_series in _by_series(found).items():
        call.move(study_instance_uid, series, [one.sop_instance_uid for one in of_series], destination)


def within(pacs: Pacs, found: Sequence[Found]) -> None:
    """Refuse more instances of a study than may be fetched.

    Raises:
        StudyRefused: ``fetch_too_large``.
    """
    if len(found) > pacs.max_instances:
        raise StudyRefused(Code.FETCH_TOO_LARGE)


def fetch(
    pacs: Pacs, name: str, study_instance_uid: str, sop_instance_uids: Collection[str], folder: Path
) -> tuple[list[str], dict[str, LesionRefused]]:
    """Fetch instances of a study into a folder, as `worker.imaging.dicomweb.fetch` does from a DICOMweb server.

    Returns:
        The files' names in the folder; and for each SOP Instance UID that there is no file of, why:
        ``sop_instance_not_found`` or ``pacs_sent_nothing``.

    Raises:
        StudyRefused: ``pacs_server_unknown``, ``pacs_failed``, ``fetch_too_large``.
        SetupRefused: ``setting_invalid``; the extra ``dicom`` is not installed.
        Unavailable: ``pacs_unavailable``, ``storage_unavailable``.
    """
    call = call_of(pacs, name)
    if call.node.move_to is not None:
        reason = "the PACS sends to `dlr receive`, which an intake worker asks for: push the job instead"
        raise StudyRefused(Code.PACS_FAILED, reason)
    there = {one.sop_instance_uid: one for one in instances_of(call, study_instance_uid)}
    files = get(call, study_instance_uid, [there[uid] for uid in sorted(sop_instance_uids) if uid in there], folder)
    refused = {
        uid: LesionRefused(Code.PACS_SENT_NOTHING if uid in there else Code.SOP_INSTANCE_NOT_FOUND)
        for uid in sop_instance_uids
        if uid not in files
    }
    return [file.name for file in files.values()], refused


def _by_series(found: Iterable[Found]) -> dict[str, list[Found]]:
    series: dict[str, list[Found]] = {}
    for one in found:
        series.setdefault(one.series_instance_uid, []).append(one)
    return series


def _text(identifier: Any, keyword: str) -> str:
    return str(identifier.get(keyword, "") or "").strip()


def _uids(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if is_uid(text)]
