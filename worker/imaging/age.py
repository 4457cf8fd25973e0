"""The patient's age at the study, and every way in which it can be wrong."""

import re
from datetime import date

from db.schema.vocabulary import AgeSource
from worker.errors import Code, LesionRefused
from worker.imaging.header import date_in
from worker.study import Age

OLDEST_YEARS = 120.0
TOLERANCE_YEARS = 1.0
"""Patient's Age counts completed years, so it may lie up to a year below the true age."""

_AGE_STRING = re.compile(r"([0-9]{3})([DWMY])")
_YEARS = {"D": 1 / 365.25, "W": 7 / 365.25, "M": 1 / 12, "Y": 1.0}


def resolve_age(job_age: float | None, patient_age: str | None, birth_date: str | None, study_date: str | None) -> Age:
    """Decide on one age, or refuse to.

    The header's age is Patient's Age, else Study Date less Patient's Birth Date. The job's age goes before it, and is
    refused where a usable header age contradicts it. A header age is usable when it is well-formed, above 0 and not
    above 120 years; ``000Y``, a birth on or after the day of the study, and anything malformed are not: beside a job's
    age they are passed over, and without one a person has to look.

    Args:
        job_age: years, as the job gives it.
        patient_age: (0010,1010), ``nnnD``, ``nnnW``, ``nnnM`` or ``nnnY`` (PS3.5, 6.2, AS).
        birth_date: (0010,0030), ``YYYYMMDD`` or the older ``YYYY.MM.DD`` (PS3.5, 6.2, DA).
        study_date: (0008,0020), the same.

    Returns:
        The age, 0 to 120 years, and its source.

    Raises:
        LesionRefused: ``age_out_of_range``, ``age_contradictory``, ``age_implausible``, ``age_missing``.
    """
    patient_age, birth_date, study_date = (
        (value or "").strip(" \0") for value in (patient_age, birth_date, study_date)
    )
    if job_age is None:
        return _header_age(patient_age, birth_date, study_date)
    if not 0 <= job_age <= OLDEST_YEARS:
        raise LesionRefused(Code.AGE_OUT_OF_RANGE)
    stated = _usable(_age_string_years(patient_age)) or _usable(_years_between(birth_date, study_date))
    if stated is not None and abs(stated - job_age) > TOLERANCE_YEARS:
        raise LesionRefused(Code.AGE_CONTRADICTORY)
    return Age(float(job_age), AgeSource.JOB)


def _header_age(patient_age: str, birth_date: str, study_date: str) -> Age:
    if patient_age:
        years = _age_string_years(patient_age)
        if not years:
            raise LesionRefused(Code.AGE_IMPLAUSIBLE, "Patient's Age is zero or malformed")
        if years > OLDEST_YEARS:
            raise LesionRefused(Code.AGE_OUT_OF_RANGE)
        return Age(years, AgeSource.PATIENT_AGE)
    if not (birth_date and study_date):
        raise LesionRefused(Code.AGE_MISSING)
    usable = _usable(_years_between(birth_date, study_date))
    if usable is None:
        raise LesionRefused(Code.AGE_IMPLAUSIBLE, "Patient's Birth Date and Study Date give no possible age")
    return Age(usable, AgeSource.BIRTH_DATE)


def _usable(years: float | None) -> float | None:
    return years if years is not None and 0 < years <= OLDEST_YEARS else None


def _age_string_years(text: str) -> float | None:
    found = _AGE_STRING.fullmatch(text)
    return int(found[1]) * _YEARS[found[2]] if found else None


def _years_between(birth_date: str, study_date: str) -> float | None:
    """Completed years, and the part of the year since the last birthday."""
    birth, study = date_in(birth_date), date_in(study_date)
    if birth is None or study is None or birth > study:
        return None
    years = study.year - birth.year - (study < _birthday(birth, study.year))
    last, following = _birthday(birth, birth.year + years), _birthday(birth, birth.year + years + 1)
    return years + (study - last) / (following - last)


def _birthday(birth: date, year: int) -> date:
    leap_day = (birth.month, birth.day) == (2, 29) and not (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
    return date(year, 3, 1) if leap_day else birth.replace(year=year)
