"""What the answers of HL7 receivers mean, ERR-3 first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.sending.acknowledgement import Verdict, read_acknowledgement

TAKEN, LATER, REFUSED, NO_ANSWER = Verdict.TAKEN, Verdict.LATER, Verdict.REFUSED, Verdict.NO_ANSWER


def ack(code: str, error: str | None = None, control_id: str = "C1") -> str:
    lines = ["MSH|^~\\&|RIS|H|DLR||20261123||ACK^R01|7|P|2.5.1", f"MSA|{code}|{control_id}|Phantom^One is not known"]
    return "\r".join(lines if error is None else [*lines, f"ERR||PID^1^3|{error}|E"]) + "\r"


@pytest.mark.parametrize(
    ("code", "error", "means"),
    [
        ("AA", None, TAKEN),
        ("CA", None, TAKEN),
        ("AA", "207", TAKEN),
        ("AE", None, REFUSED),
        ("AR", None, LATER),
        ("CE", None, REFUSED),
        ("CR", None, LATER),
        *(("AE", f"{error}^Application internal error^HL70357", LATER) for error in (207,)),
        *((code, str(error), REFUSED) for code in ("AE", "AR") for error in range(100, 207)),
        ("AR", "207", LATER),
        ("AE", "99", REFUSED),
        ("AR", "300", LATER),
        ("AR", "locked", LATER),
    ],
)
def test_err_3_decides_where_it_is_given_and_otherwise_the_code(code: str, error: str | None, means: Verdict) -> None:
    assert read_acknowledgement(ack(code, error), "C1").verdict is means


def test_what_a_code_means_without_err_3_is_the_destination_s() -> None:
    by_code = {"AE": LATER, "AR": REFUSED}
    assert read_acknowledgement(ack("AE"), "C1", by_code).verdict is LATER
    assert read_acknowledgement(ack("AR"), "C1", by_code).verdict is REFUSED
    assert read_acknowledgement(ack("AE", "101"), "C1", by_code).verdict is REFUSED


@pytest.mark.parametrize(
    "text",
    [
        "",
        "MSH",
        "<html>Sign in</html>",
        ack("AA", control_id="C2"),
        ack("XX"),
        "MSH|^~\\&|RIS\rERR|||207\r",
        "MSA|AA|C1\r",
    ],
)
def test_what_acknowledges_another_message_or_none_is_no_answer(text: str) -> None:
    assert read_acknowledgement(text, "C1").verdict is NO_ANSWER


def test_other_delimiters_and_ends_of_lines_are_read() -> None:
    text = "MSH#*~\\&#RIS\nMSA#AE#C1\nERR##PID#207*internal#E\n"
    assert read_acknowledgement(text, "C1").verdict is LATER


def test_nothing_that_a_receiver_wrote_is_said_but_its_codes() -> None:
    answer = read_acknowledgement(ack("AE", "204"), "C1")
    assert answer.sentence == "the receiver answers AE and error 204"


@given(st.text(max_size=200))
def test_any_text_is_read(text: str) -> None:
    assert read_acknowledgement(text, "C1").verdict is NO_ANSWER
    assert read_acknowledgement(f"MSH|{text}", "C1").verdict in Verdict
