"""What the database knows of lesions with pathology, and of all versions that scored them."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.schema.records import ImageResultRecord, LesionImageRecord
from tests.conftest import Database
from tests.db.samples import DEMO, ended, lesion, refused, scored, scored_image, study, writing
from tests.db.writes.test_pathology import report
from worker.errors import Code, SetupRefused
from worker.evaluation.lesions import Scorer, Source
from worker.evaluation.recorded_lesions import from_database
from worker.evaluation.views import views

LATER = datetime.now(UTC) + timedelta(days=1)
LH, BM = (Scorer(name, "1.0", 0.5, DEMO) for name in ("DLR_LH", "DLR_BM"))
NEWER_BM = Scorer("DLR_BM", "2.0", 0.5)


@pytest.fixture
def sessions(database: Database) -> Iterator[sessionmaker[Session]]:
    with writing(database, newer=True) as sessions:
        yield sessions


def test_a_lesion_with_pathology_has_its_scores_and_what_is_known_of_it(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        recorded = ended(session, study("1.1"), scored(lh=0.25, bm=0.75))
        report(session, "1.1", "malignant")
        found = from_database(session)
    [one] = found.lesions
    assert (one.lesion_id, one.patient) == (f"{recorded.study_id} L1", str(recorded.study_id))
    assert (one.malignant, one.birads, one.age_years, one.size_mm, one.site) == (True, "4A", 47, 10, "Example Hospital")
    assert one.scores == {LH: 0.25, BM: 0.75}
    assert (found.source, found.scorers, found.left_out) == (Source.DATABASE, (BM, LH), {"without scores": 0})
    assert [(pair.lh, pair.bm) for pair in found.pairs] == [(LH, BM)]


def test_the_sets_on_record_come_along_by_the_versions_that_were_asked(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored(bm_set=("benign", "malignant")))
        report(session, "1.1", "malignant")
        [one] = from_database(session).lesions
    assert one.sets == {BM: ("benign", "malignant")}


def test_a_lesion_on_several_images_is_one_with_the_score_of_each_that_was_scored(
    sessions: sessionmaker[Session],
) -> None:
    in_three = lesion(images=tuple(LesionImageRecord("1.2.9", frame, None) for frame in (1, 2, 3)))
    images = (
        scored_image(0.5, 0.75, size_mm=(8.0, 4.0)),
        ImageResultRecord("failed", "pixels_uniform", "black"),
        scored_image(0.25, 0.125, size_mm=(5.0, 12.5)),
    )
    with sessions.begin() as session:
        ended(session, study("1.1", lesions=(in_three,)), replace(scored(lh=0.375, bm=0.4375), images=images))
        report(session, "1.1", "malignant")
        found = from_database(session)
    [one] = found.lesions
    assert (one.images, one.size_mm, one.scores) == (2, 12.5, {LH: 0.375, BM: 0.4375})
    assert one.image_scores == {LH: (0.5, 0.25), BM: (0.75, 0.125)}
    said = views(found.lesions, BM, 0.5)
    assert said is not None
    assert (said.disagree.count, said.disagree.total, said.spread) == (1, 1, 0.625)


def test_lesions_without_pathology_or_scores_and_replaced_revisions_do_not_count(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored())
        ended(session, study("1.2", accession_number="A2"), refused())
        report(session, "1.2")
        ended(session, study("1.3", accession_number="A3"), scored())
        report(session, "1.3")
        ended(session, study("1.4", accession_number="A4"), scored())
        report(session, "1.4", "malignant")
        ended(session, study("1.4", "other", accession_number="A4", lesions=(lesion("L9"),)), scored("L9"))
        found = from_database(session)
    assert len(found.lesions) == 1
    assert not found.lesions[0].malignant
    assert found.left_out == {"without scores": 1}


def test_the_versions_that_advise_on_the_most_lesions_come_first(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        for number, version in enumerate(("1.0", "2.0", "2.0")):
            uid = f"1.{number}"
            ended(session, study(uid, accession_number=uid), scored(version=version))
            report(session, uid)
        found = from_database(session)
    assert [one.name for one in found.scorers] == ["DLR_BM 2.0", "DLR_LH 2.0", "DLR_BM 1.0", "DLR_LH 1.0"]
    assert [(pair.lh.version, pair.bm.version) for pair in found.pairs] == [("2.0", "2.0"), ("1.0", "1.0")]
    assert NEWER_BM in found.scorers


def test_only_lesions_that_were_scored_since_are_counted(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored())
        report(session, "1.1")
        assert len(from_database(session, LATER - timedelta(days=2)).lesions) == 1
        with pytest.raises(SetupRefused) as none:
            from_database(session, LATER)
    assert none.value.code is Code.LESIONS_TOO_FEW
