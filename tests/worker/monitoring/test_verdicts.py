"""How far radiologists follow the advice: what is counted together, and which overrides come first."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy.orm import Session, sessionmaker

from db.reads.verdicts import SaidCount, shown_advice
from db.schema.vocabulary import ReadingSource
from db.writes.pathology import find_lesions
from db.writes.verdicts import LesionVerdict, Reading, record_reading
from tests.db.samples import DEMO, ended, lesion, scored, study
from worker.clinical.agreement import Override
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS
from worker.monitoring.monitor import By
from worker.monitoring.verdicts import agreement, hear

D, M, U = ARMS
SCORES = {D: (0.1, 0.1), M: (0.9, 0.1), U: (0.9, 0.9)}
LONG_AGO = datetime.now(UTC) - timedelta(days=400)


def said(outcome: Outcome, final: str, lesions: int, *, agrees: bool | None = True, **changes: str | None) -> SaidCount:
    words: dict[str, str | None] = {"group": None, "version": "1.0", "notice": None} | changes
    version = words["version"] or ""
    return SaidCount(
        words["group"], version, version, "fig-s5/1", words["notice"], outcome.value, agrees, final, lesions
    )


def verdict(
    session: Session,
    uid: str,
    advised: Outcome,
    final: str,
    *,
    agrees: bool | None,
    version: str = "1.0",
    at: datetime | None = None,
    birads: str = "4A",
) -> None:
    lh, bm = SCORES[advised]
    what = scored(lh=lh, bm=bm, version=version, birads=birads)
    study_id = ended(session, study(uid, uid, lesions=(lesion("L1", birads),)), what).study_id
    [advice] = shown_advice(session, [study_id]).values()
    [found] = find_lesions(session, [study_id]).values()
    one = LesionVerdict(found.key, agrees, final)
    assert record_reading(
        session, Reading(uuid4(), study_id, "b", ReadingSource.IMPORT, [advice.advice], [one], read_at=at)
    )


def test_agreement_is_of_those_that_said_so_and_kappa_of_those_whose_category_says_a_side() -> None:
    [one] = agreement([
        said(D, "3", 20), said(D, "4A", 5, agrees=False), said(D, "0", 2, agrees=None),
        said(M, "4A", 15), said(M, "4B", 10, agrees=False), said(U, "4", 3),
    ])  # fmt: skip
    assert {arm.value: (part.count, part.total) for arm, part in one.agreed.items()} == {
        "downgraded": (20, 25), "maintained": (15, 25), "upgraded": (3, 3),
    }  # fmt: skip
    # Of 50 lesions 35 are where the advice put them; by chance (25 * 20 + 25 * 20) / 50 = 20 would be.
    assert one.kappa is not None
    assert (one.verdicts, one.placed, one.kappa.value) == (55, 50, pytest.approx((35 - 20) / (50 - 20)))
    assert one.overrides == {Override.LET_GO: 5, Override.TOO_LOW: 10, Override.TOO_HIGH: 0, Override.OTHER: 0}


def test_a_demo_model_s_verdicts_are_never_with_a_real_one_s() -> None:
    rows = [said(D, "3", 1), said(D, "3", 2, version="2.0"), said(D, "4B", 4, notice=DEMO)]
    real, demo = agreement(rows)
    assert [(one.notice, one.verdicts, len(one.models)) for one in (real, demo)] == [(None, 3, 2), (DEMO, 4, 1)]
    assert [(one.group, one.verdicts) for one in agreement(rows, By.MODEL)] == [
        ("LH 1.0, BM 1.0, fig-s5/1", 1), ("LH 2.0, BM 2.0, fig-s5/1", 2), ("LH 1.0, BM 1.0, fig-s5/1", 4),
    ]  # fmt: skip
    by_site = agreement([said(D, "3", 1, group="north"), said(D, "3", 2)], By.SITE)
    assert [(one.group, one.verdicts) for one in by_site] == [("north", 1), ("unknown", 2)]


def test_the_dangerous_overrides_come_first_and_in_each_way_the_most_suspicious(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        verdict(session, "1.1", U, "3", agrees=False)
        verdict(session, "1.2", D, "4A", agrees=False)
        verdict(session, "1.3", M, "5", agrees=False)
        verdict(session, "1.4", D, "4C", agrees=None)
        verdict(session, "1.5", M, "4A", agrees=False)
        verdict(session, "1.6", D, "3", agrees=True)
        verdict(session, "1.7", M, "4B", agrees=None, birads="4B")
        heard = hear(session)
    assert [(one.override.value, one.verdict.final_birads) for one in heard.overridden] == [
        ("let_go", "4C"), ("let_go", "4A"), ("too_low", "5"), ("too_high", "3"), ("other", "4A"),
    ]  # fmt: skip
    [total] = heard.totals
    assert (total.verdicts, total.notice, heard.groups) == (6, DEMO, ())


@pytest.mark.parametrize("by", By)
def test_verdicts_are_counted_apart_by_scanner_site_and_model(sessions: sessionmaker[Session], by: By) -> None:
    with sessions.begin() as session:
        verdict(session, "1.1", D, "3", agrees=True)
        verdict(session, "1.2", D, "4B", agrees=False, version="2.0")
        heard = hear(session, by)
    groups = {By.SCANNER: "Acme Sono 1", By.SITE: "Example Hospital"}
    found = {(one.group, one.agreed[D].count, one.agreed[D].total) for one in heard.groups}
    if by is By.MODEL:
        assert found == {("LH 1.0, BM 1.0, fig-s5/1", 1, 1), ("LH 2.0, BM 2.0, fig-s5/1", 0, 1)}
    else:
        assert found == {(groups[by], 1, 1), (groups[by], 0, 1)}


def test_only_verdicts_since_a_time_are_heard(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        verdict(session, "1.1", D, "4B", agrees=False, at=LONG_AGO)
        verdict(session, "1.2", D, "4C", agrees=False)
        heard = hear(session, since=LONG_AGO + timedelta(days=1))
        assert [one.verdict.final_birads for one in heard.overridden] == ["4C"]
        assert [one.verdicts for one in heard.totals] == [1]
        assert len(hear(session).overridden) == 2
