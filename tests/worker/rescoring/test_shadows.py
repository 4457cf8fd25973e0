"""Shadows score what arrives from the time on that they are shadows, as long as they are."""

import logging
import threading
from dataclasses import replace
from functools import partial

import pytest
import torch
from sqlalchemy.orm import Session

from db.writes import rescoring
from tests.worker.rescoring.hospital import Hospital
from worker.inference.single_model import SingleModel
from worker.rescoring import shadows as shadows_module
from worker.rescoring.shadows import Shadows

pytestmark = pytest.mark.slow


@pytest.fixture
def shadows(hospital: Hospital) -> Shadows:
    return Shadows(hospital.registry, hospital.rescorer, partial(SingleModel, device=torch.device("cpu")))


def versions(hospital: Hospital, model: str = "DLR_BM") -> list[set[str]]:
    """By which versions each lesion was scored, the latest first."""
    return [set(found) for found in hospital.scores(model).values()]


def test_what_arrives_is_scored_by_each_shadow_and_what_was_there_before_is_left_to_a_backfill(
    hospital: Hospital, shadows: Shadows
) -> None:
    hospital.scored(seed=1)
    for version, seed in (("2.0", 5), ("3.0", 6)):
        hospital.add(version, seed)
        hospital.registry.shadow("DLR_BM", version)
    hospital.add("2.0", 5, name="DLR_LH")
    hospital.registry.shadow("DLR_LH", "2.0")
    assert shadows.look().lesions == 0
    hospital.scored(seed=2)
    assert shadows.look().scored.total() == 3
    assert sorted(map(sorted, versions(hospital))) == [["1.0"], ["1.0", "2.0", "3.0"]]
    assert sorted(map(sorted, versions(hospital, "DLR_LH"))) == [["1.0"], ["1.0", "2.0"]]
    assert shadows.look().lesions == 0
    hospital.scored(seed=3)
    assert shadows.look().lesions == 3, "what is new is found although the rest is not gone through again"


def test_a_shadow_that_is_ended_or_put_into_service_scores_no_more(hospital: Hospital, shadows: Shadows) -> None:
    for version, seed in (("2.0", 5), ("3.0", 6)):
        hospital.add(version, seed)
        hospital.registry.shadow("DLR_BM", version)
    hospital.scored(seed=1)
    assert shadows.look().lesions == 2
    hospital.registry.unshadow("DLR_BM", "2.0")
    hospital.registry.activate("DLR_BM", "3.0")
    hospital.scored(seed=2)
    assert shadows.look().lesions == 0


def test_a_study_that_was_open_at_the_last_look_is_not_forgotten(hospital: Hospital, shadows: Shadows) -> None:
    hospital.add("2.0", 5)
    hospital.registry.shadow("DLR_BM", "2.0")
    waiting = hospital.queued(hospital.job(seed=1))
    assert shadows.look().lesions == 0
    assert hospital.pipeline.run(waiting) == ("done", None, 1)
    assert shadows.look().lesions == 1


@pytest.mark.parametrize("asked", ["latest_lesion", "live_work_waits"])
def test_a_study_that_arrives_in_the_middle_of_a_look_is_found_by_the_next_one(
    hospital: Hospital, shadows: Shadows, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    hospital.add("2.0", 5)
    hospital.registry.shadow("DLR_BM", "2.0")
    answer, arrived = getattr(rescoring, asked), []

    def and_then_one_arrives(session: Session) -> object:
        said = answer(session)
        if not arrived:
            arrived.append(hospital.queued(hospital.job(seed=1)))
        return said

    monkeypatch.setattr(rescoring, asked, and_then_one_arrives)
    assert shadows.look().lesions == 0
    assert hospital.pipeline.run(arrived[0]) == ("done", None, 1)
    assert shadows.look().lesions == 1


def test_a_shadow_that_is_not_sound_is_left_out_and_the_others_score(
    hospital: Hospital, shadows: Shadows, caplog: pytest.LogCaptureFixture
) -> None:
    for version, seed in (("2.0", 5), ("3.0", 6)):
        hospital.add(version, seed)
        hospital.registry.shadow("DLR_BM", version)
    (hospital.models_dir / "DLR_BM/2.0/weights.safetensors").write_bytes(b"other")
    hospital.scored()
    with caplog.at_level(logging.ERROR):
        assert shadows.look().scored.total() == 1
    assert "the shadow DLR_BM 2.0 is skipped: weights_hash_mismatch" in caplog.text
    assert versions(hospital) == [{"1.0", "3.0"}]


def test_a_version_that_is_on_record_with_other_weights_is_left_out(
    hospital: Hospital, shadows: Shadows, caplog: pytest.LogCaptureFixture
) -> None:
    hospital.add("2.0", 5)
    (known,) = [one.card for one in hospital.registry.list() if one.card.version == "2.0"]
    hospital.registry.shadow("DLR_BM", "2.0")
    from db.writes import ledger

    with hospital.sessions.begin() as session:
        ledger.register_model(session, replace(known.record(), weights_sha256="f" * 64))
    hospital.scored()
    with caplog.at_level(logging.ERROR):
        assert shadows.look().lesions == 0
    assert "model_exists" in caplog.text


def test_it_runs_until_it_is_stopped(hospital: Hospital, shadows: Shadows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadows_module, "IDLE_S", 0.01)
    hospital.add("2.0", 5)
    hospital.registry.shadow("DLR_BM", "2.0")
    scored = threading.Event()
    shadows.rescorer = replace(hospital.rescorer, on_progress=lambda *_: scored.set())
    running = threading.Thread(target=shadows.run)
    running.start()
    hospital.scored()
    assert scored.wait(60)
    hospital.rescorer.stopped.set()
    running.join(60)
    assert not running.is_alive()
