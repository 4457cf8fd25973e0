"""Pictures of where the models looked in a manifest's lesions, for the report of an evaluation."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from tests.end_to_end.small_models import NOTICE, add_small_models
from tests.shared import made_once
from tests.worker.dataset.manifests import cohort
from worker.dataset.manifest import Manifest, Split
from worker.errors import Code, ModelRefused
from worker.evaluation.examples import Example, Shown, Threshold, Why
from worker.evaluation.lesions import JudgedLesion
from worker.training.heat_maps import IMAGES, look_at
from worker.training.manifest_scoring import ScoredManifest, score_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models() -> Path:
    return made_once("small models", add_small_models)


def scored(root: Path, models: Path, views: int) -> ScoredManifest:
    rows = cohort(root, 2, views=views)
    return score_manifest(Manifest(root, dict(enumerate(rows, start=2))), Split.TEST, models, lambda *_: None)


def example(lesion: JudgedLesion) -> Example:
    return Example(lesion, Why.RIGHT, tuple(Threshold(one, 0.25) for one in lesion.scores))


def shown(material: ScoredManifest, models: Path, *lesions: JudgedLesion) -> tuple[Shown, ...]:
    told: list[tuple[int, int]] = []
    found = look_at(
        [example(one) for one in lesions], material.rows, material.root, models, lambda *at: told.append(at)
    )
    assert told == [(done, len(lesions)) for done in range(1, len(lesions) + 1)]
    return found


def test_each_lesion_is_shown_by_each_model_with_its_score_and_its_notice(tmp_path: Path, models: Path) -> None:
    found = scored(tmp_path, models, views=1)
    first, second = shown(found, models, *found.material.lesions)
    assert [one.example.lesion for one in (first, second)] == list(found.material.lesions)
    for one in (first, second):
        by_model = {picture.caption.split()[0]: picture for picture in one.pictures}
        assert set(by_model) == {"DLR_LH", "DLR_BM"}
        for scorer, score in one.example.lesion.scores.items():
            said = by_model[scorer.model].caption
            positive = {"DLR_LH": "high risk", "DLR_BM": "malignant"}[scorer.model]
            assert said.startswith(f"{scorer.model} test-1: {positive} {score:.3f}, from 0.25 on. 2 x 2 cells.")
            assert said.endswith(f" Notice: {NOTICE}.")
            assert Image.open(BytesIO(by_model[scorer.model].png)).format == "PNG"
    assert first.pictures[0].png != second.pictures[0].png


def test_of_a_lesion_with_many_images_some_are_shown_each_with_its_own_score(tmp_path: Path, models: Path) -> None:
    found = scored(tmp_path, models, views=IMAGES + 1)
    [one] = shown(found, models, found.material.lesions[0])
    assert len(one.pictures) == 2 * IMAGES
    assert one.notes == (f"Of its {IMAGES + 1} images {IMAGES} are shown.",)
    captions = [picture.caption for picture in one.pictures]
    assert [place for place in range(1, 9) if any(f", image {place} of 4:" in said for said in captions)] == [1, 2, 3]
    assert len(set(captions)) == len(captions)


def test_an_image_that_went_meanwhile_is_said_to_be_gone(tmp_path: Path, models: Path) -> None:
    found = scored(tmp_path, models, views=2)
    (tmp_path / "0-0.png").unlink()
    [one] = shown(found, models, found.material.lesions[0])
    assert one.notes == ("There is no picture of image 1 of 2: file_not_found.",)
    assert all("image 2 of 2" in picture.caption for picture in one.pictures)
    assert len(one.pictures) == 2


def test_a_version_that_went_meanwhile_is_refused(tmp_path: Path, models: Path) -> None:
    found = scored(tmp_path, models, views=1)
    with pytest.raises(ModelRefused) as refusal:
        shown(found, tmp_path / "none", found.material.lesions[0])
    assert refusal.value.code is Code.MODEL_NOT_FOUND
