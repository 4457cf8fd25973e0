"""The message that a hospital pushes, in each version that is read.

References to files, never pixels, and no patient name or id. ``dlr schema`` prints the JSON Schema.
"""

from worker.contract.parts import (
    LONGEST_TEXT,
    MAX_LESIONS,
    Descriptors,
    DicomwebSource,
    FilesSource,
    PacsSource,
    RoiJob,
    ShortText,
    StoragePath,
    StudyJob,
    Uid,
    can_be_named,
)
from worker.contract.reading import (
    VERSIONS,
    images_of,
    is_elsewhere,
    job_schema,
    parse_job,
    parse_pushed,
    request_for,
    request_schema,
    whole_job,
)
from worker.contract.request import StudyRequest

__all__ = [
    "LONGEST_TEXT",
    "MAX_LESIONS",
    "VERSIONS",
    "Descriptors",
    "DicomwebSource",
    "FilesSource",
    "PacsSource",
    "RoiJob",
    "ShortText",
    "StoragePath",
    "StudyJob",
    "StudyRequest",
    "Uid",
    "can_be_named",
    "images_of",
    "is_elsewhere",
    "job_schema",
    "parse_job",
    "parse_pushed",
    "request_for",
    "request_schema",
    "whole_job",
]
