"""A manifest's lesions as a cohort: what its digest does not tell apart is learned from alike."""

from pathlib import Path

import numpy as np
import pytest

from tests.worker.dataset.manifests import checked, cohort, row
from tests.worker.training.small import config
from worker.dataset.manifest import ManifestRow, Split
from worker.training.cohort import Cohort
from worker.training.manifest_cohort import manifest_cohort


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
