"""A version that is put into service is taken up while studies are scored, and no study is scored by two."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from db.errors import ModelConflict
from tests.waiting import until
from tests.worker.inference.samples import registry_with_both, write_model
from worker.clinical.categories import Priority
from worker.errors import Code, ModelRefused, Unavailable
from worker.inference import live_engine
from worker.inference.cpu import OpenVinoRunner
from worker.inference.engine import Engine
from worker.inference.live_engine import LiveEngine
from worker.inference.loading import load_engine
from worker.inference.model_card import ModelCard
from worker.inference.registry import Registry
from worker.inference.shares import Versions, place_of
from worker.outages.retry import retry_while_away
from worker.study import Age, AgeSource, LesionImage, RegionSource, Roi, Scores

pytestmark = pytest.mark.slow

SOON = 60.0
IMAGE = LesionImage(
    np.random.default_rng(0).integers(0, 256, (80, 90), dtype=np.uint8),
    Roi(5, 5, 40, 30),
    RegionSource.JOB,
    Age(47.0, AgeSource.JOB),
)

Cards = tuple[ModelCard, ModelCard]


class Worker:
    """What a worker has: a registry, a live engine, and the cards that it put on record."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.registry: Registry = registry_with_both(folder)
        self.on_record: list[Cards] = []
        self.refused_by_ledger: Exception | None = None
        self.loads = 0
        self.live = LiveEngine(self.registry, self.load, self.put_on_record)

    def load(self, versions: Versions) -> Engine:
        self.loads += 1
        return load_engine(self.folder / "registry", "cpu", 8, 0, versions=versions)

    def put_on_record(self, cards: Cards) -> None:
        if self.refused_by_ledger is not None:
            raise self.refused_by_ledger
        self.on_record.append(cards)

    def add(self, version: str, seed: int) -> None:
        self.registry.add(*write_model(self.folder / version, seed, version=version))

    def activate(self, version: str, seed: int) -> None:
        self.add(version, seed)
        self.registry.activate("DLR_BM", version)

    def study(self, lesions: int = 1, uid: str = "1.2.3") -> list[Scores]:
        with self.live.arriving(uid) as engine:
            futures = [engine.submit([IMAGE], Priority.ROUTINE) for _ in range(lesions)]
        return [future.result(SOON) for future in futures]


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    worker = Worker(tmp_path)
    yield worker
    worker.live.close()


def versions_of(scores: Sequence[Scores]) -> set[str]:
    return {score.bm.version for score in scores}


def test_a_version_that_is_activated_scores_the_next_study_and_one_that_is_returned_to_the_one_after(
    worker: Worker,
) -> None:
    (before,) = worker.study()
    worker.activate("2.0", seed=7)
    assert worker.live.take_up()
    (after,) = worker.study()
    assert (before.bm.version, after.bm.version, after.lh.version) == ("1.0", "2.0", "1.0")
    assert before.bm.positive_probability != after.bm.positive_probability
    assert before.lh.positive_probability == pytest.approx(after.lh.positive_probability, abs=1e-6)
    assert [cards[1].version for cards in worker.on_record] == ["2.0"]
    worker.registry.rollback("DLR_BM")
    assert worker.live.take_up()
    (again,) = worker.study()
    assert again.bm == before.bm


def test_a_study_that_has_begun_keeps_its_versions_for_all_of_its_lesions(worker: Worker) -> None:
    with worker.live.arriving("1.2.3") as engine:
        first = engine.submit([IMAGE], Priority.ROUTINE)
        worker.activate("2.0", seed=7)
        assert worker.live.take_up()
        assert versions_of(worker.study(2)) == {"2.0"}
        second = engine.submit([IMAGE], Priority.ROUTINE)
    assert versions_of([first.result(SOON), second.result(SOON)]) == {"1.0"}
    until(lambda: is_closed(engine), SOON)


def is_closed(engine: Engine) -> bool:
    try:
        engine.submit([IMAGE], Priority.ROUTINE)
    except Unavailable:
        return True
    return False


def test_where_nothing_changed_nothing_is_loaded(worker: Worker) -> None:
    assert not worker.live.take_up()
    assert worker.loads == 1


def test_a_version_that_cannot_be_loaded_leaves_the_former_at_work_until_another_is_activated(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.activate("2.0", seed=7)
    (worker.folder / "registry" / "DLR_BM" / "2.0" / "weights.safetensors").write_bytes(b"damaged")
    assert not worker.live.take_up()
    assert not worker.live.take_up()
    assert worker.loads == 2  # and not at each look
    assert "DLR_BM 2.0 cannot be taken up (weights_" in caplog.text
    assert "DLR_BM 1.0 goes on" in caplog.text
    assert versions_of(worker.study()) == {"1.0"}
    worker.activate("3.0", seed=8)
    assert worker.live.take_up()
    assert versions_of(worker.study()) == {"3.0"}


def test_a_version_that_was_mended_is_taken_up_at_a_later_try(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_engine, "AGAIN_S", 0.0)
    worker.activate("2.0", seed=7)
    weights = worker.folder / "registry" / "DLR_BM" / "2.0" / "weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(b"damaged")
    assert not worker.live.take_up()
    weights.write_bytes(whole)
    assert worker.live.take_up()


def without_memory(*_: object) -> None:
    raise RuntimeError("out of memory")


def test_a_version_for_which_the_device_has_no_memory_leaves_the_former_at_work_and_is_tried_again_later(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    worker.activate("2.0", seed=7)
    with monkeypatch.context() as patched:
        patched.setattr(OpenVinoRunner, "__init__", without_memory)
        assert not worker.live.take_up()
        assert not worker.live.take_up()
    assert worker.loads == 2  # and not at each look
    assert "DLR_BM 2.0 cannot be taken up (device_unavailable: the device has not enough memory" in caplog.text
    assert versions_of(worker.study()) == {"1.0"}


def test_a_worker_waits_for_a_device_that_has_no_memory_when_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = OpenVinoRunner.__init__
    failures = [without_memory]
    monkeypatch.setattr(OpenVinoRunner, "__init__", lambda *given: (failures.pop() if failures else make)(*given))
    worker = retry_while_away(lambda: Worker(tmp_path))
    assert not failures
    assert versions_of(worker.study()) == {"1.0"}
    worker.live.close()


@pytest.mark.parametrize("error", [ModelConflict("DLR_BM 2.0 is on record with other weights"), ConnectionError()])
def test_a_version_that_the_ledger_does_not_take_scores_nothing(
    worker: Worker, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    worker.refused_by_ledger = error
    worker.activate("2.0", seed=7)
    assert not worker.live.take_up()
    assert (str(error) or type(error).__name__) in caplog.text
    assert versions_of(worker.study()) == {"1.0"}


def test_a_registry_that_says_nothing_readable_changes_nothing(worker: Worker) -> None:
    (worker.folder / "registry" / "active.json").write_bytes(b"{")
    assert not worker.live.take_up()
    assert versions_of(worker.study()) == {"1.0"}


STUDIES = [f"1.2.{number}" for number in range(12)]
HALF = {uid: "2.0" if place_of(uid) < 0.5 else "1.0" for uid in STUDIES}


def version_of_each(worker: Worker) -> dict[str, str]:
    return {uid: worker.study(uid=uid)[0].bm.version for uid in STUDIES}


def test_a_version_with_a_share_scores_its_studies_and_the_active_one_the_others_until_it_goes_on_or_back(
    worker: Worker,
) -> None:
    assert set(HALF.values()) == {"1.0", "2.0"}
    worker.add("2.0", seed=7)
    worker.registry.give_share("DLR_BM", "2.0", 0.5)
    assert worker.live.take_up()
    assert version_of_each(worker) == HALF
    assert version_of_each(worker) == HALF  # a study that is delivered again
    assert [cards[1].version for cards in worker.on_record] == ["2.0"]
    worker.registry.activate("DLR_BM", "2.0")
    assert worker.live.take_up()
    assert set(version_of_each(worker).values()) == {"2.0"}
    assert (worker.loads, worker.live.held) == (2, (("1.0", "2.0"),))  # of which there was an engine already
    worker.registry.give_share("DLR_BM", "1.0", 0.5)
    assert worker.live.take_up()
    worker.registry.rollback("DLR_BM")
    assert worker.live.take_up()
    assert set(version_of_each(worker).values()) == {"2.0"}


def test_a_study_of_a_share_that_ends_keeps_its_version_for_all_of_its_lesions(worker: Worker) -> None:
    uid = next(uid for uid, version in HALF.items() if version == "2.0")
    worker.add("2.0", seed=7)
    worker.registry.give_share("DLR_BM", "2.0", 0.5)
    assert worker.live.take_up()
    with worker.live.arriving(uid) as engine:
        first = engine.submit([IMAGE], Priority.ROUTINE)
        worker.registry.rollback("DLR_BM")
        assert worker.live.take_up()
        second = engine.submit([IMAGE], Priority.ROUTINE)
    assert versions_of([first.result(SOON), second.result(SOON)]) == {"2.0"}
    until(lambda: is_closed(engine), SOON)


def test_where_a_version_with_a_share_cannot_be_loaded_the_active_one_scores_its_studies(
    worker: Worker, caplog: pytest.LogCaptureFixture
) -> None:
    worker.add("2.0", seed=7)
    worker.registry.give_share("DLR_BM", "2.0", 0.5)
    (worker.folder / "registry" / "DLR_BM" / "2.0" / "weights.safetensors").write_bytes(b"damaged")
    worker.live.take_up()
    worker.live.take_up()
    assert worker.loads == 2  # and not at each look
    assert "DLR_BM 2.0 cannot be taken up (weights_" in caplog.text
    assert set(version_of_each(worker).values()) == {"1.0"}


def test_a_worker_that_looks_by_itself_takes_it_up_and_stops_when_it_is_told_to(worker: Worker) -> None:
    stopped = threading.Event()
    looking = threading.Thread(target=worker.live.run, args=[0.01, stopped])
    looking.start()
    worker.activate("2.0", seed=7)
    until(lambda: worker.live.cards[1].version == "2.0", SOON)
    stopped.set()
    looking.join(SOON)
    assert not looking.is_alive()


def test_a_worker_does_not_start_without_models(tmp_path: Path) -> None:
    with pytest.raises(ModelRefused) as refused:
        LiveEngine(Registry(tmp_path), lambda _: load_engine(tmp_path, "cpu", 8, 0), lambda _: None)
    assert refused.value.code is Code.MODEL_NOT_ACTIVE
