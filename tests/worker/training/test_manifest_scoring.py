"""A manifest's lesions get the scores that the service gives them."""

from pathlib import Path

import pytest

from db.schema.vocabulary import AgeSource, RegionSource
from tests.end_to_end.small_models import NOTICE, add_small_models
from tests.shared import made_once
from tests.worker.dataset.manifests import cohort, row, save_picture
from tests.worker.inference.samples import registry_with_both, write_model
from worker.clinical.aggregation import AGGREGATIONS, Aggregation
from worker.clinical.categories import Birads, Priority
from worker.dataset.manifest import Manifest, ManifestRow, Split
from worker.dataset.manifest_image import read_lesion
from worker.errors import Code, ModelRefused, SetupRefused
from worker.evaluation.lesions import Material
from worker.inference.loading import load_engine
from worker.inference.registry import Registry
from worker.study import Age, LesionImage
from worker.training.labels import LabelRule
from worker.training.manifest_rows import OTHER_RULE, SEVERAL_IMAGES, image_of
from worker.training.manifest_scoring import ScoredManifest, score_manifest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models() -> Path:
    return made_once("small models", add_small_models)


def scored(root: Path, models: Path, *rows: ManifestRow, split: Split = Split.TEST) -> Material:
    return everything(root, models, *rows, split=split).material


def everything(root: Path, models: Path, *rows: ManifestRow, split: Split = Split.TEST) -> ScoredManifest:
    told: list[tuple[int, int]] = []
    manifest = Manifest(root, dict(enumerate(rows, start=2)))
    found = score_manifest(manifest, split, models, lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))
    return found


def test_a_row_gets_the_services_own_scores(tmp_path: Path, models: Path) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    only = row(pathology="malignant", site="A")
    [one] = scored(tmp_path, models, only).lesions
    engine = load_engine(models, "cpu", None, 0)
    read = read_lesion(tmp_path, only)
    image = LesionImage(read.frame, read.region, RegionSource.JOB, Age(47, AgeSource.JOB))
    expected = engine.submit([image], Priority.ROUTINE).result()
    engine.close()
    by_model = {scorer.model: score for scorer, score in one.scores.items()}
    assert by_model["DLR_LH"] == pytest.approx(expected.lh.positive_probability, abs=1e-4)
    assert by_model["DLR_BM"] == pytest.approx(expected.bm.positive_probability, abs=1e-4)
    assert {(scorer.version, scorer.threshold, scorer.notice) for scorer in one.scores} == {("test-1", 0.5, NOTICE)}
    assert (one.malignant, one.birads, one.age_years, one.patient, one.site) == (True, "4A", 47, "P1", "A")


def test_several_images_of_a_lesion_are_one_lesion_with_the_mean_of_their_scores(tmp_path: Path, models: Path) -> None:
    rows = cohort(tmp_path, 2, views=2)
    both = scored(tmp_path, models, *rows)
    assert [one.lesion_id for one in both.lesions] == ["P0/L1", "P1/L1"]
    assert both.notices == (SEVERAL_IMAGES.format(how="DLR_BM test-1 by mean, DLR_LH test-1 by mean"),)
    apart = [one.model_copy(update={"lesion_id": f"L{place}"}) for place, one in enumerate(rows[:2])]
    first, second = scored(tmp_path, models, *apart).lesions
    assert everything(tmp_path, models, *rows).rows == {"P0/L1": tuple(rows[:2]), "P1/L1": tuple(rows[2:])}
    for scorer, score in both.lesions[0].scores.items():
        assert score == pytest.approx((first.scores[scorer] + second.scores[scorer]) / 2, abs=1e-4)


@pytest.mark.parametrize("method", AGGREGATIONS)
def test_an_evaluation_says_of_a_lesion_what_the_service_says_in_any_batch_and_order(
    tmp_path: Path, method: Aggregation
) -> None:
    registry_with_both(tmp_path / "models", aggregation=method, temperature=2.5)
    registry = tmp_path / "models" / "registry"
    # Of one age, so that all images can be one lesion's too.
    rows = [one.model_copy(update={"age_years": 47.0}) for one in cohort(tmp_path, 4, views=3)]
    evaluated = scored(tmp_path, registry, *rows).lesions
    engine = load_engine(registry, "cpu", batch_max=4, wait_ms=500)
    images = [image_of(tmp_path, one) for one in rows]
    with engine.arriving():
        futures = [engine.submit(images[first : first + 3][::-1], Priority.ROUTINE) for first in range(0, 12, 3)]
        # One lesion on all images: more than go in one batch.
        all_of_them = engine.submit(images, Priority.STAT)
    for one, future in zip(evaluated, futures, strict=True):
        served = future.result()
        for scorer, score in one.scores.items():
            other = served.lh if scorer.model == "DLR_LH" else served.bm
            assert score == pytest.approx(other.positive_probability, abs=1e-4)
            alone = [image.lh if scorer.model == "DLR_LH" else image.bm for image in served.scored_images]
            assert one.image_scores[scorer] == pytest.approx(alone[::-1], abs=1e-4)
        assert one.images == 3
    in_one = scored(
        tmp_path, registry, *(one.model_copy(update={"patient_key": "P", "lesion_id": "L"}) for one in rows)
    )
    [together] = in_one.lesions
    by_model = {scorer.model: score for scorer, score in together.scores.items()}
    assert by_model["DLR_BM"] == pytest.approx(all_of_them.result().bm.positive_probability, abs=1e-4)
    engine.close()


def test_a_lesion_has_one_age_as_in_the_service_and_none_where_its_rows_are_of_two_years(
    tmp_path: Path, models: Path
) -> None:
    rows = cohort(tmp_path, 2, views=2)
    older = [rows[0], rows[1].model_copy(update={"age_years": rows[0].age_years + 0.75}), rows[2]]
    far = rows[3].model_copy(update={"age_years": rows[2].age_years + 1.5})
    found = scored(tmp_path, models, *older, far)
    [one] = found.lesions
    [same, _] = scored(tmp_path, models, *rows).lesions
    assert one.age_years == rows[0].age_years
    assert one.scores == pytest.approx(same.scores, abs=1e-4)
    assert found.left_out["rows: age_contradictory"] == 2


def test_a_lesion_with_fewer_images_than_a_card_asks_for_is_left_out_and_its_rows_are_counted(tmp_path: Path) -> None:
    registry_with_both(tmp_path / "models", min_images=2)
    rows = cohort(tmp_path, 3, views=2)
    (tmp_path / rows[0].image).unlink()
    found = everything(tmp_path, tmp_path / "models" / "registry", *rows)
    assert [one.lesion_id for one in found.material.lesions] == ["P1/L1", "P2/L1"]
    counted = {reason: count for reason, count in found.material.left_out.items() if count}
    assert counted == {"rows: file_not_found": 1, "rows: images_too_few": 1}


def test_a_label_rule_that_is_not_the_studys_is_told(tmp_path: Path) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    rules = {"DLR_LH": LabelRule("DLR_LH", "birads", Birads.LOW_SUSPICION), "DLR_BM": "pathology"}
    registry = Registry(tmp_path / "registry")
    for name, rule in rules.items():
        registry.add(*write_model(tmp_path / name, name=name, training={"label_rule": str(rule)}))
        registry.activate(name, "1.0")
    told = OTHER_RULE.format(name="DLR_LH 1.0", rule="BI-RADS up to 4A is low risk, 4B and above is high risk")
    assert scored(tmp_path, tmp_path / "registry", row()).notices == (told,)


def test_what_can_not_be_scored_is_counted_by_its_code(tmp_path: Path, models: Path) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    found = scored(
        tmp_path, models, row(), row(image="gone.png", lesion_id="L2"), row(age_years=None, lesion_id="L3"),
        row(excluded="poor_image", lesion_id="L4"),
    )  # fmt: skip
    assert len(found.lesions) == 1
    assert found.left_out == {
        "rows that are bad": 0, "rows that are excluded": 1, "rows of splits that are not scored": 0,
        "rows: file_not_found": 1, "rows: age_missing": 1,
    }  # fmt: skip


def test_what_was_learned_from_is_not_scored(tmp_path: Path, models: Path) -> None:
    save_picture(tmp_path / "1.png", seed=1)
    rows = [row(lesion_id=split.value, split=split) for split in Split]
    assert [one.lesion_id for one in scored(tmp_path, models, *rows).lesions] == ["validation", "test"]
    external = scored(tmp_path, models, *rows, split=Split.EXTERNAL)
    assert [one.lesion_id for one in external.lesions] == ["validation", "external"]
    assert external.left_out["rows of splits that are not scored"] == 2
    with pytest.raises(SetupRefused) as none:
        scored(tmp_path, models, *rows[:2], split=Split.EXTERNAL)
    assert (none.value.code, "split external" in none.value.reason) == (Code.LESIONS_TOO_FEW, True)


def test_without_a_row_or_a_model_there_is_nothing_to_say(tmp_path: Path, models: Path) -> None:
    with pytest.raises(SetupRefused) as none:
        scored(tmp_path, models, row(image="gone.png"))
    assert (none.value.code, "1 file_not_found" in none.value.reason) == (Code.LESIONS_TOO_FEW, True)
    with pytest.raises(ModelRefused) as inactive:
        scored(tmp_path, tmp_path / "none", row())
    assert inactive.value.code is Code.MODEL_NOT_ACTIVE
