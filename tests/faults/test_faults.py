"""Each promise of docs/reliability.md, kept on real servers with small numbers; run alone, by `make faults`."""

import os

import pytest

from benchmarks.faults.__main__ import ROWS, run
from benchmarks.faults.former_version import NotInHistory
from benchmarks.faults.not_here import NotPossibleHere

REQUIRED = os.environ.get("DLR_TEST_TOOLS") == "required"

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("fault", ROWS)
def test_the_promise_is_kept(fault: str, capfd: pytest.CaptureFixture[str]) -> None:
    try:
        figure = run(fault, print, quick=True)
    except NotInHistory as why:
        pytest.skip(str(why))
    except NotPossibleHere as why:
        if REQUIRED:
            raise
        pytest.skip(str(why))
    said = capfd.readouterr().out
    assert figure.passed, f"{figure.figure}\n{said}"
