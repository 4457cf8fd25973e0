"""The document and what is made of it: JSON that its schema describes, a page that stands alone, a plot."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import pytest

from tests.worker.evaluation.samples import many, material
from worker.clinical.reading_order.policy import built_in
from worker.errors import Code, SetupRefused
from worker.evaluation.evaluation_options import Options
from worker.waiting_times import document
from worker.waiting_times.cohort import judged_cohort
from worker.waiting_times.comparison import Estimate
from worker.waiting_times.document import WaitingTimes, as_plain, schema, to_json, waiting_times
from worker.waiting_times.formatting import minutes, said_of, share
from worker.waiting_times.report import html, plot_of, write_report
from worker.waiting_times.setting import Setting, Workload

SETTING = Setting(Workload(), 5, None, 5, 1)
WHEN = datetime(2026, 11, 23, tzinfo=UTC)


@lru_cache
def found(setting: Setting = SETTING, lesions: int = 100) -> WaitingTimes:
    cohort = judged_cohort(material(many(lesions)), (), Options())
    return waiting_times(cohort, built_in("suspicion/2"), setting, created_at=WHEN)


def test_the_document_says_what_was_simulated_and_of_what() -> None:
    plain = as_plain(found())
    assert plain["policy"] == "suspicion/2"
    assert plain["setting"] == {
        "work": {
            "readers": 2, "per_day": 76.8, "hours": 8.0, "reading_minutes": 10.0, "reading_time": "exponential",
            "variation": 0.5,
        },
        "days": 5, "cancer_share": None, "resamples": 5, "seed": 1,
    }  # fmt: skip
    assert plain["utilization"] == pytest.approx(0.8)
    assert plain["cohort"]["lesions"] == 100
    assert plain["cohort"]["studies"] == plain["cohort"]["patients"] == 50
    assert list(plain["orders"]) == ["arrival", "priority", "outcome/1", "suspicion/2"]
    assert [(one["first"], one["second"]) for one in plain["differences"]][:2] == [
        ("priority", "arrival"), ("outcome/1", "arrival"),
    ]  # fmt: skip
    assert set(plain["orders"]["arrival"]) == {
        "cancers_mean", "cancers_p90", "others_mean", "others_p90", "first_tenth",
    }  # fmt: skip


def test_its_schema_names_every_field() -> None:
    described = json.loads(schema())
    assert set(described["properties"]) == set(json.loads(to_json(found())))
    assert set(described["$defs"]["Figures"]["properties"]) == set(as_plain(found())["orders"]["arrival"])


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        (SETTING, [document.SIMULATED, "% of these studies are cancers"]),
        (replace(SETTING, cancer_share=0.05), [document.SIMULATED]),
        (replace(SETTING, cancer_share=0.05, work=Workload(per_day=200)), [document.SIMULATED, document.OVERLOADED]),
    ],
)
def test_what_a_reader_has_to_know_is_said_before_any_number(setting: Setting, said: list[str]) -> None:
    last = found(setting).notices[-len(said) :]
    assert [sentence in notice for sentence, notice in zip(said, last, strict=True)] == [True] * len(said)
    assert document.NO_INTERVALS not in found(setting).notices


def test_too_few_patients_for_intervals_are_said() -> None:
    few = found(SETTING, 30)
    assert few.orders["arrival"].cancers_mean.low is None
    assert document.NO_INTERVALS in few.notices


def test_numbers_are_said_with_their_intervals() -> None:
    assert minutes(Estimate(12.84, 11.5, 14.96)) == "12.8 (11.5 to 15.0)"
    assert minutes(Estimate(-4.9)) == "-4.9"
    assert share(Estimate(0.208, 0.177, 0.2369)) == "20.8 % (17.7 to 23.7)"
    assert "76.8 studies (5 % of them cancers) in 8 hours" in said_of(found(replace(SETTING, cancer_share=0.05)))
    assert said_of(found()).endswith(
        "50 days, each 76.8 studies in 8 hours; 2 readers, 10 minutes a study (exponential), 80 % of their time."
    )


def test_the_report_stands_alone_and_says_what_the_document_says(tmp_path: Path) -> None:
    write_report(found(), tmp_path / "report")
    files = {str(path.relative_to(tmp_path / "report")) for path in (tmp_path / "report").rglob("*") if path.is_file()}
    assert files == {
        "report.html", "waiting-times.json", "waiting-times.schema.json", "plots/waits.svg", "plots/waits.png",
    }  # fmt: skip
    page = (tmp_path / "report" / "report.html").read_text("utf-8")
    assert not re.search(r"<script|https?://(?!www\.w3\.org)", page)
    for notice in found().notices:
        assert notice.replace("'", "&#39;") in page
    assert minutes(found().orders["suspicion/2"].cancers_mean) in page
    assert "order of arrival" in page
    assert (tmp_path / "report" / "waiting-times.json").read_text("utf-8") == to_json(found())


def test_a_report_never_overwrites_another(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("another")
    with pytest.raises(SetupRefused) as refused:
        write_report(found(), tmp_path)
    assert refused.value.code is Code.SETTING_INVALID
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_the_same_document_gives_the_same_page() -> None:
    first, again = (html(found(), plot_of(found())) for _ in range(2))
    assert first == again


def test_the_plot_says_in_words_what_it_shows() -> None:
    alt = plot_of(found()).alt
    assert f"suspicion/2: cancers {minutes(found().orders['suspicion/2'].cancers_mean)}" in alt
