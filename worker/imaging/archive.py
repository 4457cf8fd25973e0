"""A server that has studies, by DICOMweb or by DICOM: which study is meant, what it has there, and files of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from worker.errors import Code, LesionRefused, StudyRefused
from worker.image_access import Dicomweb, Pacs
from worker.imaging import dicomweb as by_web
from worker.imaging import pacs as by_dimse
from worker.imaging.found_instance import Found
from worker.study import OnDicomweb, OnPacs

LONGEST_ACCESSION_NUMBER: Final = 16
"""Characters of an SH (PS3.5, table 6.2-1)."""

_NOT_LITERAL: Final = frozenset("*?\\")
"""What is a wildcard, or parts values, in a search (PS3.4, C.2.2.2)."""

Received = Callable[[str, str], Path]
"""Where `dlr receive` keeps an instance: by Study and SOP Instance UID."""


@dataclass(frozen=True, slots=True)
class Archives:
    """The servers that jobs may name.

    Attributes:
        dicomweb: those that speak DICOMweb.
        pacs: those that speak DICOM.
    """

    dicomweb: Dicomweb
    pacs: Pacs

    def study_of(self, where: OnDicomweb | OnPacs, accession_number: str) -> str:
        """Return the Study Instance UID of an accession number.

        Raises:
            StudyRefused: ``study_not_on_server``, ``accession_ambiguous``, ``dicomweb_server_unknown``,
                ``pacs_server_unknown``, ``dicomweb_failed``, ``pacs_failed``.
            Unavailable: ``dicomweb_unavailable``, ``pacs_unavailable``.
        """
        if len(accession_number) > LONGEST_ACCESSION_NUMBER or _NOT_LITERAL & set(accession_number):
            reason = "an accession number in DICOM has at most 16 characters, and none of * ? \\"
            raise StudyRefused(Code.STUDY_NOT_ON_SERVER, reason)
        if isinstance(where, OnPacs):
            studies = by_dimse.studies_of(by_dimse.call_of(self.pacs, where.server), accession_number)
        else:
            studies = by_web.studies_of(self.dicomweb, where.server, accession_number)
        if not studies:
            raise StudyRefused(Code.STUDY_NOT_ON_SERVER)
        if len(studies) > 1:
            reason = f"the server has {len(studies)} studies of that accession number: give the Study Instance UID"
            raise StudyRefused(Code.ACCESSION_AMBIGUOUS, reason)
        return studies[0]

    def instances_of(self, where: OnDicomweb | OnPacs, study_instance_uid: str) -> list[Found]:
        """Return the instances that a server has of a study.

        Raises:
            StudyRefused: ``study_not_on_server``; else as `study_of`.
            Unavailable: as `study_of`.
        """
        if isinstance(where, OnPacs):
            found = by_dimse.instances_of(by_dimse.call_of(self.pacs, where.server), study_instance_uid)
        else:
            found = by_web.instances_of(self.dicomweb, where.server, study_instance_uid)
        if not found:
            raise StudyRefused(Code.STUDY_NOT_ON_SERVER)
        return found

    def sends(self, where: OnDicomweb | OnPacs) -> bool:
        """Whether a server sends to `dlr receive` (C-MOVE), and gives nothing itself."""
        return isinstance(where, OnPacs) and _moves(self.pacs, where.server) is not None

    def files_of(
        self,
        where: OnDicomweb | OnPacs,
        study_instance_uid: str,
        found: Sequence[Found],
        folder: Path,
        received: Received,
    ) -> list[Path]:
        """Have instances of a study as files.

        Args:
            where: the server.
            study_instance_uid: of the study.
            found: the instances.
            folder: an empty one, for what is given.
            received: where to look for what is sent.

        Raises:
            StudyRefused: ``pacs_sent_nothing``, ``fetch_too_large``; else as `study_of`.
            LesionRefused: as `worker.imaging.dicomweb.fetch` says of an instance.
            Unavailable: as `study_of`, and ``storage_unavailable``.
        """
        by_dimse.within(self.pacs, found)
        if isinstance(where, OnDicomweb):
            return self._from_web(where, study_instance_uid, found, folder)
        call = by_dimse.call_of(self.pacs, where.server)
        destination = call.node.move_to
        if destination is None:
            files = by_dimse.get(call, study_instance_uid, found, folder)
            missing = len(found) - len(files)
        else:
            by_dimse.move(call, study_instance_uid, found, destination)
            places = {one.sop_instance_uid: received(study_instance_uid, one.sop_instance_uid) for one in found}
            files = call.wait_for(places)
            missing = len(places) - len(files)
        if missing:
            reason = f"the PACS answered that it sent {len(found)} instances, and {missing} of them did not come"
            raise StudyRefused(Code.PACS_SENT_NOTHING, reason)
        return list(files.values())

    def _from_web(self, where: OnDicomweb, study: str, found: Sequence[Found], folder: Path) -> list[Path]:
        uids = [one.sop_instance_uid for one in found]
        names, refused = by_web.fetch(self.dicomweb, where.server, study, uids, folder)
        for why in refused.values():
            raise LesionRefused(why.code, why.reason)
        files = [folder / name for name in names]
        if sum(file.stat().st_size for file in files) > self.pacs.max_bytes:
            raise StudyRefused(Code.FETCH_TOO_LARGE)
        return files


def _moves(pacs: Pacs, server: str) -> str | None:
    return pacs.servers[server].move_to if server in pacs.servers else None
