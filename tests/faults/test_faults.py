"""Each promise of docs/reliability.md, kept on real servers with small numbers; run alone, by `make faults`."""

import pytest

from benchmarks.faults.__main__ import ROWS, run

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("fault", ROWS)
def test_the_promise_is_kept(fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    figure = run(fault, print, quick=True)
    said = capfd.readouterr().out
    assert figure.passed, f"{figure.figure}\n{said}"
