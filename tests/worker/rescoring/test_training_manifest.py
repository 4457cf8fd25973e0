"""Stored lesions as a manifest to train on: labelled by pathology and verdicts, by opaque keys, as they were scored."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest

from db.reads.labelled_lesions import labelled_study
from db.reads.verdicts import shown_advice
from db.schema.vocabulary import ReadingSource
from db.writes.pathology import PathologyRecord, find_lesions, record_pathology
from db.writes.verdicts import LesionVerdict, Reading, record_reading
from tests.worker.dataset import manifests
from tests.worker.inference.samples import sample_card
from tests.worker.rescoring.hospital import Hospital
from worker.dataset.check import check
from worker.dataset.importers.imported_dataset import Imported
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.dataset.manifest_file import read_manifest, write_manifest
from worker.dataset.manifest_image import read_lesion
from worker.errors import Code
from worker.inference.card_parts import InitialWeights
from worker.inference.ensemble_card import ensemble_card
from worker.rescoring.training_manifest import LedgerImporter, versions_by_pixels
from worker.scoring.worklist_place import place_studies

KEY = b"k" * 32


def importer(hospital: Hospital, folder: Path, **changes: object) -> LedgerImporter:
    made = LedgerImporter(hospital.sessions, hospital.rescorer.images, folder / "m-images", folder, KEY)
    return replace(made, **changes)  # type: ignore[arg-type]


def imported(hospital: Hospital, folder: Path, **changes: object) -> Imported:
    return importer(hospital, folder, **changes).run(None, lambda _done, _total: None)


def pathology(hospital: Hospital, study_id: UUID, *results: str) -> None:
    with hospital.sessions.begin() as session:
        found = sorted(find_lesions(session, [study_id]).values(), key=lambda one: one.ordinal)
        records = [
            PathologyRecord(one, result, None, date(2026, 3, 2)) for one, result in zip(found, results, strict=False)
        ]
        record_pathology(session, records, "me")


def verdict(hospital: Hospital, study_id: UUID, *finals: str) -> None:
    with hospital.sessions.begin() as session:
        place_studies(session, [study_id])
        found = sorted(find_lesions(session, [study_id]).values(), key=lambda one: one.ordinal)
        advice = [one.advice for one in shown_advice(session, [study_id]).values()]
        said = [
            LesionVerdict(one.key, None, final, "Doe, Jane: see A1") for one, final in zip(found, finals, strict=False)
        ]
        assert record_reading(session, Reading(uuid4(), study_id, "bea", ReadingSource.IMPORT, advice, said))


def by_lesion(rows: tuple[ManifestRow, ...]) -> Mapping[str, ManifestRow]:
    return {row.lesion_id: row for row in rows}


def test_a_lesion_is_labelled_by_pathology_and_else_by_its_final_category_if_that_is_asked_for(
    hospital: Hospital, tmp_path: Path
) -> None:
    first, second, third = hospital.scored(3), hospital.scored(3, seed=1), hospital.scored(seed=2)
    pathology(hospital, first, "benign", "malignant")
    verdict(hospital, first, "5", "3")
    verdict(hospital, second, "3", "6", "4B")
    wanted = {
        f"{first}-1": ("benign", "5", None),
        f"{first}-2": ("malignant", "3", None),
        f"{second}-1": (None, "3", "no_pathology"),
        f"{second}-2": (None, "6", "no_pathology"),
        f"{second}-3": (None, "4B", "no_pathology"),
    }
    rows = by_lesion(imported(hospital, tmp_path).rows)
    assert {name: (row.pathology, row.birads, row.excluded) for name, row in rows.items()} == wanted
    assert not [name for name in rows if str(third) in name]
    labelled = by_lesion(imported(hospital, tmp_path, label_from_verdicts=True).rows)
    assert {name: (row.pathology, row.excluded) for name, row in labelled.items()} == {
        f"{first}-1": ("benign", None),
        f"{first}-2": ("malignant", None),
        f"{second}-1": ("benign", None),
        f"{second}-2": ("malignant", None),
        f"{second}-3": (None, "no_pathology"),
    }


def test_a_lesion_is_read_from_the_manifest_as_it_was_scored(hospital: Hospital, tmp_path: Path) -> None:
    study_id = hospital.scored(2)
    pathology(hospital, study_id, "benign", "malignant")
    rows = imported(hospital, tmp_path).rows
    write_manifest(tmp_path / "m.csv", rows)
    manifest = read_manifest(tmp_path / "m.csv")
    assert tuple(manifest.rows.values()) == rows
    assert check(manifest).faults == ()
    with hospital.sessions() as session:
        study = labelled_study(session, study_id)
    assert study is not None
    frame = hospital.file_of(study_id)
    assert frame.exists()
    for row, lesion in zip(rows, study.lesions, strict=True):
        found = read_lesion(tmp_path, row)
        assert (found.region.x, found.region.y, found.region.width, found.region.height) == lesion.images[0].region
        assert found.age_years == pytest.approx(lesion.age_years)
        rng = np.random.default_rng(0)
        assert np.array_equal(found.frame, rng.integers(0, 256, (90, 120), np.uint8))


def test_no_identifier_is_in_the_manifest_nor_in_a_picture(hospital: Hospital, tmp_path: Path) -> None:
    study_id = hospital.scored()
    pathology(hospital, study_id, "benign")
    verdict(hospital, study_id, "3")
    write_manifest(tmp_path / "m.csv", imported(hospital, tmp_path).rows)
    pictures = list((tmp_path / "m-images").iterdir())
    written = (tmp_path / "m.csv").read_bytes() + b"".join(path.read_bytes() for path in pictures)
    uid = hospital.file_of(study_id).stem
    for identifier in ("Doe", "Jane", "P1,", "A1", uid, "19760214", "L0"):
        assert identifier.encode() not in written, identifier
        assert not [path for path in pictures if identifier in path.name]
    assert len(pictures) == 1
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "m.csv", *pictures)} == {0o600}


def test_a_patient_has_one_key_in_every_manifest_that_is_made_with_the_same_secret(
    hospital: Hospital, tmp_path: Path
) -> None:
    for seed in range(2):
        pathology(hospital, hospital.scored(seed=seed), "benign")
    keys = {row.patient_key for row in imported(hospital, tmp_path).rows}
    assert len(keys) == 1
    assert re.fullmatch(r"[0-9a-f]{32}", next(iter(keys)))
    other = tmp_path / "other"
    other.mkdir()
    assert {row.patient_key for row in imported(hospital, other).rows} == keys
    assert {row.patient_key for row in imported(hospital, other, key=b"x" * 32).rows} != keys


def test_a_lesion_whose_image_can_not_be_read_is_left_out_with_the_code(hospital: Hospital, tmp_path: Path) -> None:
    changed, gone = hospital.scored(), hospital.scored(seed=1)
    for study_id in (changed, gone):
        pathology(hospital, study_id, "benign")
    with hospital.file_of(changed).open("ab") as file:
        file.write(b"\0\0")
    hospital.file_of(gone).unlink()
    rows = by_lesion(imported(hospital, tmp_path).rows)
    assert rows[f"{changed}-1"].excluded in (Code.IMAGE_CHANGED, Code.FILE_TRUNCATED)
    assert rows[f"{gone}-1"].excluded == Code.FILE_NOT_FOUND
    assert list((tmp_path / "m-images").iterdir()) == []


def test_only_studies_since_a_time(hospital: Hospital, tmp_path: Path) -> None:
    pathology(hospital, hospital.scored(), "benign")
    later = datetime.now(UTC) + timedelta(days=1)
    assert importer(hospital, tmp_path).run(later, lambda _done, _total: None).rows == ()


def test_what_a_version_was_trained_on_is_marked_as_far_as_a_manifest_and_its_card_tell(
    hospital: Hospital, tmp_path: Path
) -> None:
    studies = [hospital.scored(seed=seed) for seed in range(3)]
    for study_id, result in zip(studies, ("benign", "malignant", "benign"), strict=True):
        pathology(hospital, study_id, result)
    rows = imported(hospital, tmp_path).rows
    splits = (Split.TRAIN, Split.VALIDATION, Split.TEST)
    apart = {
        line: row.model_copy(update={"split": split, "patient_key": f"p{line}"})
        for line, (row, split) in enumerate(zip(rows, splits, strict=True), start=2)
    }
    former = check(Manifest(tmp_path, apart))
    assert former.faults == ()
    cards = [
        sample_card(name="DLR_BM", version="7", training={"data_digest": former.digest}),
        sample_card(name="DLR_LH", version="8", training={"data_digest": "of other data"}),
    ]
    versions, unknown = versions_by_pixels([former], cards)
    assert unknown == ["DLR_LH 8"]
    marked = by_lesion(imported(hospital, tmp_path, trained_on=versions).rows)
    assert [marked[f"{study_id}-1"].trained_on for study_id in studies] == ["DLR_BM 7", "DLR_BM 7", None]


def test_a_version_has_learned_from_what_its_start_and_all_of_its_members_have(tmp_path: Path) -> None:
    names = ("one", "two", "three")
    learned = []
    for number, name in enumerate(names):
        manifests.save_picture(tmp_path / name / "1.png", seed=number)
        learned.append(
            manifests.checked(tmp_path / name, [manifests.row(image="1.png", split="train", patient_key=name)])
        )
    members = [
        sample_card(version=name, weights_sha256=f"{number:064x}", training={"data_digest": one.digest})
        for number, (name, one) in enumerate(zip(names, learned, strict=True))
    ]
    second_stage = members[1].model_copy(
        update={
            "initial_weights": (InitialWeights(weights_sha256="f" * 64, training={"data_digest": learned[0].digest}),)
        }
    )
    versions, unknown = versions_by_pixels(learned[:2], [second_stage])
    assert (len(versions), unknown) == (2, []), "it has learned from what its initial weights have"
    versions, unknown = versions_by_pixels(learned[1:2], [second_stage])
    assert (len(versions), unknown) == (1, ["DLR_BM two"])
    together = ensemble_card(members, "all")
    versions, unknown = versions_by_pixels(learned, [together])
    assert (set(versions.values()), len(versions), unknown) == ({"DLR_BM all"}, 3, [])
    versions, unknown = versions_by_pixels(learned[:2], [together])
    assert (len(versions), unknown) == (2, ["DLR_BM all"]), "what the third learned from is not known"
