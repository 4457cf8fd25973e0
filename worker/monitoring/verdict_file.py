"""A file of radiologists' verdicts, CSV or JSON: each row a verdict, or a fault with its line and no value of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from db.schema.verdicts import LONGEST_REMARK
from db.schema.vocabulary import FinalCategory
from worker.contract import ShortText
from worker.errors import Code
from worker.monitoring.imported_rows import RowsRead, read_lines

_HEADER = (
    "line 1 names the columns study, revision, lesion_id, final_birads, reader, read_at, any of lh_version, "
    "bm_version, agrees, remark, and no others"
)
_ANSWERS = {"true": True, "yes": True, "false": False, "no": False}


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _answer(value: object) -> object:
    return _ANSWERS.get(value.lower(), value) if isinstance(value, str) else value


def _past(at: datetime) -> datetime:
    if at > datetime.now(UTC) + timedelta(minutes=5):  # the clocks of two systems differ a little
        raise PydanticCustomError("future", "a time that is not in the future")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise PydanticCustomError("range", "a time since the year 1") from None


class VerdictLine(BaseModel):
    """One verdict, as the file has it."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, hide_input_in_errors=True)

    study: ShortText = Field(description="The ledger's id, the Study Instance UID or the accession number")
    revision: Annotated[int, Field(strict=False, ge=1)] = Field(description="The revision that was read, from 1")
    lesion_id: ShortText = Field(description="The lesion's name in the job")
    final_birads: Annotated[FinalCategory, Field(strict=False), BeforeValidator(_upper)]
    reader: ShortText = Field(description="Who gave the verdict")
    read_at: Annotated[AwareDatetime, Field(strict=False), AfterValidator(_past)] = Field(
        description="When, ISO 8601 with its time zone"
    )
    lh_version: ShortText | None = Field(default=None, description="The version of DLR_LH whose result was shown")
    bm_version: ShortText | None = Field(default=None, description="The version of DLR_BM whose result was shown")
    agrees: Annotated[bool | None, BeforeValidator(_answer)] = Field(default=None, description="With the advice")
    remark: str | None = Field(default=None, min_length=1, max_length=LONGEST_REMARK)


def read_verdicts(path: Path) -> RowsRead[VerdictLine]:
    """Read a file of verdicts (`worker.monitoring.imported_rows.read_lines`).

    Args:
        path: UTF-8, 64 MiB at most.

    Raises:
        SetupRefused: ``verdict_invalid``: it is not there, too large, neither JSON nor CSV, or has other columns.
    """
    return read_lines(path, Code.VERDICT_INVALID, "verdicts", VerdictLine, _HEADER)
