"""A manifest's lesions get the scores of versions that are not in service, and both versions see the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.special import logit

from tests.worker.dataset.manifests import cohort, row, save_picture
from tests.worker.inference.samples import write_model
from worker.clinical.categories import Birads, Priority
from worker.dataset.manifest import Fault, Manifest, ManifestRow, Split
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.caveats import NAMES
from worker.inference.loading import load_engine
from worker.inference.registry import Registry
from worker.study import Score, Scores
from worker.training.labels import LabelRule
from worker.training.manifest_comparison import (
    ADVISED_WITH,
    NO_SPLITS,
    Compared,
    ComparedManifest,
    Match,
    compare_on_manifest,
)
from worker.training.manifest_rows import OTHER_RULE, SEVERAL_IMAGES, image_of

pytestmark = pytest.mark.slow

SURE = {"coverage": 0.5, "quantile": 0.6, "lesions": 20}
OTHERWISE = {
    "input_size": 48, "channels": "rgb", "resize": "stretch", "roi_margin": 0.5, "age_mean": 60.0, "threshold": 0.3,
    "temperature": 2.5, "conformal": SURE, "aggregation": "logit_mean",
}  # fmt: skip
ADVISED = ADVISED_WITH.format(model="DLR_BM", other="DLR_LH 1.0")
FRAGILE = {"pixel_mean": [0.0] * 3, "pixel_std": [1e-39] * 3}
"""Bright pixels are more than a float32 holds on the scale of such a card, so their scores are not finite."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """DLR_LH 1.0 is active; of DLR_BM none is."""
    folder = tmp_path_factory.mktemp("models")
    registry = Registry(folder / "registry")
    rule = str(LabelRule("DLR_LH", "birads", Birads.LOW_SUSPICION))
    added = {
        ("DLR_LH", "1.0"): {"conformal": SURE},
        ("DLR_LH", "2.0"): {"training": {"label_rule": rule}},
        ("DLR_BM", "1.0"): {},
        ("DLR_BM", "2.0"): OTHERWISE,
        ("DLR_BM", "fragile"): FRAGILE,
    }
    for seed, ((name, version), changes) in enumerate(added.items()):
        registry.add(*write_model(folder / name / version, seed, name=name, version=version, **changes))
    registry.activate("DLR_LH", "1.0")
    return registry


def match(registry: Registry, a: str, b: str, other: str = "DLR_LH/1.0") -> Match:
    return Match(*(registry.named(one)[0] for one in (a, b, other)))


def everything(root: Path, matched: Match, *rows: ManifestRow, split: Split = Split.TEST) -> ComparedManifest:
    told: list[tuple[int, int]] = []
    manifest = Manifest(root, dict(enumerate(rows, start=2)))
    found = compare_on_manifest(manifest, split, [matched], lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    return found


def compared(root: Path, matched: Match, *rows: ManifestRow, split: Split = Split.TEST) -> Compared:
    [found] = everything(root, matched, *rows, split=split).compared
    return found


def served(registry: Registry, root: Path, bm: str, one: ManifestRow) -> Scores:
    """What the service says of a row with a version in service."""
    registry.activate("DLR_BM", bm)
    engine = load_engine(registry.active("DLR_BM").folder.parents[1], "cpu", None, 0)
    scores = engine.submit([image_of(root, one)], Priority.ROUTINE).result()
    engine.close()
    return scores


def test_each_version_scores_as_the_service_would_with_its_own_card(tmp_path: Path, registry: Registry) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    only = row(pathology="malignant")
    [lesion] = compared(tmp_path, match(registry, "DLR_BM/1.0", "DLR_BM/2.0"), only).lesions
    a, b = (served(registry, tmp_path, version, only) for version in ("1.0", "2.0"))

    def said(score: Score) -> tuple[object, ...]:
        return pytest.approx(score.positive_probability, abs=1e-4), score.threshold, score.conformal_set

    assert (lesion.a_probability, lesion.a_threshold, lesion.a_set) == said(a.bm)
    assert (lesion.b_probability, lesion.b_threshold, lesion.b_set) == said(b.bm)
    assert abs(a.bm.positive_probability - b.bm.positive_probability) > 1e-3
    assert (lesion.other_positive, lesion.other_set) == (b.lh.positive, b.lh.conformal_set)
    assert (lesion.b_set is None, lesion.other_set is None) == (False, False)
    assert (lesion.study_id, lesion.lesion_id, lesion.birads, lesion.malignant) == (None, "L1", "4A", True)


def test_several_images_of_a_lesion_are_one_lesion_with_one_score_as_each_card_says(
    tmp_path: Path, registry: Registry
) -> None:
    versions, rows = match(registry, "DLR_BM/1.0", "DLR_BM/2.0"), cohort(tmp_path, 2, views=2)
    found = everything(tmp_path, versions, *rows)
    assert [one.lesion_id for one in found.compared[0].lesions] == ["P0/L1", "P1/L1"]
    how = "DLR_BM 1.0 by mean, DLR_BM 2.0 by logit mean, DLR_LH 1.0 by mean"
    assert found.notices == (ADVISED, NO_SPLITS, SEVERAL_IMAGES.format(how=how), NAMES)
    apart = [one.model_copy(update={"lesion_id": f"L{place}"}) for place, one in enumerate(rows[:2])]
    first, second = compared(tmp_path, versions, *apart).lesions
    together = found.compared[0].lesions[0]
    assert together.a_probability == pytest.approx((first.a_probability + second.a_probability) / 2, abs=1e-6)
    # A temperature divides logits, and so their mean too: the order of the two makes no difference to it.
    assert logit(together.b_probability) == pytest.approx(
        (logit(first.b_probability) + logit(second.b_probability)) / 2, abs=1e-5
    )


def test_what_one_version_can_not_score_is_left_out_for_both_and_counted(tmp_path: Path, registry: Registry) -> None:
    Image.fromarray(np.random.default_rng(1).integers(0, 2, (48, 64), np.uint8)).save(tmp_path / "1.png")
    for name in ("2", "3"):
        save_picture(tmp_path / f"{name}.png", seed=int(name))
    versions = match(registry, "DLR_BM/1.0", "DLR_BM/fragile")
    sound, bright = row(), row(image="2.png")
    alone = compared(tmp_path, versions, sound).lesions
    found = everything(tmp_path, versions, sound, bright, row(image="3.png", lesion_id="L2"),
                       row(image="gone.png", lesion_id="L3"))  # fmt: skip
    [only] = found.compared
    assert only.lesions == alone, "of two images both versions have the one that both can score"
    assert (only.coverage.lesions, only.coverage.a, only.coverage.b, only.coverage.both) == (3, 2, 1, 1)
    assert found.left_out["rows: scores_not_finite by DLR_BM fragile"] == 2
    assert found.left_out["rows: file_not_found"] == 1
    with pytest.raises(SetupRefused) as none:
        compared(tmp_path, versions, bright)
    assert none.value.code is Code.LESIONS_TOO_FEW
    assert "1 scores_not_finite by DLR_BM fragile" in none.value.reason


def test_the_rows_of_one_split_are_scored_and_the_others_counted(tmp_path: Path, registry: Registry) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    versions = match(registry, "DLR_BM/1.0", "DLR_BM/2.0")
    rows = [*(row(lesion_id=split.value, split=split) for split in Split), row(excluded="poor_image", lesion_id="L5")]
    for split in (Split.TEST, Split.EXTERNAL):
        found = everything(tmp_path, versions, *rows, split=split)
        assert [one.lesion_id for one in found.compared[0].lesions] == [split.value]
        assert found.compared[0].coverage.lesions == 1
        assert found.notices == (ADVISED, NAMES)
        assert {reason: count for reason, count in found.left_out.items() if count} == {
            "rows that are excluded": 1, "rows of splits that are not scored": 3,
        }  # fmt: skip
    with pytest.raises(SetupRefused) as none:
        compared(tmp_path, versions, *rows[:2])
    assert (none.value.code, "split test" in none.value.reason) == (Code.LESIONS_TOO_FEW, True)


def test_both_models_are_compared_in_one_reading_each_with_the_other(tmp_path: Path, registry: Registry) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    matches = [
        match(registry, "DLR_LH/1.0", "DLR_LH/2.0", "DLR_BM/2.0"),
        match(registry, "DLR_BM/1.0", "DLR_BM/2.0", "DLR_LH/2.0"),
    ]
    manifest = Manifest(tmp_path, {2: row()}, (Fault(3, Code.ROW_INVALID, "bad"),))
    found = compare_on_manifest(manifest, Split.TEST, matches, lambda *_: None)
    [lh], [bm] = (one.lesions for one in found.compared)
    assert (lh.other_positive, bm.other_positive) == (bm.b_probability >= 0.3, lh.b_probability >= 0.5)
    assert (lh.a_set is None, lh.b_set is None, lh.other_set) == (False, True, bm.b_set)
    rule = OTHER_RULE.format(name="DLR_LH 2.0", rule="BI-RADS up to 4A is low risk, 4B and above is high risk")
    assert rule in found.notices
    assert found.left_out["rows that are bad"] == 1


def test_a_version_whose_weights_were_damaged_is_refused(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    registry = Registry(tmp_path / "registry")
    for name in ("DLR_LH", "DLR_BM"):
        registry.add(*write_model(tmp_path / name, name=name))
    registry.named("DLR_BM/1.0")[0].weights_paths[0].write_bytes(b"other")
    with pytest.raises(ModelRefused) as refused:
        compared(tmp_path, match(registry, "DLR_BM/1.0", "DLR_BM/1.0"), row())
    assert refused.value.code is Code.WEIGHTS_HASH_MISMATCH
