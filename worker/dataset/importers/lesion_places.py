"""Where the lesions of a table are among the files of a PACS export: on which frames, and in which rectangles."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from worker.clinical.categories import Birads
from worker.dataset.importers.lesion_table import LesionTable, TableRow
from worker.dataset.importers.pacs_export import ExportedFile, PacsExport, only_image
from worker.dataset.manifest import Fault
from worker.dataset.manifest_image import said_of
from worker.errors import Code, LesionRefused, StudyRefused
from worker.study import Lesion, MarkedImage, Roi

Marks = Callable[[Sequence[ExportedFile]], Sequence[Lesion]]
"""Says which lesions the SR, SEG or GSPS among a study's files mark; none where nothing does."""


@dataclass(frozen=True, slots=True)
class Place:
    """A frame of an image, from 1, and the rectangle on it, where one is known; and the category that marks it."""

    file: ExportedFile
    frame: int | None
    roi: Roi | None
    birads: Birads | None = None

    @property
    def on(self) -> tuple[str, int]:
        """The image, and the frame of it."""
        return self.file.identity.sop_instance_uid, self.frame or 1


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row of the table that is of a study of the export.

    Attributes:
        line: of the table.
        said: what it says.
        file: one of its study, the image where that is known.
        places: where its lesion is; none of a row that is excluded.
    """

    line: int
    said: TableRow
    file: ExportedFile
    places: tuple[Place, ...] = ()

    @property
    def lesion(self) -> tuple[str, str]:
        """The study, and the lesion's name within it."""
        return self.file.identity.study_instance_uid, self.said.lesion

    @property
    def birads(self) -> Birads | None:
        """The row's category, else that of what marks the lesion."""
        return self.said.row.birads or next((place.birads for place in self.places), None)


class LesionFinder:
    """Finds the rows of a table.

    Args:
        export: the files.
        marks: reads what marks lesions among a study's files.
    """

    def __init__(self, export: PacsExport, marks: Marks) -> None:
        self._marks = marks
        self._by_uid, self._by_number, self._by_study = export.by_uid(), export.by_number(), export.by_study()
        self._marked: dict[str, Sequence[Lesion]] = {}
        self._hint = f"; {export.unreadable} files cannot be read: it may be among them" if export.unreadable else ""

    def find(self, table: LesionTable) -> tuple[list[FoundRow], list[Fault]]:
        """Find each row: its study, and, unless it is excluded, where its lesion is.

        Returns:
            The rows that were found, and what is wrong with the others; an excluded row needs no image.

        Raises:
            Unavailable: ``storage_unavailable``.
        """
        files: dict[int, Sequence[ExportedFile]] = {}
        faults: list[Fault] = []
        for line, said in table.rows.items():
            try:
                files[line] = self._files(said)
            except (StudyRefused, LesionRefused) as fault:
                if said.row.excluded is None:
                    faults.append(Fault(line, fault.code, said_of(fault)))
        taken = [those[0].identity for line, those in files.items() if table.rows[line].row.excluded is None]
        rows_of = Counter(identity.study_instance_uid for identity in taken)
        found: list[FoundRow] = []
        for line, those in files.items():
            row = FoundRow(line, table.rows[line], those[0])
            try:
                alone = rows_of[row.lesion[0]] == 1
                places = () if row.said.row.excluded is not None else self._places(row.said, those, alone=alone)
            except (StudyRefused, LesionRefused) as fault:
                faults.append(Fault(line, fault.code, said_of(fault)))
            else:
                found.append(FoundRow(line, row.said, places[0].file if places else row.file, places))
        return found, faults

    def _files(self, said: TableRow) -> Sequence[ExportedFile]:
        """Return a row's image, or else the files of its study; all are of one patient."""
        files = (self._image(said),) if said.sop_instance_uid else self._study(said)
        patients = {file.identity.patient.text for file in files if file.identity.patient.text}
        if len(patients) > 1:
            reason = "its accession number is on files of several patients: give sop_instance_uid, or correct the files"
            raise StudyRefused(Code.PATIENT_MISMATCH, reason)
        if said.patient_id and patients and said.patient_id not in patients:
            reason = "the image is of another patient than patient_id says: correct the row"
            raise StudyRefused(Code.PATIENT_MISMATCH, reason)
        return files

    def _study(self, said: TableRow) -> Sequence[ExportedFile]:
        if not said.accession_number:
            reason = "neither sop_instance_uid nor accession_number is given: one of them finds the image"
            raise LesionRefused(Code.ROW_INVALID, reason)
        files = self._by_number.get(said.accession_number, [])
        if not files:
            reason = "no DICOM file has that accession number: export the study, or correct the row"
            reason += " (a spreadsheet drops leading zeros)"
            raise StudyRefused(Code.STUDY_NOT_FOUND, reason + self._hint)
        return files

    def _image(self, said: TableRow) -> ExportedFile:
        files = self._by_uid.get(said.sop_instance_uid, [])
        if not files:
            reason = "no DICOM file has that SOP Instance UID: export the image, or correct the row"
            raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND, reason + self._hint)
        image = _only(files)
        if said.accession_number not in ("", image.identity.accession_number):
            reason = "the image of that SOP Instance UID has another accession number: correct the row"
            raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND, reason)
        return image

    def _places(self, said: TableRow, files: Sequence[ExportedFile], *, alone: bool) -> tuple[Place, ...]:
        if not said.lesion and not alone:
            reason = "its study has several rows: give each a lesion_id, the same for the images of one lesion"
            raise LesionRefused(Code.ROW_INVALID, reason)
        given = None if said.row.roi is None else Roi(**said.row.roi.model_dump())
        if said.sop_instance_uid:
            return (self._on_image(files[0], said, given),)
        return self._in_study(files, said, given)

    def _on_image(self, file: ExportedFile, said: TableRow, given: Roi | None) -> Place:
        if given is not None:
            return Place(file, said.row.frame, given)
        here = [
            (lesion, image)
            for lesion in self._lesions_of(file)
            for image in lesion.images
            if image.sop_instance_uid == file.identity.sop_instance_uid and said.row.frame in (None, image.frame or 1)
        ]
        named = [one for one in here if one[0].lesion_id == said.lesion] or here
        if len(named) > 1:
            reason = "several places are marked on the image: give frame or roi_x to roi_height, or the marked name as"
            raise LesionRefused(Code.SOP_INSTANCE_AMBIGUOUS, f"{reason} lesion_id")
        return _marked_place(file, *named[0]) if named else Place(file, said.row.frame, None)

    def _in_study(self, files: Sequence[ExportedFile], said: TableRow, given: Roi | None) -> tuple[Place, ...]:
        if given is None:
            one_a_study = {file.identity.study_instance_uid: file for file in files}.values()
            lesions = [lesion for file in one_a_study for lesion in self._lesions_of(file)]
            named = [one for one in lesions if one.lesion_id == said.lesion] or lesions
            if len(named) > 1:
                reason = "several lesions are marked in the study: give the marked name as lesion_id"
                raise LesionRefused(Code.SOP_INSTANCE_AMBIGUOUS, reason)
            if named:
                return tuple(self._each_place(named[0]))
        # An export may have copies.
        images = {file.identity.sop_instance_uid for file in files if file.is_ultrasound}
        if len(images) != 1:
            reason = f"its study has {len(images)} ultrasound images, and nothing marks one: give sop_instance_uid"
            code = Code.SOP_INSTANCE_AMBIGUOUS if images else Code.SOP_INSTANCE_NOT_FOUND
            raise LesionRefused(code, reason)
        return (Place(_only(self._by_uid[images.pop()]), said.row.frame, given),)

    def _each_place(self, lesion: Lesion) -> Iterator[Place]:
        for image in lesion.images:
            files = self._by_uid.get(image.sop_instance_uid, [])
            if not files:
                reason = "the lesion is marked on an image that is not among the files: export it, too"
                raise LesionRefused(Code.SOP_INSTANCE_NOT_FOUND, reason + self._hint)
            yield _marked_place(_only(files), lesion, image)

    def _lesions_of(self, file: ExportedFile) -> Sequence[Lesion]:
        study = file.identity.study_instance_uid
        if study not in self._marked:
            self._marked[study] = self._marks(self._by_study[study])
        return self._marked[study]


def _only(files: Sequence[ExportedFile]) -> ExportedFile:
    image = only_image(files)
    if image is None:
        reason = "several files have that SOP Instance UID, and differ: keep one of them"
        raise LesionRefused(Code.SOP_INSTANCE_AMBIGUOUS, reason)
    return image


def _marked_place(file: ExportedFile, lesion: Lesion, image: MarkedImage) -> Place:
    return Place(file, image.frame, image.roi, lesion.birads)
