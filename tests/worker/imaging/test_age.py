"""One age, or a refusal that says what a person has to look at."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.schema.vocabulary import AgeSource
from worker.errors import Code, LesionRefused
from worker.imaging.age import resolve_age
from worker.study import Age

_days = st.dates(min_value=date(1900, 1, 1), max_value=date(2030, 12, 31))


@pytest.mark.parametrize(
    ("job", "patient_age", "birth", "study", "years", "source"),
    [
        (47.0, None, None, None, 47.0, AgeSource.JOB),
        (0.0, None, None, None, 0.0, AgeSource.JOB),
        (120.0, None, None, None, 120.0, AgeSource.JOB),
        (47.5, "047Y", None, None, 47.5, AgeSource.JOB),
        (48.0, "047Y", None, None, 48.0, AgeSource.JOB),
        (47.0, "000Y", None, None, 47.0, AgeSource.JOB),
        (47.0, "47", None, None, 47.0, AgeSource.JOB),
        (47.0, "999Y", None, None, 47.0, AgeSource.JOB),
        (47.0, None, "20300101", "20260101", 47.0, AgeSource.JOB),
        (47.0, "047Y", "19000101", "20000101", 47.0, AgeSource.JOB),
        (None, "047Y", "19000101", "20000101", 47.0, AgeSource.PATIENT_AGE),
        (None, "047Y ", None, None, 47.0, AgeSource.PATIENT_AGE),
        (None, "018M", None, None, 1.5, AgeSource.PATIENT_AGE),
        (None, "052W", None, None, 52 * 7 / 365.25, AgeSource.PATIENT_AGE),
        (None, "365D", None, None, 365 / 365.25, AgeSource.PATIENT_AGE),
        (None, "120Y", None, None, 120.0, AgeSource.PATIENT_AGE),
        (None, None, "19790310", "20260310", 47.0, AgeSource.BIRTH_DATE),
        (None, "", "19790310", "20260309", 47 - 1 / 365, AgeSource.BIRTH_DATE),
        (None, " ", "1979.03.10", "2026.03.10", 47.0, AgeSource.BIRTH_DATE),
        (None, None, "20000229", "20250301", 25.0, AgeSource.BIRTH_DATE),
    ],
)
def test_an_age_and_its_source(
    job: float | None, patient_age: str | None, birth: str | None, study: str | None, years: float, source: AgeSource
) -> None:
    age = resolve_age(job, patient_age, birth, study)
    assert age.years == pytest.approx(years, abs=1e-12)
    assert age.source == source


@pytest.mark.parametrize(
    ("job", "patient_age", "birth", "study", "code"),
    [
        (-0.1, None, None, None, Code.AGE_OUT_OF_RANGE),
        (120.1, None, None, None, Code.AGE_OUT_OF_RANGE),
        (float("nan"), None, None, None, Code.AGE_OUT_OF_RANGE),
        (47.0, "049Y", None, None, Code.AGE_CONTRADICTORY),
        (48.01, "047Y", None, None, Code.AGE_CONTRADICTORY),
        (47.0, None, "19600101", "20260101", Code.AGE_CONTRADICTORY),
        (47.0, "000Y", "19600101", "20260101", Code.AGE_CONTRADICTORY),
        (None, "000Y", "19790310", "20260310", Code.AGE_IMPLAUSIBLE),
        (None, "000D", None, None, Code.AGE_IMPLAUSIBLE),
        (None, "47Y", None, None, Code.AGE_IMPLAUSIBLE),
        (None, "047y", None, None, Code.AGE_IMPLAUSIBLE),
        (None, "abcY", "19790310", "20260310", Code.AGE_IMPLAUSIBLE),
        (None, "121Y", None, None, Code.AGE_OUT_OF_RANGE),
        (None, None, "20270101", "20260101", Code.AGE_IMPLAUSIBLE),
        (None, None, "20260101", "20260101", Code.AGE_IMPLAUSIBLE),
        (None, None, "18990101", "20260101", Code.AGE_IMPLAUSIBLE),
        (None, None, "19790231", "20260101", Code.AGE_IMPLAUSIBLE),
        (None, None, "1979", "20260101", Code.AGE_IMPLAUSIBLE),
        (None, None, "19790310", None, Code.AGE_MISSING),
        (None, None, None, "20260310", Code.AGE_MISSING),
        (None, None, None, None, Code.AGE_MISSING),
        (None, "", "", "", Code.AGE_MISSING),
    ],
)
def test_no_age_is_guessed(
    job: float | None, patient_age: str | None, birth: str | None, study: str | None, code: Code
) -> None:
    with pytest.raises(LesionRefused) as refused:
        resolve_age(job, patient_age, birth, study)
    assert refused.value.code == code


@given(job=st.none() | st.floats(), header=st.tuples(*[st.none() | st.text(max_size=10)] * 3))
def test_whatever_comes_the_answer_is_an_age_from_0_to_120_or_a_refusal(
    job: float | None, header: tuple[str | None, str | None, str | None]
) -> None:
    try:
        age = resolve_age(job, *header)
    except LesionRefused as refused:
        assert refused.code.value.startswith("age_")  # noqa: PT017
    else:
        assert 0 <= age.years <= 120


@given(birth=_days, lived=st.integers(1, 40_000), later=st.integers(1, 800))
def test_age_from_dates_grows_with_every_day_and_counts_birthdays(birth: date, lived: int, later: int) -> None:
    def age(study: date) -> Age:
        return resolve_age(None, None, f"{birth:%Y%m%d}", f"{study:%Y%m%d}")

    study = birth + timedelta(days=lived)
    assert age(study).years < age(study + timedelta(days=later)).years
    completed = study.year - birth.year - ((study.month, study.day) < (birth.month, birth.day))
    assert int(age(study).years + 1e-9) == completed
    assert age(study).years == pytest.approx(lived / 365.25, abs=0.01)


@given(years=st.integers(1, 120), offset=st.floats(-1, 1))
def test_a_job_within_a_year_of_the_header_keeps_its_own_age(years: int, offset: float) -> None:
    job = min(max(years + offset, 0.0), 120.0)
    assert resolve_age(job, f"{years:03d}Y", None, None) == Age(job, AgeSource.JOB)
