"""A folder: a result's documents as files, each there whole or not at all. A name is the result's, so twice is once."""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.durable_files import replacing
from worker.errors import Code, Unavailable
from worker.reporting.documents import Document, Kind
from worker.reporting.result import StudyResult
from worker.sending.destination import Deliver, Documents, Parcel

_MODE: Final = 0o660
"""Of a file: its owner's and its group's, by which the program that empties the folder reads it."""


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder that is there; whoever empties it takes files that do not begin with a dot."""

    name: str
    path: Path
    documents: Documents
    kinds: Collection[Kind]

    @property
    def where(self) -> str:
        """Its path."""
        return str(self.path)

    @contextmanager
    def opened(self) -> Iterator[Deliver]:
        """Make sure that it is there."""
        self._check()
        yield self._write

    def test(self) -> str:
        """Say whether it can be written to."""
        self._check()
        return "the folder is there and can be written to"

    def _check(self) -> None:
        if not self.path.is_dir():
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the folder is not there: is it mounted?")
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise Unavailable(Code.DESTINATION_UNAVAILABLE, "the folder cannot be written to")

    def _write(self, parcel: Parcel) -> None:
        for document in self.documents(parcel.result, self.kinds):
            path = self.path / file_name(parcel.result, document)
            try:
                with replacing(path, mode=_MODE, alone=False) as draft:
                    draft.write_bytes(document.content)
            except OSError:
                raise Unavailable(Code.DESTINATION_UNAVAILABLE, "a file could not be written to the folder") from None


def file_name(result: StudyResult, document: Document) -> str:
    """Return the name of a document's file: of the opaque id and the number of the result, so that it has no other."""
    study, rest = document.name[:36], document.name[36:]
    return f"{study}.{result.endings[-1].event_id}{rest}"
