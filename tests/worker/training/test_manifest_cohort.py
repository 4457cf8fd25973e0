"""A manifest's lesions as a cohort: what its digest does not tell apart is learned from alike."""

from pathlib import Path

import numpy as np
import pytest

from tests.worker.dataset.manifests import checked, cohort, row
from tests.worker.training.small import config
from worker.dataset.manifest import ManifestRow, Split
from worker.training.cohort import Cohort
from worker.training.manifest_cohort import manifest_cohort
from worker.training.manifest_rows import Reading


def rows_of(folder: Path) -> list[ManifestRow]:
    """Two images of each lesion, and one image with two lesions."""
    two = row(image="0-0.png", patient_key="P0", lesion_id="L0", pathology="malignant", birads="5", site="A")
    return [one.model_copy(update={"split": Split.TRAIN}) for one in (*cohort(folder, 5), two)]


def read(folder: Path, rows: list[ManifestRow]) -> Cohort:
    found = checked(folder, rows)
    assert found.faults == ()
    return manifest_cohort(found, config(), lambda _done, _total: None)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rows_in_another_order_and_another_folder_are_the_same_cohort(tmp_path: Path, seed: int) -> None:
    rows = rows_of(tmp_path / "here")
    first = read(tmp_path / "here", rows)
    again = [rows_of(tmp_path / "there" / "moved")[at] for at in np.random.default_rng(seed).permutation(len(rows))]
    moved = [one.model_copy(update={"image": f"moved/{one.image}"}) for one in again]
    other = read(tmp_path / "there", moved)
    assert (other.digest, other.rows) == (first.digest, first.rows)
    assert (other.pixels == first.pixels).all()


def test_each_image_of_a_lesion_has_the_category_and_the_site_that_a_row_of_it_names(tmp_path: Path) -> None:
    rows = [one.model_copy(update={"split": Split.TRAIN, "site": "A"}) for one in cohort(tmp_path, 3)]
    rows[0] = rows[0].model_copy(update={"birads": None, "site": None})
    found = read(tmp_path, rows)
    assert {(one.birads, one.site) for one in found.rows if one.patient_key == "P0"} == {(rows[1].birads, "A")}


def test_a_lesion_that_is_measured_has_them_too(tmp_path: Path) -> None:
    rows = [one.model_copy(update={"site": "A"}) for one in cohort(tmp_path, 3)]
    rows[0] = rows[0].model_copy(update={"birads": None, "site": None})
    [first, *_] = Reading(checked(tmp_path, rows).manifest, Split.TEST).lesions(lambda _done, _total: None)
    assert (first.rows[0].birads, first.rows[0].site, first.images[0].scanner.site) == (rows[1].birads, "A", "A")
