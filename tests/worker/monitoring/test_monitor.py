"""The safety monitor: what it counts together, what it never does, and what it raises an alert for."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from db.reads.monitoring import ArmRow, Grouping, arms
from db.writes import ledger
from db.writes.pathology import PathologyRecord, record_pathology
from tests.db.samples import DEMO, ended, lesion, refused, register, scored, study
from tests.db.writes.test_pathology import DAY, found
from worker.clinical.categories import Outcome
from worker.clinical.proportions import ARMS, Verdict
from worker.monitoring.monitor import Alarm, By, Rates, rates, watch

D, M, U = ARMS
SCORES = {D: (0.1, 0.1), M: (0.9, 0.1), U: (0.9, 0.9)}
LONG_AGO = datetime.now(UTC) - timedelta(days=400)


def row(outcome: Outcome, lesions: int, *, known: int = 0, malignant: int = 0, **changes: str | None) -> ArmRow:
    words: dict[str, str | None] = {"group": None, "version": "1.0", "notice": None} | changes
    version = words["version"] or ""
    return ArmRow(
        words["group"], version, version, "fig-s5/1", words["notice"], outcome.value, lesions, known, malignant
    )


def lesions_of(one: Rates) -> dict[str, int]:
    return {arm.value: rate.count for arm, rate in one.comparison.rates.items() if rate.count}


def test_the_study_s_148_lesions_give_its_rates_and_no_alarm() -> None:
    [total] = rates([row(D, 41), row(M, 80), row(U, 27, known=27, malignant=22)])
    assert [round(100 * (total.comparison.rates[arm].rate or 0), 1) for arm in ARMS] == [27.7, 54.1, 18.2]
    assert total.comparison.verdict is Verdict.AS_STUDIED
    ppv = total.malignant[U]
    assert (ppv.count, ppv.total, round(100 * (ppv.rate or 0), 1)) == (22, 27, 81.5)
    assert total.malignant[D].rate is None


def test_a_demo_model_s_lesions_are_never_with_a_real_one_s_and_versions_together_are_named() -> None:
    rows = [row(D, 1), row(D, 2, version="2.0"), row(U, 4, notice=DEMO), row(M, 8, notice=DEMO, group="Sono")]
    real, demo = rates(rows)
    assert (real.notice, lesions_of(real), len(real.models)) == (None, {"downgraded": 3}, 2)
    assert (demo.notice, lesions_of(demo), len(demo.models)) == (DEMO, {"maintained": 8, "upgraded": 4}, 1)
    assert [(one.group, one.notice, lesions_of(one)) for one in rates(rows, By.MODEL)] == [
        ("LH 1.0, BM 1.0, fig-s5/1", None, {"downgraded": 1}),
        ("LH 2.0, BM 2.0, fig-s5/1", None, {"downgraded": 2}),
        ("LH 1.0, BM 1.0, fig-s5/1", DEMO, {"maintained": 8, "upgraded": 4}),
    ]


def test_what_is_not_known_of_a_lesion_s_image_is_a_group_of_its_own() -> None:
    found_rates = rates([row(D, 1, group="Sono"), row(D, 2)], By.SCANNER)
    assert [(one.group, lesions_of(one)["downgraded"]) for one in found_rates] == [("Sono", 1), ("unknown", 2)]


def ended_with(session: Session, uid: str, *scores: tuple[float, float]) -> UUID:
    """A study that has ended, with a lesion of a real model for each pair of scores; its id."""
    by_name = {f"L{place}": pair for place, pair in enumerate(scores, start=1)}
    results = [scored(name, lh, bm, version="2.0") for name, (lh, bm) in by_name.items()]
    return ended(session, study(uid, lesions=tuple(map(lesion, by_name))), *results).study_id


@pytest.fixture
def clinic(sessions: sessionmaker[Session]) -> sessionmaker[Session]:
    """Real lesions on two scanners and at two sites, some long ago; beside them a demo model's, failed, replaced, 5."""
    with sessions.begin() as session:
        for place, (outcome, count) in enumerate({D: 9, M: 18, U: 6}.items()):
            ended_with(session, f"1.{place}", *[SCORES[outcome]] * count)
        ended(session, study("2.1"), scored(lh=0.1, bm=0.1))
        ended(session, study("2.2"), refused())
        ended(session, study("2.3", lesions=(lesion(birads="5"),)), scored(birads="5", version="2.0"))
        ended(session, study("2.4", "a"), scored(version="2.0"))
        ended(session, study("2.4", "b"), refused())
        session.execute(text("UPDATE lesion SET scanner_model = 'Sono ' || id % 2, site = 'Ward ' || id % 3"))
        session.execute(text("UPDATE lesion SET scanner_model = NULL, site = NULL WHERE id % 5 = 0"))
    return sessions


def test_the_lesions_are_counted_by_the_database_as_one_by_one(clinic: sessionmaker[Session]) -> None:
    with clinic() as session:
        seen = watch(session)
        plain = session.execute(
            text(
                "SELECT notice, outcome::text, count(*) FROM lesion_result "
                "WHERE original = '4A' AND outcome IS NOT NULL GROUP BY 1, 2"
            )
        ).all()
    assert {(notice, outcome): count for notice, outcome, count in plain} == {
        (one.notice, arm): count for one in seen.totals for arm, count in lesions_of(one).items()
    }
    assert [(one.notice, one.comparison.lesions) for one in seen.totals] == [(None, 33), (DEMO, 1)]
    assert (seen.groups, seen.alerts) == ((), ())


def test_the_groups_add_up_to_the_totals(clinic: sessionmaker[Session]) -> None:
    names = {By.SCANNER: {"Sono 0", "Sono 1", "unknown"}, By.SITE: {"Ward 0", "Ward 1", "Ward 2", "unknown"}}
    for by in By:
        with clinic() as session:
            seen = watch(session, by)
        for total in seen.totals:
            parts = [one for one in seen.groups if one.notice == total.notice]
            for arm in ARMS:
                assert sum(one.comparison.rates[arm].count for one in parts) == total.comparison.rates[arm].count
        assert by not in names or {one.group for one in seen.groups if one.notice is None} == names[by]


def test_since_leaves_out_what_was_scored_before(clinic: sessionmaker[Session]) -> None:
    with clinic.begin() as session:
        session.execute(
            text("UPDATE restratification SET created_at = :then WHERE outcome = 'maintained'"), {"then": LONG_AGO}
        )
        [real, _] = watch(session, since=datetime.now(UTC) - timedelta(days=30)).totals
    assert lesions_of(real) == {"downgraded": 9, "upgraded": 6}


def test_rates_that_are_not_the_study_s_are_an_alert_for_each_group_of_enough_lesions(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        ended_with(session, "1.1", *[(0.1, 0.1)] * 30)
        session.execute(text("UPDATE lesion SET scanner_model = CASE WHEN id % 30 < 28 THEN 'Sono' ELSE 'Echo' END"))
        seen = watch(session, By.SCANNER)
    assert [(alert.alarm, alert.sentence.split(":")[0]) for alert in seen.alerts] == [
        (Alarm.RATES_DIFFER, "all 4A lesions"),
        (Alarm.RATES_DIFFER, "Sono"),
    ]
    assert [one.comparison.verdict.value for one in seen.groups] == ["too_few", "differs"]


def report(session: Session, uid: str, result: str, reported_on: date = DAY) -> None:
    record_pathology(session, [PathologyRecord(found(session, uid), result, None, reported_on)], "anne")


def test_a_downgraded_cancer_is_the_first_alert_also_alone_and_among_few_lesions(
    sessions: sessionmaker[Session],
) -> None:
    with sessions.begin() as session:
        missed = ended(session, study("1.1"), scored(lh=0.1, bm=0.1, version="2.0")).study_id
        for number, (lh, bm) in enumerate([(0.9, 0.9), (0.9, 0.9), (0.9, 0.1), (0.1, 0.1)]):
            ended(session, study(f"2.{number}"), scored(lh=lh, bm=bm, version="2.0"))
        for uid, result in {"1.1": "malignant", "2.0": "malignant", "2.1": "benign", "2.3": "benign"}.items():
            report(session, uid, result)
        seen = watch(session)
    [alert] = seen.alerts
    assert alert.alarm is Alarm.DOWNGRADED_CANCER
    assert str(missed) in alert.sentence
    assert "1.1" not in alert.sentence
    [total] = seen.totals
    assert {arm.value: (part.count, part.total) for arm, part in total.malignant.items()} == {
        "downgraded": (1, 2),
        "maintained": (0, 0),
        "upgraded": (1, 2),
    }


def test_a_cancer_is_listed_since_its_advice_or_its_pathology_became_known(sessions: sessionmaker[Session]) -> None:
    days_ago = {"1.1": (400, 1), "1.2": (1, 400), "1.3": (400, 400), "1.4": (1, 1)}
    ids = {}
    with sessions.begin() as session:
        for uid, (scored_days, reported_days) in days_ago.items():
            ids[ended(session, study(uid), scored(lh=0.1, bm=0.1)).study_id] = uid
            key = found(session, uid).key
            session.execute(
                text(
                    "UPDATE restratification SET created_at = now() - make_interval(days => :d) WHERE lesion_id = :key"
                ),
                {"d": scored_days, "key": key},
            )
            session.execute(
                text(
                    "INSERT INTO pathology (lesion_id, result, recorded_at) "
                    "VALUES (:key, 'malignant', now() - make_interval(days => :d))"
                ),
                {"key": key, "d": reported_days},
            )
        lately = watch(session, since=datetime.now(UTC) - timedelta(days=7)).cancers
        assert sorted(ids[one.study_id] for one in lately) == ["1.1", "1.2", "1.4"]
        assert len(watch(session).cancers) == 4


@pytest.mark.parametrize("late", [False, True], ids=["the biopsy came first", "the biopsy came late"])
def test_a_cancer_that_a_later_report_calls_benign_is_still_told(
    sessions: sessionmaker[Session], *, late: bool
) -> None:
    reports = [("malignant", DAY), ("benign", DAY + timedelta(days=30))]
    with sessions.begin() as session:
        missed = ended(session, study("1.1"), scored(lh=0.1, bm=0.1)).study_id
        ended(session, study("1.2"), scored(lh=0.9, bm=0.9))
        for uid in ("1.1", "1.2"):
            for result, day in reversed(reports) if late else reports:
                report(session, uid, result, reported_on=day)
        seen = watch(session)
        assert [(alert.alarm, str(missed) in alert.sentence) for alert in seen.alerts] == [
            (Alarm.CANCER_TAKEN_BACK, True)
        ]
        assert [one.notice for one in seen.taken_back] == [DEMO]
        assert watch(session, since=datetime.now(UTC) + timedelta(days=1)).alerts == ()
        report(session, "1.1", "malignant", reported_on=DAY + timedelta(days=60))
        assert [alert.alarm for alert in watch(session).alerts] == [Alarm.DOWNGRADED_CANCER]


def test_results_that_a_newer_revision_left_behind_are_an_alert(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1", "a"), scored(lh=0.1, bm=0.1))
        report(session, "1.1", "malignant")
        ended(session, study("1.1", "b"), scored())
        assert [alert.alarm for alert in watch(session).alerts] == [Alarm.PATHOLOGY_LEFT_BEHIND]


def test_a_purged_study_still_counts(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        ended(session, study("1.1"), scored(lh=0.1, bm=0.1))
        report(session, "1.1", "malignant")
        before = arms(session, Grouping.SCANNER)
        ledger.purge(session, datetime.now(UTC) + timedelta(days=1), "anne", 10)
        assert arms(session, Grouping.SCANNER) == before
        assert len(watch(session).cancers) == 1


def test_an_empty_ledger_has_no_alert(sessions: sessionmaker[Session]) -> None:
    with sessions() as session:
        seen = watch(session, By.SITE)
    assert (seen.alerts, seen.totals, seen.groups) == ((), (), ())


def test_a_pair_with_one_notice_bears_it(sessions: sessionmaker[Session]) -> None:
    with sessions.begin() as session:
        register(session, "3.0", notice="")
        ended(session, study("1.1"), scored(version="3.0"))
        assert [one.notice for one in watch(session).totals] == [None]
