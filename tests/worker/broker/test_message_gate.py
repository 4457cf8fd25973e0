"""What the gate lets through, and what becomes a refusal."""

import base64
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.broker.message_gate import clean_envelope, envelope, read_message
from worker.broker.queues import INFER_STUDY, RECORD_REFUSAL, SUBMIT_STUDY

LIMIT = 1 << 16
STUDY_ID = str(uuid4())


def pushed(
    task: object = SUBMIT_STUDY,
    args: object = (),
    kwargs: object = None,
    *,
    headers: dict[str, Any] | None = None,
    embed: object = None,
    **outer: Any,
) -> bytes:
    body = json.dumps([args, {"job": {"a": 1}} if kwargs is None else kwargs, embed or {}])
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": task, "id": str(uuid4()), **(headers or {})},
            "properties": {"delivery_tag": "x", "body_encoding": "base64", "priority": 3},
            **outer,
        }
    ).encode()


def through(item: bytes, queue: str = "intake") -> tuple[str, list[Any], dict[str, Any], dict[str, Any]]:
    out = json.loads(json.dumps(clean_envelope(item, queue, LIMIT)))
    args, kwargs, embed = json.loads(base64.b64decode(out["body"]))
    assert embed == {}
    assert out["properties"]["delivery_info"] == {"exchange": "", "routing_key": queue}
    UUID(out["headers"]["id"])
    return out["headers"]["task"], args, kwargs, out


def test_a_job_passes_unchanged() -> None:
    task, args, kwargs, out = through(pushed())
    assert (task, args, kwargs) == (SUBMIT_STUDY, [], {"job": {"a": 1}})
    assert out["properties"]["priority"] == 3


def test_a_study_id_passes_and_is_all_that_is_shown() -> None:
    task, args, _, out = through(pushed(INFER_STUDY, [STUDY_ID], {}), "inference")
    assert (task, args) == (INFER_STUDY, [STUDY_ID])
    assert out["headers"]["argsrepr"] == f"('{STUDY_ID}',)"


@pytest.mark.parametrize(
    ("task_id", "parent_id"), [(STUDY_ID, None), (str(uuid4()), STUDY_ID)], ids=["its own", "another"]
)
def test_a_study_s_task_belongs_to_the_study_under_whatever_id_it_comes(task_id: str, parent_id: str | None) -> None:
    _, _, _, out = through(pushed(INFER_STUDY, [STUDY_ID.upper()], {}, headers={"id": task_id}), "inference")
    told = {name: out["headers"][name] for name in ("id", "root_id", "parent_id")}
    assert told == {"id": task_id, "root_id": STUDY_ID, "parent_id": parent_id}


def test_nothing_that_a_sender_wrote_around_a_job_comes_through() -> None:
    item = pushed(
        headers={
            "id": "PATIENT",
            "root_id": "PATIENT",
            "argsrepr": "PATIENT",
            "kwargsrepr": "PATIENT",
            "shadow": "PATIENT",
            "origin": "PATIENT",
            "eta": "PATIENT",
            "stamps": {"PATIENT": 1},
            "PATIENT": 1,
            "traceparent": "00-PATIENT",
            "tracestate": "PATIENT=1",
            "baggage": "PATIENT=1",
        },
        embed={"callbacks": [{"task": "PATIENT"}], "chain": [{"task": "PATIENT"}]},
    )
    assert "PATIENT" not in json.dumps(clean_envelope(item, "intake", LIMIT))


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NO_TRACE = {
    "of an unknown version": "01" + TRACE[2:],
    "of the version that there is not": "ff" + TRACE[2:],
    "in capitals": TRACE.upper(),
    "a trace of zeros": f"00-{'0' * 32}-00f067aa0ba902b7-01",
    "a span of zeros": f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01",
    "with more behind it": f"{TRACE}-1.2.840.1",
    "with a line behind it": f"{TRACE}\n",
    "digits of other scripts": TRACE.replace("0", "\u0660"),
    "no text": ["00", 1],
    "empty": "",
}


def test_the_trace_that_a_job_is_a_part_of_comes_through() -> None:
    *_, out = through(pushed(headers={"traceparent": TRACE}))
    assert out["headers"]["traceparent"] == TRACE
    *_, again = through(json.dumps(out).encode())
    assert again["headers"]["traceparent"] == TRACE


@pytest.mark.parametrize("value", NO_TRACE.values(), ids=NO_TRACE)
def test_what_is_no_trace_is_dropped_and_the_job_passes(value: object) -> None:
    task, *_, out = through(pushed(headers={"traceparent": value}))
    assert task == SUBMIT_STUDY
    assert "traceparent" not in out["headers"]


def test_a_study_s_trace_is_the_ledger_s_and_no_message_s() -> None:
    *_, out = through(pushed(INFER_STUDY, [STUDY_ID], {}, headers={"traceparent": TRACE}), "inference")
    assert "traceparent" not in out["headers"]


REFUSED = {
    "not JSON": (b"\x80\x04pickle", "message_undecodable"),
    "empty": (b"", "message_undecodable"),
    "a list": (b"[]", "message_undecodable"),
    "nested without end": (b"[" * 10_000, "message_undecodable"),
    "nested deeper than any job": (pushed(kwargs={"job": json.loads("[" * 40 + "]" * 40)}), "message_undecodable"),
    "no task": (pushed(task=None), "message_undecodable"),
    "an unknown task": (pushed("celery.backend_cleanup"), "task_unknown"),
    "a pickle": (pushed(**{"content-type": "application/x-python-serialize"}), "message_undecodable"),
    "compressed": (pushed(headers={"compression": "application/x-gzip"}), "message_undecodable"),
    "a body that is no base64": (pushed(body="%%%"), "message_undecodable"),
    "a body that is a number": (pushed(body=7), "message_undecodable"),
    "too large": (pushed(kwargs={"job": "x" * 3 * LIMIT}), "job_too_large"),
    "a positional job": (pushed(args=[{}], kwargs={}), "job_invalid"),
    "two arguments": (pushed(kwargs={"job": {}, "more": 1}), "job_invalid"),
    "a study id that is none": (pushed(INFER_STUDY, ["1.2.826"], {}), "job_invalid"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_read_becomes_the_record_of_its_refusal(name: str) -> None:
    item, code = REFUSED[name]
    task, args, kwargs, _ = through(item)
    assert (task, args, kwargs["code"]) == (RECORD_REFUSAL, [], code)
    assert kwargs["reason"]
    assert kwargs["raw"] == item[: len(kwargs["raw"])].decode("utf-8", "backslashreplace")[: len(kwargs["raw"])]


NAMED = {"study_instance_uid": "1.2.840.99.1", "accession_number": "ACC-77", "priority": "stat"}


@pytest.mark.parametrize(
    ("item", "code"),
    [
        (pushed(args=[NAMED], kwargs={}), "job_invalid"),
        (pushed(kwargs={"study": NAMED}), "job_invalid"),
        (pushed(kwargs={"job": NAMED, "more": 1}), "job_invalid"),
        (pushed("dlr.submit_stduy", kwargs={"job": NAMED}), "task_unknown"),
        (pushed(task=None, kwargs={"job": NAMED}), "message_undecodable"),
        (pushed(kwargs={"job": NAMED}, **{"content-type": "application/x-json"}), "message_undecodable"),
        (pushed(kwargs={"job": NAMED | {"deep": json.loads("[" * 40 + "]" * 40)}}), "message_undecodable"),
        (pushed(kwargs={"job": NAMED})[:-20], "message_undecodable"),
        (json.dumps(NAMED).encode(), "message_undecodable"),
        (pushed(kwargs={"job": NAMED | {"more": "x" * 3 * LIMIT}}), "job_too_large"),
        (pushed(kwargs={"job": {"more": "x" * LIMIT} | NAMED | {"rest": "x" * LIMIT}}), "job_too_large"),
    ],
    ids=["positional", "misspelt", "two", "task", "no task", "type", "nested", "cut", "bare", "too large", "behind"],
)
def test_a_message_that_can_not_be_read_is_still_named_by_the_study_in_it(item: bytes, code: str) -> None:
    _, _, kwargs, out = through(item)
    assert {name: kwargs.get(name) for name in ("code", *NAMED)} == {"code": code, **NAMED}
    assert "ACC-77" not in json.dumps(out["headers"])


@pytest.mark.parametrize(
    "named", [{"study_instance_uid": "x"}, {"accession_number": ""}, {"patient": "P1"}, {"priority": "STAT"}]
)
def test_the_record_of_a_refusal_says_nothing_else(named: dict[str, str]) -> None:
    told = {"code": "job_invalid", "reason": "no", "raw": ""} | named
    assert (
        through(pushed(RECORD_REFUSAL, kwargs=told))[2]["reason"]
        == "dlr.record_refusal takes the refusal of a message."
    )


@given(st.binary(max_size=200))
def test_no_bytes_stop_the_gate(item: bytes) -> None:
    assert through(item)[0] == RECORD_REFUSAL


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(headers=json_values, properties=json_values, body=json_values)
def test_no_json_stops_the_gate(headers: object, properties: object, body: object) -> None:
    item = {"headers": headers, "properties": properties, "body": body, "content-type": "application/json"}
    assert through(json.dumps(item).encode())[0] == RECORD_REFUSAL


@given(item=st.binary(max_size=200))
def test_what_passed_once_passes_again_as_it_is(item: bytes) -> None:
    once = json.dumps(clean_envelope(item, "intake", LIMIT)).encode()
    message = read_message(once, LIMIT * 10)
    again = read_message(json.dumps(envelope(message, "intake")).encode(), LIMIT * 10)
    assert again == message
