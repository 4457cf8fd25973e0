"""``lesions.json``: what a radiologist marked, for DICOM files that bring no job of their own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.clinical.categories import Birads
from worker.contract import version_1, version_2
from worker.errors import Code, SetupRefused
from worker.intake.storage_copy import text_fault

LESIONS: Final = "lesions.json"
"""The file in a folder that says where the lesions on the DICOM files below it are; ``--lesions`` names another."""

_OF_IMAGE: Final = frozenset(version_2.ImageJob.model_fields)
_ONLY_IN_2: Final = frozenset({*version_2.LesionJob.model_fields, *_OF_IMAGE} - set(version_1.LesionJob.model_fields))


@dataclass(frozen=True, slots=True)
class MarkedLesions:
    """The lesions, and whatever other fields of a job the file gives (age_years, accession_number, priority)."""

    lesions: tuple[dict[str, Any], ...]
    fields: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None


def read_lesions(path: Path) -> MarkedLesions:
    """Read a JSON list of lesions, or a JSON object with ``lesions`` and other fields of a job.

    Raises:
        SetupRefused: ``setting_invalid``, when the file is not there or is not such JSON. What the lesions say is
            checked later, by the contract.
        Unavailable: ``storage_unavailable``, when the disk is away for now.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise text_fault(error, f"{path}: the file cannot be read") from None
    except (ValueError, RecursionError):
        raise SetupRefused(Code.SETTING_INVALID, f"{path}: the file is not JSON") from None
    match content:
        case [*lesions] if all(isinstance(lesion, dict) for lesion in lesions):
            return MarkedLesions(tuple(lesions), path=path)
        case {"lesions": [*lesions], **fields} if all(isinstance(lesion, dict) for lesion in lesions):
            return MarkedLesions(tuple(lesions), {str(name): value for name, value in fields.items()}, path)
    reason = f'{path}: a JSON list of lesions, or {{"lesions": [...]}}, is expected'
    raise SetupRefused(Code.SETTING_INVALID, reason)


def name_lesions(lesions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give lesions without a ``lesion_id`` the names L1, L2, ... by their place."""
    return [{"lesion_id": f"L{place}", **lesion} for place, lesion in enumerate(lesions, start=1)]


def in_version(lesions: Sequence[dict[str, Any]]) -> tuple[int, list[dict[str, Any]]]:
    """Return lesions as one version of the contract has them, and that version.

    What version 1 can say is said in it, so that a study that is handed in again is the same content for ever. In
    version 2, a lesion that gives its image by itself is one with that image.
    """
    if not any(_ONLY_IN_2 & lesion.keys() or lesion.get("birads") == Birads.SUSPICIOUS for lesion in lesions):
        return 1, list(lesions)
    return 2, [lesion if "images" in lesion else _with_images(lesion) for lesion in lesions]


def on_instance(lesion: dict[str, Any], sop_instance_uid: str) -> dict[str, Any]:
    """Return a lesion with this SOP Instance UID wherever it names none."""
    images = lesion.get("images")
    if not isinstance(images, list):
        return {"sop_instance_uid": sop_instance_uid, **lesion}
    named = [{"sop_instance_uid": sop_instance_uid, **one} if isinstance(one, dict) else one for one in images]
    return {**lesion, "images": named}


def instances_of(lesion: Mapping[str, Any]) -> set[str]:
    """Return the SOP Instance UIDs that a lesion names."""
    images = lesion.get("images")
    marked = [lesion] if not isinstance(images, list) else [one for one in images if isinstance(one, dict)]
    return {uid for one in marked if isinstance(uid := one.get("sop_instance_uid"), str)}


def _with_images(lesion: Mapping[str, Any]) -> dict[str, Any]:
    image = {name: value for name, value in lesion.items() if name in _OF_IMAGE}
    return {name: value for name, value in lesion.items() if name not in _OF_IMAGE} | {"images": [image]}
