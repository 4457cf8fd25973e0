"""Rows that are bad for the same reason are one line."""

import pytest

from worker.cli.bad_rows import folded
from worker.dataset.manifest import Fault
from worker.errors import Code


def fault(line: int, reason: str = "no file") -> Fault:
    return Fault(line, Code.FILE_NOT_FOUND, reason)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([7], "7"),
        ([7, 8], "7, 8"),
        (range(2, 1872), "2 to 1871"),
        ([2, 3, 4, 9, 12], "2, 3, 4 and 2 more"),
    ],
)
def test_equal_faults_are_one_line_with_their_number(lines: list[int], said: str) -> None:
    (one,) = folded(map(fault, lines))
    assert (one.line, one.rows, one.reason) == (said, len(lines), "no file")


def test_other_reasons_have_lines_of_their_own_in_the_order_of_the_rows() -> None:
    found = folded([fault(2), fault(3, "other"), fault(4)])
    assert [(one.line, one.rows, one.reason) for one in found] == [("2, 4", 2, "no file"), ("3", 1, "other")]
