"""How two ways are compared: in turns, several rounds, the ratio of each round, and its median and spread."""

import statistics
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

Say = Callable[[str], None]
ROUNDS = 5


def say_on_stderr(line: str) -> None:
    """Say a line to whoever waits for the figures, which go to standard output."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@dataclass(frozen=True, slots=True)
class Ratio:
    """What came of several rounds.

    Attributes:
        ours: a figure a round.
        peers: the peer's, in the same order.
    """

    ours: Sequence[float]
    peers: Sequence[float]

    @property
    def rounds(self) -> list[float]:
        return [ours / peers for ours, peers in zip(self.ours, self.peers, strict=True)]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        return min(self.rounds), max(self.rounds)


def in_turns(ours: Callable[[], float], peers: Callable[[], float], rounds: int = ROUNDS) -> Ratio:
    """Measure both ways in turns (ABAB); each returns its figure."""
    pairs = [(ours(), peers()) for _ in range(rounds)]
    return Ratio([one for one, _ in pairs], [other for _, other in pairs])


def seconds_of(work: Callable[[], object]) -> float:
    """Return how long some work takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def rate_of(work: Callable[[], int], seconds: float) -> float:
    """Repeat some work for so long; return how many things it did a second."""
    started, done = time.perf_counter(), 0
    while (taken := time.perf_counter() - started) < seconds:
        done += work()
    return done / taken


def loaded(client: Callable[[], Callable[[], object]], in_flight: int, seconds: float) -> tuple[float, float]:
    """Keep so many requests in flight; return requests a second and the 99th percentile of seconds for one.

    Args:
        client: makes, on each thread, the function that asks once and waits for the answer.
        in_flight: threads that ask.
        seconds: what is counted; half a second before it warms up.
    """
    taken: list[float] = []
    starts = time.perf_counter() + 0.5
    ends = starts + seconds

    def repeat() -> None:
        ask = client()
        while (began := time.perf_counter()) < ends:
            ask()
            if began >= starts:
                taken.append(time.perf_counter() - began)

    threads = [threading.Thread(target=repeat) for _ in range(in_flight)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(taken) / seconds, percentile(taken, 0.99)


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of all values does not exceed."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    Attributes:
        row: its name.
        what: ours against what.
        value: the median of all rounds; a ratio where the goal is one. ``None``: the row broke off.
        spread: the least and the greatest round.
        passed: the goal is reached; ``None`` where there is none.
        ours: our own figure in its unit.
        peers: the peer's.
        detail: whatever else was measured.
        goal: in words, such as ``>= 0.95``.
        seconds: how long the row took.
        commit: of this checkout, when the row began.
        processor: of the machine.
    """

    row: str
    what: str
    value: float | None
    spread: tuple[float, float] | None
    passed: bool | None
    ours: str
    peers: str
    detail: dict[str, object] = field(default_factory=dict)
    goal: str = ""
    seconds: float = 0.0
    commit: str = ""
    processor: str = ""

    def as_row(self) -> dict[str, object]:
        return asdict(self) | {
            "value": "" if self.value is None else f"{self.value:.3g}",
            "spread": "" if self.spread is None else " to ".join(f"{end:.3g}" for end in self.spread),
            "reached": {True: "yes", False: "NO", None: "reported"}[self.passed],
            "seconds": round(self.seconds),
        }


def as_markdown(figures: Sequence[Figure]) -> str:
    """Write the table for docs/performance.md."""
    columns = ("row", "what", "goal", "value", "spread", "reached", "ours", "peers")
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(str(one.as_row()[column]) for column in columns)} |" for one in figures]
    return "\n".join(lines) + "\n"
