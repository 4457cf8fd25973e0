"""Several readers and one list: when each study is read.

A reader who is free takes the study that stands first on the list. Nobody lays a study aside for another one; only
`preemptive_waits` does, which exists to be compared with the FDA's QuCAD (docs/decisions/0043).
"""

from heapq import heapify, heappop, heappush, heapreplace

import numpy as np
from numpy.typing import NDArray

Minutes = NDArray[np.float64]
Ranks = NDArray[np.int64]


def waits(arrived: Minutes, reading: Minutes, ranks: Ranks, readers: int) -> Minutes:
    """Return how long each study waits until a reader opens it.

    Args:
        arrived: when each study comes onto the list, in minutes, rising; float64 (N,).
        reading: how long it takes to read it, in minutes, 0 or more; float64 (N,).
        ranks: its place on the list, lowest first; equal ones are read in the order of their arrival; int64 (N,).
        readers: at least 1; all of them are free at first.

    Returns:
        Minutes; float64 (N,).
    """
    keys, studies = _keys(ranks)
    arrives, takes = arrived.tolist(), reading.tolist()
    opened = [0.0] * len(arrives)
    free = [-np.inf] * readers
    waiting: list[int] = []
    come, count, now = 0, len(arrives), -np.inf
    for _ in range(count):
        if free[0] > now:
            now = free[0]
        if not waiting and arrives[come] > now:
            now = arrives[come]
        while come < count and arrives[come] <= now:
            heappush(waiting, keys[come])
            come += 1
        study = studies[heappop(waiting)]
        opened[study] = now
        heapreplace(free, now + takes[study])
    return np.array(opened) - arrived


def preemptive_waits(arrived: Minutes, reading: Minutes, ranks: Ranks, readers: int) -> Minutes:
    """Return how long each study waits where one of a lower rank is laid aside for it, and resumed where it was left.

    Args:
        arrived: as `waits` takes them, and so the others.
        reading: how long it takes to read it, in minutes.
        ranks: a study is laid aside for one of a strictly lower rank: of those being read the one of the highest
            rank, and of these the last that arrived.
        readers: at least 1.

    Returns:
        Minutes in which the study was on the list and nobody read it, interruptions included; float64 (N,).
    """
    keys, studies = _keys(ranks)
    left = reading.tolist()
    closed = np.zeros(len(left))
    waiting: list[int] = []
    being_read: list[tuple[float, int]] = []

    def begin(study: int, now: float) -> None:
        heappush(being_read, (now + left[study], study))

    def work_until(now: float) -> None:
        while being_read and being_read[0][0] <= now:
            at, study = heappop(being_read)
            closed[study] = at
            if waiting:
                begin(studies[heappop(waiting)], at)

    for study, now in enumerate(arrived.tolist()):
        work_until(now)
        if len(being_read) < readers:
            begin(study, now)
            continue
        ends, last = max(being_read, key=lambda one: keys[one[1]])
        if ranks[last] <= ranks[study]:
            heappush(waiting, keys[study])
            continue
        being_read.remove((ends, last))
        heapify(being_read)
        left[last] = ends - now
        heappush(waiting, keys[last])
        begin(study, now)
    work_until(np.inf)
    result: Minutes = closed - arrived - reading
    return result


def _keys(ranks: Ranks) -> tuple[list[int], list[int]]:
    """Each study's place among all, by rank and then arrival, and the study at each place."""
    order = np.argsort(ranks, kind="stable")
    keys = np.empty(len(order), np.int64)
    keys[order] = np.arange(len(order))
    return keys.tolist(), order.tolist()
