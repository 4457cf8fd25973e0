"""``lesions.json``: what a radiologist marked, for DICOM files that bring no job of their own."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from worker.errors import Code, SetupRefused
from worker.intake.storage_copy import text_fault

LESIONS: Final = "lesions.json"
"""The file in a folder that says where the lesions on the DICOM files below it are; ``--lesions`` names another."""


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
