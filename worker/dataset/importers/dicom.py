"""A hospital's own lesions: a PACS export, and a table that says what each lesion was.

A row of the table finds its image by SOP Instance UID, or its study by accession number; the lesion's place is the
row's, else what an SR, SEG or GSPS of the study marks. The manifest has no identifier: patients, lesions and pictures
have keyed hashes for names, and the pictures have no header.

Why it is done so: docs/decisions/0053-a-hospitals-own-data-is-a-table-beside-an-export.md.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from pathlib import Path

from worker.contract import LONGEST_TEXT, RoiJob
from worker.dataset.importers.imported_dataset import (
    PATIENT_UNKNOWN,
    PICTURES_ARE_WHOLE_FRAMES,
    Imported,
    OnProgress,
    made_row,
    make_folder,
    refused,
    relative,
    require_usable,
    write_picture,
)
from worker.dataset.importers.lesion_places import FoundRow, LesionFinder, Marks, Place
from worker.dataset.importers.lesion_table import LesionTable
from worker.dataset.importers.pacs_export import LAYOUT, PacsExport
from worker.dataset.manifest import Fault, ManifestRow
from worker.dataset.manifest_image import read_dicom, region_with_content, said_of
from worker.dataset.opaque_names import opaque_name
from worker.errors import Code, LesionRefused
from worker.image_access import DEFAULT_LIMITS, Limits
from worker.imaging.regions import ultrasound_regions
from worker.imaging.scanner import scanner_of
from worker.imaging.spacing import Spacing, spacing_at

_NOT_THERE = {Code.STUDY_NOT_FOUND, Code.SOP_INSTANCE_NOT_FOUND}
_ALIKE = 1e-3
"""By how much of itself a pixel's width may differ from its height, and still be one spacing."""


@dataclass(frozen=True, slots=True)
class DicomImporter:
    """Makes a manifest of a PACS export and a table.

    Attributes:
        export: the files.
        marks: reads what marks lesions among a study's files.
        pictures: the folder that pictures are written into.
        root: what the manifest's paths are relative to; ``pictures`` is below it.
        key: a secret: the same key gives the same patient the same key in another manifest.
        limits: the largest file and frame.
    """

    export: PacsExport
    marks: Marks
    pictures: Path
    root: Path
    key: bytes
    limits: Limits = DEFAULT_LIMITS

    def run(self, table: LesionTable, on_progress: OnProgress) -> Imported:
        """Find each row's image, and write its frame as a picture.

        Args:
            table: of lesions.
            on_progress: told how many rows are done, and of how many.

        Returns:
            A row for each image of each lesion. Those of the table that are at fault are left out under their codes.

        Raises:
            SetupRefused: ``dataset_invalid``: no row is of a file of the export, each row is left out by the table,
                pictures cannot be written, or would not be below the root.
            Unavailable: ``storage_unavailable``.
        """
        relative(self.pictures, self.root)
        found, missing = LesionFinder(self.export, self.marks).find(table)
        is_excluded = all(row.said.row.excluded is not None for row in found)
        if is_excluded and (missing or not found) and {fault.code for fault in missing} <= _NOT_THERE:
            files = len(self.export.files)
            raise refused(
                f"no row of the table is of one of the {files} DICOM files of the folder; looked for {LAYOUT}"
            )
        make_folder(self.pictures)
        faults = [*table.faults, *missing, *_of_two_patients(found), *_contradictory(found), *_in_one_place(found)]
        bad = {fault.line for fault in faults}
        made: dict[int, list[ManifestRow]] = {}
        for done, row in enumerate(found, start=1):
            try:
                made[row.line] = [] if row.line in bad else self._rows(row)
            except LesionRefused as fault:
                faults.append(Fault(row.line, fault.code, said_of(fault)))
            on_progress(done, len(found))
        faults = sorted(dict.fromkeys(faults), key=lambda fault: fault.line)
        rows = tuple(self._all(table, made, faults))
        if not faults:
            require_usable(rows, LAYOUT)
        return Imported(rows, tuple(self._notes(table, found)), tuple(faults))

    def _rows(self, row: FoundRow) -> list[ManifestRow]:
        patient = row.file.identity.patient
        reason = row.said.row.excluded or (None if patient.text and patient.is_whole else PATIENT_UNKNOWN)
        if reason is not None:
            known = self._of(row) if patient.text else {}
            return [self._left_out(row.line, reason, row.said.row, known)]
        return [self._row(row, place) for place in row.places]

    def _of(self, row: FoundRow) -> dict[str, str]:
        patient = row.file.identity.patient.text
        return {"patient_key": self._name("patient", patient), "lesion_id": self._name("lesion", *row.lesion)}

    def _row(self, row: FoundRow, place: Place) -> ManifestRow:
        said = row.said.row
        frame, header, age_years = read_dicom(place.file.path, place.frame, said.age_years, self.limits)
        regions = ultrasound_regions(header)
        region = region_with_content(frame, place.roi, regions)
        scanner = scanner_of(header)
        picture = self.pictures / f"{self._name('image', *place.on)}.png"
        write_picture(picture, frame)
        found = {
            "image": relative(picture, self.root),
            "frame": None,
            "roi": RoiJob(x=region.x, y=region.y, width=region.width, height=region.height),
            "pixel_spacing_mm": said.pixel_spacing_mm or _square(spacing_at(region, regions, header)),
            "age_years": age_years,
            "birads": row.birads,
            "site": said.site or scanner.site,
            "scanner_model": said.scanner_model or (scanner.model or "")[:LONGEST_TEXT].strip() or None,
        }
        return made_row(dict(said) | found | self._of(row))

    def _left_out(self, line: int, reason: str, said: ManifestRow | None, known: Mapping[str, str]) -> ManifestRow:
        """Make the row of a lesion that is not taken: it has no picture."""
        name = self._name("row", self.pictures.resolve(), line)
        labels = {} if said is None else {"birads": said.birads, "pathology": said.pathology, "site": said.site}
        image = relative(self.pictures / f"{name}.png", self.root)
        nobody = {"patient_key": name, "lesion_id": name}
        return made_row({**labels, **nobody, **known, "image": image, "excluded": reason})

    def _name(self, *of: object) -> str:
        return opaque_name(self.key, *of)

    def _all(
        self, table: LesionTable, made: Mapping[int, Sequence[ManifestRow]], faults: Sequence[Fault]
    ) -> Iterator[ManifestRow]:
        codes = {fault.line: str(fault.code) for fault in reversed(faults)}
        for line in sorted({*table.rows, *codes}):
            said = table.rows[line].row if line in table.rows else None
            if line in codes:
                yield self._left_out(line, codes[line], said, {})
            elif line in made:
                yield from made[line]
            elif said is not None and said.excluded is not None:
                yield self._left_out(line, said.excluded, said, {})

    def _notes(self, table: LesionTable, found: Sequence[FoundRow]) -> Iterator[str]:
        yield PICTURES_ARE_WHOLE_FRAMES
        unmarked = sum(place.roi is None for row in found for place in row.places)
        if unmarked:
            yield f"{unmarked} lesions have no region, and nothing marks them: the B-mode region, or all, stands for it"
        if table.columns_unread:
            yield f"{table.columns_unread} columns of the table were not read: a manifest has none of their names"
        if self.export.others:
            yield f"{self.export.others} files of the folder are not DICOM, or of no study"
        if self.export.unreadable:
            yield f"{self.export.unreadable} DICOM files of the folder cannot be read"


def _square(spacing: Spacing | None) -> float | None:
    is_one = spacing is not None and isclose(spacing.x_mm, spacing.y_mm, rel_tol=_ALIKE)
    return spacing.x_mm if spacing is not None and is_one else None


def _of_two_patients(found: Sequence[FoundRow]) -> Iterator[Fault]:
    """Give each row of a study whose images on the table's rows are of several patients."""
    studies: defaultdict[str, list[FoundRow]] = defaultdict(list)
    for row in found:
        if row.said.row.excluded is None:
            studies[row.lesion[0]].append(row)
    for rows in studies.values():
        files = [file for row in rows for file in (row.file, *(place.file for place in row.places))]
        if len({file.identity.patient.text for file in files} - {""}) > 1:
            reason = (
                "its study has images of several patients: correct the files, or leave the other patient's rows out"
            )
            yield from (Fault(row.line, Code.PATIENT_MISMATCH, reason) for row in rows)


def _contradictory(found: Sequence[FoundRow]) -> Iterator[Fault]:
    """Give each row of a lesion of which two rows say another pathology or category; a 4 may be any of 4A to 4C."""
    lesions: defaultdict[tuple[str, str], list[FoundRow]] = defaultdict(list)
    for row in found:
        if row.places:
            lesions[row.lesion].append(row)
    for rows in lesions.values():
        for what, differ in (("pathology", _pathologies_differ), ("category", _categories_differ)):
            if any(differ(one, other) for one in rows for other in rows):
                reason = f"its lesion has another {what} on another row: correct one, or give them two lesion_id"
                yield from (Fault(row.line, Code.LABEL_CONTRADICTORY, reason) for row in rows)


def _pathologies_differ(one: FoundRow, other: FoundRow) -> bool:
    return one.said.row.pathology is not other.said.row.pathology


def _categories_differ(one: FoundRow, other: FoundRow) -> bool:
    if one.birads is None or other.birads is None:
        return False
    return not (one.birads.startswith(other.birads) or other.birads.startswith(one.birads))


def _in_one_place(found: Sequence[FoundRow]) -> Iterator[Fault]:
    """Give rows of a lesion that is on another row's image already, and those of two lesions in one place."""
    of_lesion: dict[object, FoundRow] = {}
    of_place: dict[object, FoundRow] = {}
    for row in found:
        for place in row.places:
            if of_lesion.setdefault((row.lesion, place.on), row).line != row.line:
                yield Fault(row.line, Code.ROW_REPEATED, "its lesion is on another row, on the same image: keep one")
            before = of_place.setdefault((place.on, place.roi), row)
            if before.lesion != row.lesion:
                reason = "another lesion is in the same place: give each its roi_x to roi_height"
                yield from (Fault(each.line, Code.ROW_INVALID, reason) for each in (before, row))
