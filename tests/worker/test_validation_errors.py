"""pydantic's words never reach a person: not of any error that it has, and not from any of our schemas."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_core.core_schema import ErrorType

from worker.cli.sentences import sentence_of
from worker.contract import parse_job
from worker.errors import DlrError
from worker.inference.model_card import parse_card
from worker.monitoring.threshold_policy import read_policy
from worker.training.config import read_config
from worker.validation_errors import flaws_of
from worker.validation_errors import sentence_of as validation_sentence

FOREIGN = re.compile(
    r"\b(Input|Field required|Extra inputs|should|valid (dictionary|string|integer)|Value error|ctx)\b"
)
CONTEXT = {
    "gt": 1, "ge": 1, "lt": 1, "le": 1, "multiple_of": 1, "min_length": 1, "max_length": 1, "actual_length": 1,
    "field_type": "List", "pattern": "x", "expected": "'a' or 'b'", "error": "our own words", "discriminator": "kind",
    "tag": "Doe^Jane", "expected_tags": "'a'", "expected_schemes": "'http'", "class_name": "Doe", "class": "Doe",
    "attribute": "a", "method_name": "m", "encoding": "utf-8", "encoding_error": "e", "tz_expected": 1, "tz_actual": 1,
    "max_digits": 1, "decimal_places": 1, "whole_digits": 1, "expected_version": 4,
}  # fmt: skip


@pytest.mark.parametrize("kind", get_args(ErrorType))
def test_every_error_that_pydantic_has_is_told_in_our_words(kind: str) -> None:
    sentence = validation_sentence(kind, "Input should be a valid Doe^Jane", CONTEXT)
    assert sentence
    assert not FOREIGN.search(sentence), sentence
    assert "Doe" not in sentence


def test_a_check_of_ours_is_told_in_its_own_words() -> None:
    error = PydanticCustomError("ours", "two lesions have the same lesion_id")
    invalid = ValidationError.from_exception_data("Job", [{"type": error, "loc": ("a",), "input": "Doe^Jane"}])
    assert [flaw.sentence for flaw in flaws_of(invalid)] == ["two lesions have the same lesion_id"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")

    number: int


def test_where_it_is_wrong_is_told_from_the_outside_in() -> None:
    with pytest.raises(ValidationError) as caught:
        _Part.model_validate({"other": 1})
    assert [(flaw.place, flaw.sentence) for flaw in flaws_of(caught.value)] == [
        (("number",), "is missing"),
        (("other",), "there is no such name"),
    ]


def _policy(content: object, folder: Path) -> object:
    (folder / "policy.json").write_text(json.dumps(content))
    return read_policy(folder / "policy.json")


def _configuration(content: object, _folder: Path) -> object:
    return read_config(None, content if isinstance(content, dict) else {"epochs": content})


READERS: dict[str, Callable[[object, Path], object]] = {
    "job": lambda content, _: parse_job(content),
    "card": lambda content, _: parse_card(json.dumps(content)),
    "policy": _policy,
    "configuration": _configuration,
}
NAMES = st.sampled_from([
    "schema_version", "study_instance_uid", "images", "kind", "paths", "lesions", "roi", "name", "version", "epochs",
    "seed", "augmentation", "DLR_BM", "threshold", "versions",
])  # fmt: skip
PLAIN = st.none() | st.booleans() | st.integers(-2, 2) | st.floats(allow_nan=False) | st.sampled_from(["", "Doe^Jane"])
VALUES = st.recursive(
    PLAIN, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=8
)


@pytest.mark.parametrize("reader", READERS)
@given(content=VALUES)
def test_no_reader_of_a_file_or_message_repeats_them(
    tmp_path_factory: pytest.TempPathFactory, reader: str, content: object
) -> None:
    reason = ""
    try:
        READERS[reader](content, tmp_path_factory.getbasetemp())
    except DlrError as refused:
        reason = refused.reason
    assert not FOREIGN.search(reason), reason
    assert "Doe^Jane" not in reason


def test_a_document_of_ours_that_its_schema_refuses_ends_a_command_in_our_words() -> None:
    with pytest.raises(ValidationError) as caught:
        _Part.model_validate({"number": "Doe^Jane"})
    assert sentence_of(caught.value) == ("internal_error", "_Part: number has to be a whole number")
