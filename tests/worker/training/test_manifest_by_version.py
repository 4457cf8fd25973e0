"""A manifest's lesions, scored by any version: with age as the service does, or by the image alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.worker.dataset.manifests import cohort
from tests.worker.inference.samples import registry_with_both, write_image_stage, write_model
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.evaluation import evaluate
from worker.evaluation.evaluation_options import ChosenBy, Options
from worker.inference.preprocess import preprocess
from worker.inference.registry import Registry
from worker.inference.runner import probabilities
from worker.inference.weights import load_network
from worker.training.manifest_by_version import score_versions
from worker.training.manifest_comparison import Match, compare_on_manifest
from worker.training.manifest_rows import IMAGE_ONLY, NOT_ITS_THRESHOLD, image_of
from worker.training.manifest_scoring import ScoredManifest, score_manifest

pytestmark = pytest.mark.slow

IMAGE, AGE = "DLR_BM/image", "DLR_BM/2.0"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """Both models are active in 1.0; DLR_BM has another version, and one of the image stage alone."""
    folder = tmp_path_factory.mktemp("models")
    registry = registry_with_both(folder)
    registry.add(*write_model(folder / "2", 2, version="2.0", temperature=2.0))
    registry.add(*write_image_stage(folder / "image", 3, version="image", threshold=0.3))
    return registry


def nobody_told(_done: int, _total: int) -> None:
    pass


def scored(
    registry: Registry, root: Path, rows: list[ManifestRow], *versions: str, image_only: bool = True
) -> ScoredManifest:
    entries = [entry for version in versions for entry in registry.named(version)]
    manifest = Manifest(root, dict(enumerate(rows, start=2)))
    return score_versions(manifest, Split.TEST, entries, nobody_told, image_only=image_only)


def without_ages(rows: list[ManifestRow]) -> list[ManifestRow]:
    return [one.model_copy(update={"age_years": None}) for one in rows]


def fc2(registry: Registry, version: str, root: Path, row: ManifestRow) -> float:
    """What FC2 says of a row, straight from the network."""
    [entry] = registry.named(version)
    network = load_network(entry.card, entry.weights_paths[0], torch.device("cpu"))
    image = image_of(root, row, needs_age=False)
    pixels = preprocess(image.frame, image.region, entry.card.preprocessing)
    logits = network.image_logits(torch.from_numpy(pixels[np.newaxis])).numpy() / entry.card.temperature
    return float(probabilities(logits)[0, 1])


def test_with_age_any_version_scores_as_it_would_in_service(registry: Registry, tmp_path: Path) -> None:
    rows = cohort(tmp_path, 4)
    manifest = Manifest(tmp_path, dict(enumerate(rows, start=2)))
    served = score_manifest(manifest, Split.TEST, registry.active("DLR_BM").folder.parents[1], nobody_told).material
    found = scored(registry, tmp_path, rows, "1.0", image_only=False).material
    assert set(found.scorers) == set(served.scorers)
    assert [set(pair) for pair in map(vars_of, found.pairs)] == [set(pair) for pair in map(vars_of, served.pairs)]
    for one, other in zip(found.lesions, served.lesions, strict=True):
        assert (one.lesion_id, one.images, one.age_years) == (other.lesion_id, other.images, other.age_years)
        for scorer, score in one.scores.items():
            assert score == pytest.approx(other.scores[scorer], abs=1e-4)


def vars_of(pair: object) -> tuple[object, ...]:
    return tuple(getattr(pair, name) for name in ("lh", "bm"))


def test_by_the_image_alone_a_lesion_has_fc2s_score_with_an_age_or_without(registry: Registry, tmp_path: Path) -> None:
    rows = cohort(tmp_path, 3, views=1)
    with_ages, without = (scored(registry, tmp_path, some, AGE, IMAGE) for some in (rows, without_ages(rows)))
    assert [one.scores for one in with_ages.material.lesions] == [one.scores for one in without.material.lesions]
    assert {one.age_years for one in without.material.lesions} == {None}
    for row, lesion in zip(rows, without.material.lesions, strict=True):
        for scorer, score in lesion.scores.items():
            assert score == pytest.approx(fc2(registry, f"DLR_BM/{scorer.version}", tmp_path, row), abs=1e-5)


def test_the_document_says_so_and_advises_nothing_and_takes_no_threshold_of_another_score(
    registry: Registry, tmp_path: Path
) -> None:
    rows = without_ages(cohort(tmp_path, 12, views=1))
    material = scored(registry, tmp_path, rows, "DLR_LH/1.0", "DLR_BM/1.0", IMAGE).material
    assert material.pairs == ()
    assert {one.name: one.threshold for one in material.scorers} == {
        "DLR_LH 1.0": None, "DLR_BM 1.0": None, "DLR_BM image": 0.3
    }  # fmt: skip
    found = evaluate(material, Options(None, None, resamples=0))
    assert found.restratifications == ()
    for name in ("DLR_LH 1.0", "DLR_BM 1.0", "DLR_BM image"):
        assert IMAGE_ONLY.format(name=name) in found.notices
    chosen = {one.version: one.operating_points[0].chosen_by for one in found.questions[0].judged}
    assert chosen == {"1.0": ChosenBy.YOUDEN, "image": ChosenBy.CARD}


def test_with_age_a_row_without_one_is_left_out_and_an_image_stage_is_refused(
    registry: Registry, tmp_path: Path
) -> None:
    rows = cohort(tmp_path, 3, views=1)
    found = scored(registry, tmp_path, [*rows[:2], *without_ages(rows[2:])], AGE, image_only=False).material
    assert (len(found.lesions), found.left_out["rows: age_missing"]) == (2, 1)
    with pytest.raises(ModelRefused) as refused:
        scored(registry, tmp_path, rows, IMAGE, image_only=False)
    assert refused.value.code is Code.MODEL_IMAGE_ONLY
    with pytest.raises(SetupRefused) as none:
        scored(registry, tmp_path, without_ages(rows), AGE, image_only=False)
    assert none.value.code is Code.LESIONS_TOO_FEW


def test_an_image_that_a_scored_lesion_was_scored_without_is_counted(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "registry")
    registry.add(*write_model(tmp_path / "fragile", pixel_mean=[0.0] * 3, pixel_std=[1e-39] * 3))
    rows = cohort(tmp_path, 1, views=2)
    dark = np.random.default_rng(1).integers(0, 2, (48, 64), np.uint8)
    Image.fromarray(dark).save(tmp_path / rows[0].image)
    found = scored(registry, tmp_path, rows, "1.0", image_only=False).material
    assert [one.images for one in found.lesions] == [1]
    assert {reason: count for reason, count in found.left_out.items() if count} == {
        "rows: scores_not_finite by DLR_BM 1.0": 1
    }


def test_two_versions_are_compared_by_the_image_alone_without_any_advice(registry: Registry, tmp_path: Path) -> None:
    rows = without_ages(cohort(tmp_path, 4, views=1))
    [a], [b] = registry.named(AGE), registry.named(IMAGE)
    manifest = Manifest(tmp_path, dict(enumerate(rows, start=2)))
    found = compare_on_manifest(manifest, Split.TEST, [Match(a, b, None)], nobody_told, image_only=True)
    [compared] = found.compared
    assert [one.other_positive for one in compared.lesions] == [None] * 4
    for row, lesion in zip(rows, compared.lesions, strict=True):
        assert lesion.a_probability == pytest.approx(fc2(registry, AGE, tmp_path, row), abs=1e-5)
        assert lesion.b_probability == pytest.approx(fc2(registry, IMAGE, tmp_path, row), abs=1e-5)
    assert IMAGE_ONLY.format(name="DLR_BM image") in found.notices
    assert NOT_ITS_THRESHOLD.format(name="DLR_BM 2.0") in found.notices
    assert NOT_ITS_THRESHOLD.format(name="DLR_BM image") not in found.notices
