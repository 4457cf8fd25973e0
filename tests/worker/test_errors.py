"""Codes are stable, explained, and all that an exception prints."""

import pytest

from worker.errors import MEANINGS, Code, DlrError


@pytest.mark.parametrize("code", Code)
def test_every_code_says_what_it_means(code: Code) -> None:
    assert MEANINGS[code].endswith(".")
    assert code.value == code.name.lower()


def test_an_exception_prints_its_code_and_keeps_its_reason_apart() -> None:
    error = DlrError(Code.AGE_MISSING, "Jane Doe has no age")
    assert str(error) == "age_missing"
    assert "Jane" not in repr(error)
    assert error.reason == "Jane Doe has no age"
