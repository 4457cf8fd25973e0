"""A version is activated while studies are scored: none is lost or a mixture, and the history tells them apart."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import text

from db.writes import ledger
from tests.conftest import Database
from tests.waiting import until
from tests.worker.inference.samples import registry_with_both
from tests.worker.rescoring.hospital import Hospital, Machines, opened
from worker.image_access import Limits
from worker.imaging.decoder_pool import DecoderPool
from worker.inference.live_engine import LiveEngine
from worker.inference.loading import load_engine
from worker.inference.model_card import ModelCard
from worker.inference.registry import Registry
from worker.inference.shares import place_of

pytestmark = pytest.mark.slow

STUDIES = 24
LESIONS = 3
SOON = 120.0

MIXED = """
SELECT count(*) FROM (
    SELECT study_id FROM lesion_score WHERE model = 'DLR_BM' GROUP BY study_id
    HAVING count(DISTINCT version) > 1 OR count(*) <> :lesions
) AS mixed
"""
VERSIONS = """
SELECT study_instance_uid AS uid, min(version) AS version FROM lesion_score WHERE model = 'DLR_BM' GROUP BY 1
"""
BY_VERSION = """
SELECT detail #>> '{models,DLR_BM}' AS version, count(*), min(at) AS first, max(at) AS last
FROM study_history WHERE event = 'done' GROUP BY 1
"""


@dataclass
class Ward:
    hospital: Hospital
    live: LiveEngine


@pytest.fixture
def ward(database: Database, tmp_path: Path) -> Iterator[Ward]:
    """A hospital whose worker takes up what is activated."""
    registry_with_both(tmp_path)
    sessions = []

    def put_on_record(cards: tuple[ModelCard, ModelCard]) -> None:
        with sessions[0].begin() as session:
            for card in cards:
                ledger.register_model(session, card.record())

    folder = tmp_path / "registry"
    live = LiveEngine(
        Registry(folder), lambda versions: load_engine(folder, "cpu", 2, 1, versions=versions), put_on_record
    )
    decoders = DecoderPool(Limits(1 << 30, 1 << 24), processes=1, timeout_s=30)
    with opened(database, tmp_path, Machines(live, decoders)) as hospital:
        sessions.append(hospital.sessions)
        yield Ward(hospital, live)
    live.close()
    decoders.close()


def ended(hospital: Hospital) -> int:
    with hospital.sessions() as session:
        return int(session.scalar(text("SELECT count(*) FROM study WHERE state = 'done'")) or 0)


def test_studies_that_are_under_way_are_scored_by_one_version_each_and_all_of_them_are_scored(ward: Ward) -> None:
    hospital = ward.hospital
    hospital.add("2.0", seed=5)
    studies = [hospital.queued(hospital.job(LESIONS, seed)) for seed in range(STUDIES)]
    with ThreadPoolExecutor(4) as threads:
        ends = [threads.submit(hospital.pipeline.run, study) for study in studies]
        until(lambda: ended(hospital) >= 2, SOON)
        hospital.registry.activate("DLR_BM", "2.0")
        assert ward.live.take_up()
        more = [hospital.queued(hospital.job(LESIONS, seed)) for seed in range(100, 104)]
        ends += [threads.submit(hospital.pipeline.run, study) for study in more]
        assert {end.result(SOON) for end in ends} == {("done", None, 1)}
    with hospital.sessions() as session:
        assert session.scalar(text(MIXED), {"lesions": LESIONS}) == 0
        rows = {row.version: row for row in session.execute(text(BY_VERSION))}
    assert set(rows) == {"1.0", "2.0"}
    assert rows["1.0"].count + rows["2.0"].count == STUDIES + len(more)
    assert rows["2.0"].count >= len(more)
    assert rows["1.0"].first < rows["2.0"].first


def test_a_share_of_the_studies_is_scored_by_a_new_version_also_when_one_is_queued_again(ward: Ward) -> None:
    hospital = ward.hospital
    hospital.add("2.0", seed=5)
    hospital.registry.give_share("DLR_BM", "2.0", 0.5)
    assert ward.live.take_up()
    studies = [hospital.queued(hospital.job(LESIONS, seed)) for seed in range(STUDIES)]
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(hospital.pipeline.run, studies)) == {("done", None, 1)}
    with hospital.sessions() as session:
        assert session.scalar(text(MIXED), {"lesions": LESIONS}) == 0
        scored = {row.uid: row.version for row in session.execute(text(VERSIONS))}
    assert scored == {uid: "2.0" if place_of(uid) < 0.5 else "1.0" for uid in scored}
    assert set(scored.values()) == {"1.0", "2.0"}
    assert len(scored) == STUDIES
