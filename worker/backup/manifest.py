"""What an archive says of itself: what is in it, of when, and how to tell that it is whole."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

FORMAT = 1
"""Of archives that this software writes; it reads this one and earlier ones."""

_Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Member(_Part):
    """One file of an archive: its length, and the SHA-256 of its content in hexadecimal digits."""

    bytes: _Count
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class LedgerPart(_Part):
    """The database at the moment of the backup.

    Attributes:
        server: PostgreSQL's version.
        tool: that of the pg_dump that read it.
        revision: of the schema.
        studies: how many were in each state, earlier revisions and refused messages included.
        newest: when the latest study arrived.
        roles: that were granted something, and have to be there before it is granted again.
    """

    server: str
    tool: str
    revision: str
    studies: dict[str, _Count]
    newest: AwareDatetime | None
    roles: tuple[str, ...]


class ModelPart(_Part):
    """One version of a model in the registry."""

    name: str
    version: str
    active: bool


class FilesPart(_Part):
    """The files that studies refer to, which are not in the archive.

    Attributes:
        count: files.
        missing: of them, those that could not be found or read at the time.
        digests: their contents were read, not only their sizes and times.
    """

    count: _Count
    missing: _Count
    digests: bool


class Manifest(_Part):
    """What is in an archive. ``members`` are all of its files but the manifest itself."""

    format: Literal[1]
    software: str
    created_at: AwareDatetime
    database: LedgerPart
    models: tuple[ModelPart, ...]
    accounts: _Count
    files: FilesPart
    members: dict[str, Member]

    @property
    def studies(self) -> int:
        """How many studies are in the ledger."""
        return sum(self.database.studies.values())

    @property
    def open(self) -> int:
        """How many of them were on their way: queued, or at work."""
        return sum(self.database.studies.get(state, 0) for state in ("queued", "running"))
