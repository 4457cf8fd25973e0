"""From a queued study to its result, with a simulated device and everything else real."""

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads import study_queries
from db.reads.study_records import StudyDetail
from db.schema.records import Claim, Ended, Held, ModelRecord, StudyResultRecord
from db.schema.vocabulary import QualityFinding
from db.session import make_engine, session_factory
from db.writes import ledger
from tests.conftest import Database
from tests.db.samples import claim_one
from tests.dicomweb_server import serving
from tests.waiting import pace
from worker.clinical.categories import Priority
from worker.contract import parse_job
from worker.demo.dicom import Header, write_ultrasound
from worker.errors import MEANINGS, Code, LesionRefused, Unavailable
from worker.image_access import Dicomweb, Limits, QualityPolicy, Server
from worker.imaging.decoder_pool import DecoderPool
from worker.imaging.image_source import ImageSource
from worker.intake.accept_study import Intake
from worker.scoring.bookkeeping import Bookkeeper
from worker.scoring.leases import LeaseKeeper
from worker.scoring.pipeline import Pipeline
from worker.settings import get_settings
from worker.study import ImageScore, LesionImage, Score, Scores


class SimulatedDevice:
    """Answers like the engine: the mean grey of a lesion's region is its probability in both models."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.silent = False
        self.busy_s = 0.0
        self.bm_set: tuple[str, ...] | None = None
        self.seen: list[LesionImage] = []

    @contextmanager
    def arriving(self, _study_instance_uid: str, /) -> Iterator["SimulatedDevice"]:
        yield self

    def submit(self, images: Sequence[LesionImage], priority: Priority) -> Future[Scores]:  # noqa: ARG002
        self.seen += images
        future: Future[Scores] = Future()
        if self.silent:
            future.set_running_or_notify_cancel()
            return future
        if self.fault is not None:
            future.set_exception(self.fault)
            return future
        greys = [_mean_grey(image) for image in images]
        p = fmean(greys)
        bm = replace(_score("DLR_BM", "malignant", p), conformal_set=self.bm_set)
        scores = Scores(_score("DLR_LH", "high_risk", p), bm, tuple(ImageScore(grey, grey) for grey in greys))
        threading.Timer(self.busy_s, future.set_result, [scores]).start()
        return future


def _mean_grey(image: LesionImage) -> float:
    area = image.region
    return float(image.frame[area.y : area.y + area.height, area.x : area.x + area.width].mean()) / 255


def _score(model: str, positive: str, p: float) -> Score:
    other = {"high_risk": "low_risk", "malignant": "benign"}[positive]
    said = p >= 0.5
    return Score(model, "1", ((other, 1 - p), (positive, p)), p, said, positive if said else other, 0.5)


@pytest.fixture
def sessions(database: Database) -> sessionmaker[Session]:
    sessions = session_factory(make_engine(database.writer_url))
    with sessions.begin() as session:
        for name in ("DLR_LH", "DLR_BM"):
            ledger.register_model(session, ModelRecord(name, "1", "0" * 64, "simulated", {}))
    return sessions


@pytest.fixture
def device() -> SimulatedDevice:
    return SimulatedDevice()


@pytest.fixture(scope="module")
def decoders() -> Iterator[DecoderPool]:
    pool = DecoderPool(Limits(1 << 30, 1 << 24), processes=2, timeout_s=30)
    yield pool
    pool.close()


@pytest.fixture
def pipeline(
    sessions: sessionmaker[Session], device: SimulatedDevice, decoders: DecoderPool, tmp_path: Path
) -> Pipeline:
    books = Bookkeeper(sessions, LeaseKeeper(sessions, lease_s=pace(5)), max_attempts=3, gather_s=0.01)
    source = ImageSource(tmp_path, Dicomweb({}, max_bytes=1 << 20, timeout_s=5.0))
    return Pipeline(books, device, source, decoders, inference_timeout_s=pace(5), end_worker=sys.exit)


@pytest.fixture
def study(pipeline: Pipeline) -> dict[str, Any]:
    """A study on disk: one frame, bright on the left, dark on the right, a lesion on each side."""
    frame = np.full((60, 100), 10, np.uint8)
    frame[:, :50] = 240
    frame[::2] += 5
    uid = generate_uid()
    header = Header(uid, "Doe^Jane", "P1", "A1", "20261123", patient_age="047Y")
    sop = write_ultrasound(pipeline.source.storage_root / "a.dcm", header, [frame], ExplicitVRLittleEndian)
    lesion = {"sop_instance_uid": sop, "frame": 1, "birads": "4A"}
    return {
        "schema_version": 1,
        "study_instance_uid": uid,
        "images": {"kind": "files", "paths": ["a.dcm"]},
        "lesions": [
            {**lesion, "lesion_id": "left", "roi": {"x": 5, "y": 5, "width": 30, "height": 40}},
            {**lesion, "lesion_id": "right", "roi": {"x": 60, "y": 5, "width": 30, "height": 40}},
        ],
    }


def queued(pipeline: Pipeline, job: dict[str, Any]) -> UUID:
    return (
        Intake(pipeline.books.sessions, pipeline.source.storage_root, lambda *_: None)
        .accept(parse_job(job), "queue")
        .study_id
    )


def state(ended: Ended | None) -> str | None:
    return ended and ended.state


def detail(pipeline: Pipeline, study_id: UUID) -> StudyDetail:
    with pipeline.books.sessions() as session:
        (study,) = study_queries.study_details(session, study_id)
    return study


def test_each_lesion_gets_its_own_scores_and_recommendation(pipeline: Pipeline, study: dict[str, Any]) -> None:
    study_id = queued(pipeline, study)
    assert state(pipeline.run(study_id)) == "done"
    stored = detail(pipeline, study_id)
    left, right = stored.lesions
    assert (left.outcome, left.recommended, right.outcome, right.recommended) == ("upgraded", ">4A", "downgraded", "3")
    assert left.predictions[0].positive_probability == pytest.approx(242.5 / 255)
    assert (left.age_years, left.age_source, left.images[0].region) == (47.0, "patient_age", (5, 5, 30, 40))
    assert stored.worklist_class == "upgraded"
    assert stored.malignant_probability == pytest.approx(242.5 / 255)


def test_a_lesion_that_a_model_is_not_certain_of_stays_in_4a(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice
) -> None:
    device.bm_set = ("malignant",)
    study_id = queued(pipeline, study)
    assert state(pipeline.run(study_id)) == "done"
    left, right = detail(pipeline, study_id).lesions
    assert (left.outcome, left.uncertain, right.outcome, right.uncertain) == ("upgraded", False, "maintained", True)
    assert right.predictions[1].conformal_set == ("malignant",)
    assert right.rule_version == "fig-s5/1+conformal/1"


def test_a_lesion_that_can_not_be_scored_leaves_its_neighbour_alone(pipeline: Pipeline, study: dict[str, Any]) -> None:
    study["lesions"][0]["roi"]["x"] = 90
    study_id = queued(pipeline, study)
    assert state(pipeline.run(study_id)) == "partial"
    stored = detail(pipeline, study_id)
    assert [lesion.error_code for lesion in stored.lesions] == ["roi_outside_image", None]
    assert (stored.error_code, stored.worklist_class) == ("roi_outside_image", "needs_attention")
    assert stored.error_reason is not None
    assert stored.error_reason.startswith("left: ")


def test_what_speaks_against_a_region_is_a_warning_and_it_is_scored(pipeline: Pipeline, study: dict[str, Any]) -> None:
    study["lesions"][0]["roi"]["width"] = 10
    study_id = queued(pipeline, study)
    assert state(pipeline.run(study_id)) == "done"
    # The two values of each side of the frame differ by five.
    assert [lesion.images[0].gate for lesion in detail(pipeline, study_id).lesions] == [
        ("roi_too_small", "roi_blank"),
        ("roi_blank",),
    ]


def test_what_is_to_refuse_refuses_its_lesion_alone_and_what_is_off_is_not_told(
    pipeline: Pipeline, study: dict[str, Any]
) -> None:
    study["lesions"][0]["roi"]["width"] = 10
    study_id = queued(pipeline, study)
    policies = {QualityFinding.ROI_TOO_SMALL: QualityPolicy.REFUSE, QualityFinding.ROI_BLANK: QualityPolicy.OFF}
    strict = DecoderPool(Limits(1 << 30, 1 << 24), processes=1, timeout_s=30, policies=policies)
    assert state(replace(pipeline, decoders=strict).run(study_id)) == "partial"
    strict.close()
    left, right = detail(pipeline, study_id).lesions
    assert (left.state, left.error_code, left.images[0].gate) == ("failed", "roi_too_small", ())
    assert left.error_reason == MEANINGS[Code.ROI_TOO_SMALL]
    assert (right.state, right.outcome, right.images[0].gate) == ("scored", "downgraded", ())


def test_a_study_without_its_file_fails_and_says_so(pipeline: Pipeline, study: dict[str, Any]) -> None:
    (pipeline.source.storage_root / "a.dcm").unlink()
    study_id = queued(pipeline, study)
    assert state(pipeline.run(study_id)) == "failed"
    assert detail(pipeline, study_id).error_code == "file_not_found"


@pytest.mark.parametrize("fault", [None, LesionRefused(Code.SCORES_NOT_FINITE)], ids=["done", "failed"])
def test_a_study_that_has_ended_is_not_scored_again_and_how_it_ended_is_told_again(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice, fault: Exception | None
) -> None:
    device.fault = fault
    study_id = queued(pipeline, study)
    ended = pipeline.run(study_id)
    assert ended == Ended(*(("failed", "scores_not_finite") if fault else ("done", None)), starts=1)
    seen = len(device.seen)
    assert pipeline.run(study_id) == ended
    assert len(device.seen) == seen


def test_a_study_that_another_process_works_on_is_nothing_to_do(pipeline: Pipeline, study: dict[str, Any]) -> None:
    study_id = queued(pipeline, study)
    with pipeline.books.sessions.begin() as session:
        assert claim_one(session, study_id, 3, lease_s=60) is not None
    assert pipeline.run(study_id) is None


def test_a_study_that_nobody_recorded_is_nothing_to_do(pipeline: Pipeline) -> None:
    assert pipeline.run(uuid4()) is None


def test_a_device_that_refuses_a_lesion_fails_that_lesion(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice
) -> None:
    device.fault = LesionRefused(Code.SCORES_NOT_FINITE)
    study_id = queued(pipeline, study)
    assert state(pipeline.run(study_id)) == "failed"
    assert {lesion.error_code for lesion in detail(pipeline, study_id).lesions} == {"scores_not_finite"}


def test_a_device_that_hangs_on_a_lesion_ends_the_worker_and_the_attempt_counts(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice
) -> None:
    device.silent = True
    quick = replace(pipeline, inference_timeout_s=0.1)
    study_id = queued(quick, study)
    with pytest.raises(SystemExit):
        quick.run(study_id)
    assert (detail(quick, study_id).state, detail(quick, study_id).attempts) == ("running", 1)


def test_a_device_that_is_busy_with_others_is_waited_for(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice
) -> None:
    device.busy_s = 0.3
    quick = replace(pipeline, inference_timeout_s=0.1)
    assert state(quick.run(queued(quick, study))) == "done"


def test_a_study_that_was_started_before_is_tried_again_with_nobody_beside_it(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice
) -> None:
    def pushed(number: int) -> UUID:
        return queued(pipeline, study | {"study_instance_uid": f"1.2.{number}"})

    suspects, others = [pushed(number) for number in range(3)], [pushed(number) for number in range(3, 9)]
    with pipeline.books.sessions.begin() as session:
        for study_id in suspects:
            claim_one(session, study_id)
    running: set[UUID] = set()
    beside: dict[UUID, int] = {}
    work, lock = Pipeline._work, threading.Lock()

    def watched(self: Pipeline, claim: Claim | None) -> str | None:
        assert claim is not None
        study_id = claim.study_id
        with lock:
            running.add(study_id)
        time.sleep(0.05)  # at work: time for others to come beside
        with lock:
            beside[study_id] = len(running)
        try:
            return work(self, claim)
        finally:
            with lock:
                running.remove(study_id)

    with pytest.MonkeyPatch.context() as patched, ThreadPoolExecutor(6) as pool:
        patched.setattr(Pipeline, "_work", watched)
        ended = list(pool.map(pipeline.run, [*others[:3], *suspects, *others[3:]]))
    assert len(ended) == 9
    assert [beside[study_id] for study_id in suspects] == [1, 1, 1]
    assert max(beside[study_id] for study_id in others) > 1


@pytest.mark.parametrize("fault", ["SELECT pg_terminate_backend(pg_backend_pid())", "SET TRANSACTION READ ONLY"])
def test_scores_are_kept_while_postgresql_is_away_and_no_attempt_is_used_up(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setenv("DLR_RETRY_WAIT_S", "0")
    get_settings.cache_clear()
    study_id = queued(pipeline, study)
    finish, left = ledger.finish, [1, 2]

    def away_twice(session: Session, results: list[StudyResultRecord], held: dict[UUID, Held]) -> set[UUID]:
        if left and left.pop():
            session.execute(text(fault))
        return finish(session, results, held)

    monkeypatch.setattr(ledger, "finish", away_twice)
    assert state(pipeline.run(study_id)) == "done"
    assert (len(device.seen), detail(pipeline, study_id).attempts) == (2, 1)


@pytest.mark.parametrize(
    ("write", "fault", "attempts"),
    [("release", Unavailable(Code.STORAGE_UNAVAILABLE), 0), ("fail_attempt", KeyError("Doe^Jane"), 1)],
)
def test_an_attempt_is_given_back_though_the_database_is_read_only_for_a_while(
    pipeline: Pipeline,
    study: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    write: str,
    fault: Exception,
    attempts: int,
) -> None:
    monkeypatch.setenv("DLR_RETRY_WAIT_S", "0")
    get_settings.cache_clear()
    study_id = queued(pipeline, study)
    real, left = getattr(ledger, write), [1, 2]

    def read_only_twice(session: Session, *arguments: Any) -> Any:
        if left and left.pop():
            session.execute(text("SET TRANSACTION READ ONLY"))
        return real(session, *arguments)

    def broken(*_args: object) -> None:
        raise fault

    with monkeypatch.context() as patched:
        patched.setattr(ledger, write, read_only_twice)
        patched.setattr(DecoderPool, "index", broken)
        with pytest.raises(Unavailable):
            pipeline.run(study_id)
    assert left == []
    assert (detail(pipeline, study_id).state, detail(pipeline, study_id).attempts) == ("queued", attempts)
    assert state(pipeline.run(study_id)) == "done"


def test_a_result_that_the_database_can_never_take_ends_the_study_with_a_code(
    pipeline: Pipeline, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(session: Session, *_arguments: Any) -> Any:
        session.execute(text("SELECT 1 / 0"))

    monkeypatch.setattr(ledger, "finish", defect)
    study_id = queued(pipeline, study)
    for _ in range(3):
        with pytest.raises(Unavailable):
            pipeline.run(study_id)
    assert pipeline.run(study_id) == Ended("failed", "attempts_exhausted", starts=3)


def test_a_device_that_is_away_gives_the_study_back(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice
) -> None:
    device.fault = Unavailable(Code.DEVICE_UNAVAILABLE)
    study_id = queued(pipeline, study)
    with pytest.raises(Unavailable):
        pipeline.run(study_id)
    assert (detail(pipeline, study_id).state, detail(pipeline, study_id).attempts) == ("queued", 0)
    device.fault = None
    assert state(pipeline.run(study_id)) == "done"


def test_a_defect_met_on_a_lesion_is_told_in_the_history_alone(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice
) -> None:
    device.fault = ValueError("Doe^Jane")
    study_id = queued(pipeline, study)
    assert state(pipeline.run(study_id)) == "failed"
    stored = detail(pipeline, study_id)
    assert stored.error_code == "internal_error"
    assert "Jane" not in str(stored.error_reason)
    assert "ValueError" in str(stored.events[-1].detail)


def test_storage_that_is_away_gives_the_study_back_and_counts_no_attempt(
    pipeline: Pipeline, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_args: object) -> None:
        raise Unavailable(Code.STORAGE_UNAVAILABLE)

    study_id = queued(pipeline, study)
    with monkeypatch.context() as patched:
        patched.setattr(DecoderPool, "index", away)
        for _ in range(5):
            with pytest.raises(Unavailable):
                pipeline.run(study_id)
    assert (detail(pipeline, study_id).state, detail(pipeline, study_id).attempts) == ("queued", 0)
    assert state(pipeline.run(study_id)) == "done"


def test_a_defect_outside_any_lesion_is_tried_again_until_the_attempts_are_used_up(
    pipeline: Pipeline, study: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise KeyError("Doe^Jane")

    monkeypatch.setattr(DecoderPool, "index", broken)
    study_id = queued(pipeline, study)
    for _ in range(3):
        with pytest.raises(Unavailable) as away:
            pipeline.run(study_id)
        assert str(away.value) == "internal_error"
    assert pipeline.run(study_id) == Ended("failed", "attempts_exhausted", starts=3)
    assert (detail(pipeline, study_id).state, detail(pipeline, study_id).error_code) == ("failed", "attempts_exhausted")


def test_a_priority_raised_while_the_study_runs_decides_its_place(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = queued(pipeline, study)
    submit = device.submit

    def raise_meanwhile(image: LesionImage, priority: Priority) -> Future[Scores]:
        queued(pipeline, study | {"priority": "stat"})
        return submit(image, priority)

    monkeypatch.setattr(device, "submit", raise_meanwhile)
    assert state(pipeline.run(study_id)) == "done"
    with pipeline.books.sessions() as session:
        (row,) = study_queries.worklist(session)
    assert row.priority == "stat"


def test_a_revision_that_came_while_the_study_ran_keeps_the_old_result_out(
    pipeline: Pipeline, study: dict[str, Any], device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_id = queued(pipeline, study)
    submit = device.submit

    def revise_meanwhile(image: LesionImage, priority: Priority) -> Future[Scores]:
        queued(pipeline, study | {"age_years": 47.5})
        return submit(image, priority)

    monkeypatch.setattr(device, "submit", revise_meanwhile)
    assert state(pipeline.run(study_id)) == "superseded"
    with pipeline.books.sessions() as session:
        [row] = study_queries.worklist(session)
        assert (row.revision, row.state, row.marks) == (2, "queued", ["waiting"])


def test_a_study_on_a_dicomweb_server_ends_as_the_same_study_in_the_storage(
    pipeline: Pipeline, study: dict[str, Any]
) -> None:
    stored = detail(pipeline, _ended(pipeline, study))
    with serving(pipeline.source.storage_root) as peer:
        server = Dicomweb({"pacs": Server(peer.url, {})}, max_bytes=1 << 20, timeout_s=5.0)
        remote = replace(pipeline, source=ImageSource(Path("/nowhere"), server))
        study_id = _ended(remote, {**study, "images": {"kind": "dicomweb", "server": "pacs"}})
    fetched = detail(pipeline, study_id)
    assert (fetched.state, fetched.revision) == ("done", stored.revision + 1)
    for one, other in zip(stored.lesions, fetched.lesions, strict=True):
        assert (one.outcome, one.images, one.age_years) == (other.outcome, other.images, other.age_years)
        assert [p.positive_probability for p in one.predictions] == [p.positive_probability for p in other.predictions]


def test_a_lesion_whose_instance_can_not_be_fetched_leaves_its_neighbour_alone(
    pipeline: Pipeline, study: dict[str, Any]
) -> None:
    study["lesions"][1]["sop_instance_uid"] = generate_uid()
    with serving(pipeline.source.storage_root) as peer:
        server = Dicomweb({"pacs": Server(peer.url, {})}, max_bytes=1 << 20, timeout_s=5.0)
        remote = replace(pipeline, source=ImageSource(Path("/nowhere"), server))
        study_id = _ended(remote, {**study, "images": {"kind": "dicomweb", "server": "pacs"}})
    left, right = detail(pipeline, study_id).lesions
    assert (left.state, left.error_code, right.error_code) == ("scored", None, "sop_instance_not_found")


def test_a_study_on_a_server_that_the_settings_do_not_name_fails_with_its_code(
    pipeline: Pipeline, study: dict[str, Any]
) -> None:
    study_id = _ended(pipeline, {**study, "images": {"kind": "dicomweb", "server": "pacs"}})
    assert [lesion.error_code for lesion in detail(pipeline, study_id).lesions] == ["dicomweb_server_unknown"] * 2


def _ended(pipeline: Pipeline, job: dict[str, Any]) -> UUID:
    study_id = queued(pipeline, job)
    pipeline.run(study_id)
    return study_id
