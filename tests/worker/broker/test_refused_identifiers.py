"""By what a person finds something that was refused: every identifier in it that is valid, and no wrong one."""

import base64
import json
from copy import deepcopy
from time import perf_counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.worker.test_contract import JOB
from worker.broker.refused_identifiers import Named, named_in, named_in_message
from worker.contract import parse_job
from worker.errors import JobRefused

UID, ACCESSION = "1.2.840.99.1", "ACC-77"
NAMED = Named(UID, ACCESSION, "stat")
GOOD = deepcopy(JOB) | {"study_instance_uid": UID, "accession_number": ACCESSION, "priority": "stat"}

FIELDS = ("schema_version", "age_years", "images", "lesions", "priority", "accession_number", "study_instance_uid")
values = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.none()) | st.just({"a": {}})


@pytest.mark.parametrize(
    "changes",
    [
        {"priority": "STAT"},
        {"acession_number": "typo"},
        {"schema_version": 2},
        {"schema_version": "1"},
        {"age_years": "47"},
        {"lesions": []},
        {"lesions": {"L1": {}}},
        {"images": {"kind": "files", "paths": ["../x"]}},
        {"images": None},
        {"extra": {"study_instance_uid": "1.9"}},
        {"lesions": [{"accession_number": "ANOTHER"}]},
    ],
    ids=str,
)
def test_a_job_that_is_wrong_in_one_field_keeps_its_names(changes: dict[str, Any]) -> None:
    with pytest.raises(JobRefused):
        parse_job(GOOD | changes)
    expected = Named(UID, ACCESSION, None if "priority" in changes else "stat")
    assert named_in(GOOD | changes) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("study_instance_uid", "1.2.x"),
        ("study_instance_uid", "1." * 40),
        ("study_instance_uid", 12),
        ("study_instance_uid", ""),
        ("study_instance_uid", None),
        ("accession_number", ""),
        ("accession_number", "7" * 65),
        ("accession_number", "A\x00"),
        ("accession_number", 77),
        ("accession_number", ["ACC-77"]),
        ("priority", "STAT"),
        ("priority", 1),
    ],
)
def test_what_is_not_valid_itself_is_no_name_and_costs_no_other_its(field: str, value: object) -> None:
    assert named_in(GOOD | {field: value}).said() == {name: one for name, one in NAMED.said().items() if name != field}


@given(field=st.sampled_from(FIELDS), value=values)
def test_whatever_is_wrong_with_one_field_the_others_name_the_study(field: str, value: object) -> None:
    named = named_in(GOOD | {field: value}).said()
    assert {name: one for name, one in named.items() if name != field} == {
        name: one for name, one in NAMED.said().items() if name != field
    }


@pytest.mark.parametrize(
    "raw",
    [
        [GOOD],
        {"job": GOOD},
        json.dumps(GOOD),
        json.dumps(json.dumps(GOOD)),
        {"text": json.dumps(GOOD)[:-40]},
        [[[[{"job": GOOD}]]]],
    ],
    ids=["list", "wrapped", "text", "text in a text", "text that ends early", "deep"],
)
def test_a_job_of_another_shape_is_named_by_what_is_in_it(raw: object) -> None:
    assert named_in(raw) == NAMED


@pytest.mark.parametrize("raw", [None, 3, "text", [], {}, {"study_instance_uid": {}}, "\ud800", {"\x00": "\\u0000"}])
def test_what_names_nothing_has_no_name(raw: object) -> None:
    assert named_in(raw) == Named()


def test_two_jobs_in_one_are_of_no_one_study() -> None:
    assert named_in([GOOD, GOOD | {"study_instance_uid": "1.9"}]) == Named(None, ACCESSION, "stat")


def test_a_number_in_another_script_is_found_in_a_text_too() -> None:
    job = GOOD | {"accession_number": "检查一"}
    for text in (json.dumps(job), json.dumps(job, ensure_ascii=False)):
        assert named_in(text).accession_number == "检查一"


def message(body: object, *, encoded: bool = True, cut: int | None = None) -> bytes:
    text = json.dumps([[], {"job": body}, {}])
    whole = {
        "headers": {"task": "dlr.submit_study"},
        "properties": {"body_encoding": "base64"} if encoded else {},
        "body": base64.b64encode(text.encode()).decode() if encoded else text,
    }
    return json.dumps(whole).encode()[:cut]


@pytest.mark.parametrize("encoded", [True, False])
@pytest.mark.parametrize("cut", [None, -30])
def test_a_message_that_is_not_whole_is_named_by_what_is_left_of_it(encoded: bool, cut: int | None) -> None:
    assert named_in_message(message(GOOD, encoded=encoded, cut=cut)) == NAMED


@given(st.binary())
def test_no_bytes_are_too_strange_to_be_looked_at(item: bytes) -> None:
    assert named_in_message(item) == Named()


@pytest.mark.parametrize(
    ("item", "number"),
    [
        (b'{"accession_number": "A\n1"', None),
        (b'{"accession_number": "A\x001"', None),
        (b'{"accession_number": "A\xfc1"', None),
        (b'{"accession_number": "A\\ud800"', None),
        (b'{"accession_number": "A\xed\xa0\x80"', None),
        ('{"accession_number": "Ü检🙂"'.encode(), "Ü检🙂"),
        ('\ufeff{"accession_number": "U\u0308"'.encode(), "Ü"),
        (b'{"accession_number": "\\u00dc\\ud83d\\ude42"', "Ü🙂"),
        (b'{"accession_number": "A7", "x": "\xff"', "A7"),
        (b'{"body": "' + base64.b64encode(b'{"accession_number": "A\xfc1"') + b'"', None),
        (b'"\\"accession_number\\": \\"A7\\"', "A7"),
    ],
    ids=range(11),
)
def test_a_message_whose_text_is_of_any_bytes_keeps_what_can_be_read(item: bytes, number: str | None) -> None:
    assert named_in_message(item).accession_number == number


@given(
    st.lists(st.sampled_from([b'"', b"\\", b"accession_number", b":", b"\\u", b"d800", b"\n", b"\xff"]), max_size=12)
)
def test_no_message_is_more_than_can_be_looked_into(parts: list[bytes]) -> None:
    named_in_message(b"".join(parts))
    named_in_message(b'"accession_number": "' + b"".join(parts))


def test_no_message_holds_up_the_others() -> None:
    began = perf_counter()
    for part in (b"\\", b'"accession_number', b'"accession_number":"', b'"accession_number" ', b'"body":"', b"A"):
        named_in_message(part * ((1 << 20) // len(part)))
    assert perf_counter() - began < 20
