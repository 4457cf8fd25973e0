"""Stored lesions get another version's score, each once, and what cannot be read any more is said so and left."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from sqlalchemy import text

from db.writes import rescoring
from db.writes.rescoring import ScoreCounts, ScoresWanted
from tests.worker.rescoring.hospital import Hospital
from worker.errors import Unavailable
from worker.inference.entry import Entry
from worker.inference.single_model import SingleModel
from worker.rescoring.rescorer import Done, Rescorer
from worker.study import LesionImage, Score

pytestmark = pytest.mark.slow


def entry_of(hospital: Hospital, version: str, name: str = "DLR_BM") -> Entry:
    (entry,) = [one for one in hospital.registry.list() if (one.card.name, one.card.version) == (name, version)]
    return entry


def key_of(hospital: Hospital, version: str, name: str = "DLR_BM") -> int:
    with hospital.rescorer.sessions.begin() as session:
        return rescoring.register(session, entry_of(hospital, version, name).card.record())


def rescored(hospital: Hospital, version: str, rescorer: Rescorer | None = None, **options: object) -> Done:
    """One pass with one version of DLR_BM."""
    key = key_of(hospital, version)
    model = SingleModel(entry_of(hospital, version), torch.device("cpu"))
    return (rescorer or hospital.rescorer).run({key: model}, [ScoresWanted(key)], **options)  # type: ignore[arg-type]


def stand(hospital: Hospital, version: str) -> ScoreCounts:
    key = key_of(hospital, version)
    with hospital.rescorer.sessions() as session:
        return rescoring.score_counts(session, ScoresWanted(key))


def test_the_same_weights_under_another_name_give_the_scores_that_were_served(hospital: Hospital) -> None:
    hospital.scored(lesions=3, seed=1)
    hospital.scored(lesions=1, seed=2)
    hospital.add("same", seed=1)
    done = rescored(hospital, "same")
    assert (done.scored.total(), done.refused.total(), done.is_whole) == (4, 0, True)
    scores = hospital.scores()
    assert len(scores) == 4
    for of_lesion in scores.values():
        assert of_lesion["same"] == pytest.approx(of_lesion["1.0"], abs=1e-4)


def test_another_version_says_something_else_and_both_stay(hospital: Hospital) -> None:
    hospital.scored()
    before = hospital.scores()
    hospital.add("2.0", seed=5)
    rescored(hospital, "2.0")
    [(lesion, after)] = hospital.scores().items()
    assert after["1.0"] == before[lesion]["1.0"]
    assert abs(after["2.0"] - after["1.0"]) > 1e-3


def test_a_second_pass_has_nothing_to_do_and_a_limited_one_goes_on_where_the_first_ended(hospital: Hospital) -> None:
    for seed in range(3):
        hospital.scored(seed=seed)
    hospital.add("2.0", seed=5)
    assert rescored(hospital, "2.0", limit=2).lesions == 2
    assert stand(hospital, "2.0").missing == 1
    assert rescored(hospital, "2.0").lesions == 1
    assert rescored(hospital, "2.0") == Done(is_whole=True)


def gone(path: Path) -> None:
    path.unlink()


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-2000])


def other_pixels(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "code"),
    [(gone, "file_not_found"), (shortened, "file_truncated"), (other_pixels, "image_changed")],
    ids=["gone", "cut", "changed"],
)
def test_what_is_not_as_it_was_is_refused_once_and_its_neighbours_are_scored(
    hospital: Hospital, harm: object, code: str
) -> None:
    harmed = hospital.scored(lesions=2, seed=1)
    hospital.scored(seed=2)
    path = hospital.file_of(harmed)
    content = path.read_bytes()
    harm(path)  # type: ignore[operator]
    hospital.add("2.0", seed=5)
    done = rescored(hospital, "2.0")
    assert (done.scored.total(), {why: count for (_, why), count in done.refused.items()}) == (1, {code: 2})
    assert rescored(hospital, "2.0") == Done(is_whole=True), "it is not tried for ever"
    path.write_bytes(content)
    assert rescored(hospital, "2.0", again=True).scored.total() == 2, "unless somebody asks"
    assert stand(hospital, "2.0") == ScoreCounts(3, {}, 0, 0)


def test_a_storage_that_is_away_costs_no_lesion_its_score(hospital: Hospital) -> None:
    for seed in range(3):
        hospital.scored(seed=seed)
    hospital.add("2.0", seed=5)
    away = hospital.storage.with_name("away")
    hospital.storage.rename(away)
    with pytest.raises(Unavailable):
        rescored(hospital, "2.0")
    assert stand(hospital, "2.0") == ScoreCounts(0, {}, 0, 3)
    away.rename(hospital.storage)
    assert rescored(hospital, "2.0").scored.total() == 3


def test_while_a_study_waits_no_lesion_is_scored(hospital: Hospital) -> None:
    hospital.scored(lesions=2)
    hospital.add("2.0", seed=5)
    waiting = hospital.queued(hospital.job(seed=9))
    told: list[bool] = []
    seen = threading.Event()

    def hear(done: Done, waits: bool) -> None:
        told.append(waits)
        assert not (waits and done.lesions)
        seen.set()

    rescorer = replace(hospital.rescorer, on_progress=hear)
    passing = threading.Thread(target=rescored, args=(hospital, "2.0", rescorer))
    passing.start()
    assert seen.wait(60)
    assert told == [True] * len(told)
    assert hospital.pipeline.run(waiting) == ("done", None, 1)
    passing.join(60)
    assert told[-2:] == [False, False]
    assert stand(hospital, "2.0").missing <= 1, "the study that waited came after the pass began, or is scored too"


def test_a_stop_ends_it_at_the_next_lesion_and_keeps_what_was_done(hospital: Hospital) -> None:
    hospital.scored(lesions=3)
    hospital.add("2.0", seed=5)
    stopped = threading.Event()
    rescorer = replace(hospital.rescorer, stopped=stopped, on_progress=lambda *_: stopped.set())
    assert rescored(hospital, "2.0", rescorer) != Done(is_whole=True)
    assert stand(hospital, "2.0") == ScoreCounts(1, {}, 0, 2)


def test_a_defect_met_on_one_lesion_is_on_record_and_stops_no_other(hospital: Hospital) -> None:
    hospital.scored(seed=1)
    hospital.scored(seed=2)
    hospital.add("2.0", seed=5)
    key, model = key_of(hospital, "2.0"), SingleModel(entry_of(hospital, "2.0"), torch.device("cpu"))

    class Once:
        """Fails at its first lesion."""

        def __init__(self) -> None:
            self.failed = False

        def score(self, images: Sequence[LesionImage]) -> Score:
            if not self.failed:
                self.failed = True
                raise ZeroDivisionError
            return model.score(images)

    done = hospital.rescorer.run({key: Once()}, [ScoresWanted(key)])
    assert (done.scored[key], done.refused[key, "internal_error"]) == (1, 1)


def test_both_models_versions_are_scored_from_one_reading(hospital: Hospital) -> None:
    hospital.scored(lesions=2)
    for name in ("DLR_LH", "DLR_BM"):
        hospital.add("2.0", seed=5, name=name)
    keys = {name: key_of(hospital, "2.0", name) for name in ("DLR_LH", "DLR_BM")}
    models = {key: SingleModel(entry_of(hospital, "2.0", name), torch.device("cpu")) for name, key in keys.items()}
    done = hospital.rescorer.run(models, [ScoresWanted(key) for key in keys.values()])
    assert {name: done.scored[key] for name, key in keys.items()} == {"DLR_LH": 2, "DLR_BM": 2}


def test_the_worklist_and_the_advice_are_what_they_were(hospital: Hospital) -> None:
    def seen() -> list[object]:
        with hospital.sessions() as session:
            return [
                tuple(map(str, row))
                for view in ("worklist", "lesion_result", "restratification_summary", "failed_study")
                for row in session.execute(text(f"SELECT * FROM {view}"))
            ]

    hospital.scored(lesions=2, seed=1)
    hospital.scored(seed=2)
    hospital.file_of(hospital.scored(seed=3)).unlink()
    before = seen()
    hospital.add("2.0", seed=5)
    done = rescored(hospital, "2.0")
    assert (done.scored.total(), done.refused.total()) == (3, 1)
    assert seen() == before
