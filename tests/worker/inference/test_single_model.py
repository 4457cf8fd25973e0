"""One version by itself scores as the engine does, and says which lesion it cannot score."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from db.schema.vocabulary import AgeSource, RegionSource
from tests.worker.inference.samples import registry_with_both
from worker.clinical.categories import Priority
from worker.errors import Code, LesionRefused, ModelRefused
from worker.inference.loading import load_engine
from worker.inference.single_model import SingleModel
from worker.study import Age, LesionImage, Roi, Scanner

CPU = torch.device("cpu")


def lesion(seed: int, age: float = 50.0, *, colour: bool = False) -> LesionImage:
    rng = np.random.default_rng(seed)
    frame = rng.integers(0, 256, (60, 80, 3) if colour else (60, 80), np.uint8)
    return LesionImage(frame, Roi(10, 8, 30, 25), RegionSource.JOB, Age(age, AgeSource.JOB))


def test_its_scores_are_the_engines(tmp_path: Path) -> None:
    changes = {"channels": "rgb", "temperature": 2.5, "age_mean": 60.0, "age_sd": 3.0, "threshold": 0.0}
    registry = registry_with_both(tmp_path, **changes)
    engine = load_engine(tmp_path / "registry", "cpu", batch_max=2, wait_ms=1)
    lh, bm = (SingleModel(registry.active(name), CPU) for name in ("DLR_LH", "DLR_BM"))
    for seed in range(3):
        image = lesion(seed, 30.0 + seed, colour=seed == 1)
        served = engine.submit([image], Priority.ROUTINE).result()
        for answer, theirs, alone in (
            (lh.score([image]), served.lh, served.images[0].lh),
            (bm.score([image]), served.bm, served.images[0].bm),
        ):
            mine = answer.score
            assert answer.images == (pytest.approx(alone, abs=1e-4),)
            assert mine.positive_probability == pytest.approx(theirs.positive_probability, abs=1e-4)
            assert (mine.model, mine.version, mine.threshold) == (theirs.model, theirs.version, theirs.threshold)
            assert mine.positive == (mine.positive_probability >= mine.threshold)
    engine.close(5.0)


def test_service_shadow_and_backfill_use_a_sites_own_threshold_and_say_so(tmp_path: Path) -> None:
    own = {"threshold": 0.05, "temperature": 3.0, "lesions": 40, "positives": 12}
    registry = registry_with_both(tmp_path, threshold=0.95, sites={"North": own})
    engine = load_engine(tmp_path / "registry", "cpu", batch_max=2, wait_ms=1)
    model = SingleModel(registry.active("DLR_BM"), CPU)
    nowhere = lesion(1)
    north, south = (replace(nowhere, scanner=Scanner(site=site)) for site in ("North", "South"))
    for images, threshold in (
        ([nowhere], 0.95), ([south], 0.95), ([north], 0.05), ([nowhere, north], 0.05), ([north, south, south], 0.05),
    ):  # fmt: skip
        served, alone = engine.submit(images, Priority.ROUTINE).result(), model.score(images)
        assert (served.bm.threshold, served.lh.threshold, alone.score.threshold) == (threshold, threshold, threshold)
        assert alone.score.positive_probability == pytest.approx(served.bm.positive_probability, abs=1e-4)
        assert alone.images == tuple(pytest.approx(one.bm, abs=1e-4) for one in served.scored_images)
        assert served.bm.positive is (threshold == 0.05), "of a blurred network each score is in between"
    engine.close(5.0)


def test_a_lesion_without_a_finite_age_is_refused(tmp_path: Path) -> None:
    model = SingleModel(registry_with_both(tmp_path).active("DLR_BM"), CPU)
    with pytest.raises(LesionRefused) as refused:
        model.score([lesion(1, float("nan"))])
    assert refused.value.code is Code.SCORES_NOT_FINITE
    assert 0 <= model.score([lesion(1)]).score.positive_probability <= 1


def test_weights_that_changed_since_are_refused(tmp_path: Path) -> None:
    entry = registry_with_both(tmp_path).active("DLR_BM")
    entry.weights_paths[0].write_bytes(b"other")
    with pytest.raises(ModelRefused) as refused:
        SingleModel(entry, CPU)
    assert refused.value.code is Code.WEIGHTS_HASH_MISMATCH


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_scores_as_the_processor_does(tmp_path: Path) -> None:
    entry = registry_with_both(tmp_path).active("DLR_BM")
    here, there = SingleModel(entry, CPU), SingleModel(entry, torch.device("cuda"))
    for seed in range(3):
        image = lesion(seed)
        scores = [one.score([image]).score.positive_probability for one in (here, there)]
        assert scores[0] == pytest.approx(scores[1], abs=1e-4)
