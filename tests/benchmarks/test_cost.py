"""What is counted of a study's cost is each part's own processor time, and the table has every part of it."""

import time

import pytest

from benchmarks.__main__ import run
from benchmarks.cost import CASES, cost_table
from benchmarks.cost_worker import Clock, count_parts


def spin(seconds: float) -> None:
    ends = time.thread_time() + seconds
    while time.thread_time() < ends:
        pass


def test_what_a_part_calls_of_another_is_the_others_and_a_wait_is_nobodys() -> None:
    clock = Clock()
    inner = clock.counting("inner", lambda: spin(0.05))

    def outer() -> None:
        spin(0.02)
        inner()
        time.sleep(0.2)

    clock.counting("outer", outer)()
    spin(0.05)
    totals = clock.totals()
    assert totals["inner"] == pytest.approx(0.05, abs=0.02)
    assert totals["outer"] == pytest.approx(0.02, abs=0.02)
    assert totals.keys() == {"inner", "outer"}


def test_a_part_that_raises_is_counted_and_left() -> None:
    clock = Clock()

    def broken() -> None:
        spin(0.02)
        raise LookupError

    with pytest.raises(LookupError):
        clock.counting("broken", broken)()
    spin(0.05)
    assert clock.totals()["broken"] == pytest.approx(0.02, abs=0.02)


def test_a_part_that_a_commit_has_not_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"gone": ("worker.gone:Gone.gone", "benchmarks.cost_worker:Gone.gone", "benchmarks.cost_worker:Clock.gone")}
    monkeypatch.setattr("benchmarks.cost_worker.PARTS", parts)
    count_parts(Clock())


def test_the_table_sums_up_each_case_and_what_is_irreducible_of_it() -> None:
    cases = [f"{kind}, {lesions}" for kind, lesions in CASES]
    sides = {
        "ours": {case: {"take": 1.0, "crop": 2.0} for case in cases},
        "earlier": {case: {"take": 4.0} for case in cases},
        "least": {case: {"decode": 0.5} for case in cases},
    }
    lines = cost_table(sides).splitlines()
    assert [line.count("|") for line in lines] == [7] * len(lines)
    assert "| **in all** | **3.00** | **3.00** | **3.00** | **3.00** | **4.00** |" in lines
    assert lines[-1].startswith("| **irreducible** | **0.50** |")


@pytest.mark.slow
def test_the_row_measures_every_part_of_both_workers_and_of_the_servers() -> None:
    figure = run("cost", print, quick=True)
    assert figure.value is not None, figure.what
    sides = figure.detail["milliseconds"]
    parts = sides["ours"]["JPEG, 2"]
    assert {"Redis in", "PostgreSQL in", "Redis out", "PostgreSQL out", "decoders"} <= parts.keys()
    of_intake, of_worker = ("take", "record", "enqueue", "rest"), ("take", "claim", "read", "crop", "engine", "result")
    assert {f"intake: {part}" for part in of_intake} | {f"worker: {part}" for part in of_worker} <= parts.keys()
    assert all(parts[part] > 0 for part in ("intake: record", "worker: result", "worker: crop", "decoders"))
    assert sides["least"]["JPEG, 2"].keys() == {"decode", "crop", "COPY", "pop and acknowledge"}
