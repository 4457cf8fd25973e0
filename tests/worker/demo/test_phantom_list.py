"""The demo's list of phantoms: scored once, and cancers among them are read sooner under the default."""

from pathlib import Path

import pytest

from tests.worker.inference.samples import registry_with_both
from worker.clinical.reading_order.policy import DEFAULT, built_in
from worker.demo import phantom_list
from worker.demo.phantom_list import phantoms_waiting, scored_phantoms, sentences
from worker.errors import ModelRefused
from worker.evaluation.evaluation_options import Options
from worker.evaluation.scores_file import read_scores
from worker.inference.model_card import MODEL_NAMES
from worker.inference.registry import Registry
from worker.training.config import DEMO_SEED
from worker.training.demo_models import make_demo_models
from worker.waiting_times.cohort import ARRIVAL, judged_cohort
from worker.waiting_times.comparison import Estimate
from worker.waiting_times.document import WaitingTimes, waiting_times
from worker.waiting_times.setting import Setting, Workload

TABLE = Path(__file__).with_name("phantoms.csv")
"""What `phantoms_waiting` kept with models of `dlr demo-models`, whose thresholds these are."""
THRESHOLDS = Options(lh_threshold=0.6903, bm_threshold=0.4129)
RADIOLOGIST = Path(__file__).parents[3] / "docs" / "radiologist.md"


def sooner(found: WaitingTimes) -> Estimate:
    """How much longer cancers wait under the default than as they arrive, in the mean: minutes."""
    [one] = [one for one in found.differences if (one.first, one.second) == (DEFAULT, ARRIVAL)]
    return one.figures.cancers_mean


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phantom_list, "PHANTOMS", 30)
    monkeypatch.setattr(phantom_list, "DAYS", 2)
    monkeypatch.setattr(phantom_list, "RESAMPLES", 3)


@pytest.fixture(scope="module")
def of_the_demo() -> WaitingTimes:
    read = read_scores(TABLE)
    cohort = judged_cohort(read.material, read.unscored, THRESHOLDS)
    setting = Setting(Workload(), phantom_list.DAYS, None, phantom_list.RESAMPLES, DEMO_SEED)
    return waiting_times(cohort, built_in(DEFAULT), setting)


def test_cancers_of_the_demo_s_cohort_wait_less_under_the_default_than_as_they_arrive(
    of_the_demo: WaitingTimes,
) -> None:
    assert of_the_demo.cohort.studies == phantom_list.PHANTOMS
    wait = sooner(of_the_demo)
    assert wait.high is not None
    assert wait.high < 0


def test_radiologists_are_told_what_it_found(of_the_demo: WaitingTimes) -> None:
    default, arrival, wait = of_the_demo.orders[DEFAULT], of_the_demo.orders[ARRIVAL], sooner(of_the_demo)
    cohort = of_the_demo.cohort
    assert None not in (wait.low, wait.high)
    said = [
        f"cancers wait {default.cancers_mean.value:.1f} minutes in the mean",
        f"and {arrival.cancers_mean.value:.1f} if studies are read as they arrive",
        f"{-wait.value:.1f} minutes less (95 % interval: {-wait.high:.1f} to {-wait.low:.1f})",  # type: ignore[operator]
        f"All other studies wait {default.others_mean.value - arrival.others_mean.value:.1f} minutes more",
        f"{100 * default.first_tenth.value:.0f} % of the cancers stand in the first tenth",
        f"Of these lesions {100 * cohort.cancers / cohort.studies:.0f} % are cancers",
    ]
    page = " ".join(RADIOLOGIST.read_text("utf-8").split())
    assert [sentence for sentence in said if sentence not in page] == []


def test_phantoms_are_scored_by_the_active_models_and_their_scores_are_kept(few: None, tmp_path: Path) -> None:
    registry_with_both(tmp_path / "models")
    models = tmp_path / "models" / "registry"
    found = phantoms_waiting(models, tmp_path, 1)
    [kept] = tmp_path.glob("phantoms-1-*.csv")
    assert kept.read_bytes() == scored_phantoms(models, 1)
    read = read_scores(kept)
    assert (len(read.material.lesions), read.unscored, read.bad) == (30, (), ())
    assert len({lesion.study for lesion in read.material.lesions}) == 30
    stamp = kept.stat().st_mtime_ns
    again = phantoms_waiting(models, tmp_path, 1)
    assert again.orders == found.orders
    assert kept.stat().st_mtime_ns == stamp


def test_it_is_said_in_two_sentences_with_what_they_are_worth(few: None, tmp_path: Path) -> None:
    registry_with_both(tmp_path / "models")
    found = phantoms_waiting(tmp_path / "models" / "registry", tmp_path, 1)
    first, second = sentences(found)
    assert first.startswith("Simulated reading of phantoms, which says nothing of any hospital: 30 studies, ")
    assert "under suspicion/2; difference, with its 95 % interval: " in second


def test_without_models_there_is_nothing_to_list(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused):
        phantoms_waiting(tmp_path, tmp_path, 1)


@pytest.mark.long
def test_so_it_is_with_demo_models_that_are_trained_now(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    make_demo_models(registry, on_progress=lambda _what, _share: None)
    assert {registry.active(name).card.name for name in MODEL_NAMES} == set(MODEL_NAMES)
    wait = sooner(phantoms_waiting(tmp_path, tmp_path, DEMO_SEED))
    assert wait.high is not None
    assert wait.high < 0
