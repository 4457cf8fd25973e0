"""Stored lesions with pathology or a verdict, as a manifest to train on: by opaque keys, with pictures beside it.

No identifier goes into it: patients and pictures have keyed hashes for names, and the pictures have no header.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy.orm import Session, sessionmaker

from db.reads.labelled_lesions import LabelledLesion, LabelledStudy, labelled_ids, labelled_study
from db.reads.scored_images import ScoredImage
from db.writes.rescoring import StoredLesion, StoredStudy
from worker.clinical.descriptors import descriptor_faults
from worker.dataset.check import Checked
from worker.dataset.importers.imported_dataset import (
    NO_PATHOLOGY,
    PATIENT_UNKNOWN,
    PICTURES_ARE_WHOLE_FRAMES,
    Imported,
    made_row,
    make_folder,
    relative,
    write_picture,
)
from worker.dataset.manifest import ManifestRow, Pathology, Split
from worker.dataset.near_duplicates import pixels_sha256
from worker.dataset.opaque_names import opaque_name
from worker.errors import Refused
from worker.inference.model_card import ModelCard
from worker.rescoring.stored_images import Loaded, StoredImages
from worker.study import LesionImage

NOTES = (
    PICTURES_ARE_WHOLE_FRAMES,
    "lesions with pathology or a verdict are no sample of all lesions: most downgraded ones are never biopsied",
)
LABELLED_BY_VERDICT = (
    "without pathology, a final category of 1 to 3 counts as benign here, and of 5 and 6 as malignant: a reader's "
    "opinion who had seen the models' advice"
)

_BENIGN, _MALIGNANT = frozenset({"1", "2", "3"}), frozenset({"5", "6"})


@dataclass(frozen=True, slots=True)
class LedgerImporter:
    """Makes a manifest of what is on record.

    Attributes:
        sessions: of ``dlr_writer``.
        images: reads the stored images.
        pictures: the folder that pictures are written into.
        root: what the manifest's paths are relative to; ``pictures`` is below it.
        key: a secret: the same key gives the same patient the same key in another manifest.
        label_from_verdicts: label a lesion without pathology by its final category, where that says enough.
        trained_on: versions of models by the SHA-256 of the pixels that they were trained on.
    """

    sessions: sessionmaker[Session]
    images: StoredImages
    pictures: Path
    root: Path
    key: bytes
    label_from_verdicts: bool = False
    trained_on: Mapping[str, str] | None = None

    def run(self, since: datetime | None, on_progress: Callable[[int, int], None]) -> Imported:
        """Read each study with a labelled lesion.

        Args:
            since: only studies that arrived then or later.
            on_progress: told how many studies are done, and of how many.

        Raises:
            SetupRefused: ``dataset_invalid``: pictures cannot be written, or would not be below the root.
            Unavailable: the storage or the DICOMweb server is away.
        """
        relative(self.pictures, self.root)
        make_folder(self.pictures)
        with self.sessions() as session:
            ids = labelled_ids(session, since)
        rows: list[ManifestRow] = []
        for done, study_id in enumerate(ids, start=1):
            with self.sessions() as session:
                study = labelled_study(session, study_id)
            rows += [] if study is None else self._rows(study)
            on_progress(done, len(ids))
        notes = (*NOTES, LABELLED_BY_VERDICT) if self.label_from_verdicts else NOTES
        return Imported(tuple(rows), notes)

    def _rows(self, study: LabelledStudy) -> Iterator[ManifestRow]:
        stored = _stored(study)
        loaded, patient = self.images.load(stored), self.images.patient(stored)
        for lesion in study.lesions:
            for image in lesion.images:
                yield self._row(study, lesion, image, loaded[image.key], patient)

    def _row(
        self, study: LabelledStudy, lesion: LabelledLesion, image: ScoredImage, loaded: Loaded, patient: str
    ) -> ManifestRow:
        pathology = self._pathology(lesion)
        reason = _reason(loaded, patient, pathology)
        picture = self.pictures / f"{self._hash('image', study.study_id, image.sop_instance_uid, image.frame)}.png"
        trained_on = None
        if reason is None and isinstance(loaded, LesionImage):
            write_picture(picture, loaded.frame)
            trained_on = (self.trained_on or {}).get(pixels_sha256(loaded.frame))
        x, y, width, height = image.region
        return made_row(
            {
                "image": relative(picture, self.root),
                "roi": {"x": x, "y": y, "width": width, "height": height},
                "age_years": lesion.age_years,
                "birads": lesion.final_birads or lesion.birads,
                "pathology": pathology,
                "descriptors": {} if descriptor_faults(lesion.descriptors) else dict(lesion.descriptors),
                "patient_key": self._hash("patient", patient or study.study_id),
                "lesion_id": f"{study.study_id}-{lesion.ordinal}",
                "site": lesion.site,
                "excluded": reason,
                "trained_on": trained_on,
            }
        )

    def _pathology(self, lesion: LabelledLesion) -> Pathology | None:
        if lesion.malignant is not None:
            return Pathology.MALIGNANT if lesion.malignant else Pathology.BENIGN
        if self.label_from_verdicts and lesion.final_birads in _BENIGN | _MALIGNANT:
            return Pathology.MALIGNANT if lesion.final_birads in _MALIGNANT else Pathology.BENIGN
        return None

    def _hash(self, *of: object) -> str:
        return opaque_name(self.key, *of)


def _reason(loaded: Loaded, patient: str, pathology: Pathology | None) -> str | None:
    """Why a lesion is left out: what its image was refused for, or what is not known of it."""
    if isinstance(loaded, Refused):
        return loaded.code.value
    if not patient:
        return PATIENT_UNKNOWN
    return NO_PATHOLOGY if pathology is None else None


def _stored(study: LabelledStudy) -> StoredStudy:
    lesions = tuple(StoredLesion(one.key, one.images, one.age_years, ()) for one in study.lesions)
    return StoredStudy(study.study_id, study.study_instance_uid, study.content_digest, study.job, lesions)


def versions_by_pixels(checked: Iterable[Checked], cards: Iterable[ModelCard]) -> tuple[dict[str, str], list[str]]:
    """Find which versions were trained on which images, as far as manifests and cards tell.

    Args:
        checked: manifests with splits, looked at; one whose digest is on a card is what that version was trained on.
        cards: of the registry.

    Returns:
        The versions by the SHA-256 of an image's pixels, for the images of train and validation (thresholds are chosen
        on that), of an ensemble those of any member; and those versions whose training data is not known, or not all of
        it, since no manifest has a digest on their card.
    """
    learned = {one.digest: _learned(one) for one in checked}
    found: defaultdict[str, list[str]] = defaultdict(list)
    unknown = []
    for card in sorted(cards, key=lambda card: (card.name, card.version)):
        name = f"{card.name} {card.version}"
        images = [learned.get(str(made.get("data_digest"))) for made in card.trainings]
        if None in images:
            unknown.append(name)
        for pixels in set().union(*filter(None, images)):
            found[pixels].append(name)
    return {pixels: ", ".join(names) for pixels, names in found.items()}, unknown


def _learned(checked: Checked) -> set[str]:
    splits = (Split.TRAIN, Split.VALIDATION)
    return {checked.prints[line].pixels_sha256 for line, row in checked.sound.items() if row.split in splits}
