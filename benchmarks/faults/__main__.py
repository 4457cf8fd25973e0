"""``python -m benchmarks.faults``: do each fault, print the table; exit status 1 if a promise was not kept."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from benchmarks.faults import (
    bombs,
    bursts,
    clocks,
    connections,
    frozen_host,
    identifiers,
    lost_machine,
    mutants,
    partitions,
    poison,
    pooler,
    receiver,
    refusals,
    sentinel,
    servers,
    standby,
    upgrade,
    workers,
)
from benchmarks.faults.not_here import NotPossibleHere
from benchmarks.faults.service import Say
from benchmarks.faults.table import Figure, as_markdown
from benchmarks.measuring import say_on_stderr
from benchmarks.program import asked_of, tell

ROWS: dict[str, Callable[..., Figure]] = {
    "kill": workers.kill_the_tree,
    "freeze": workers.freeze_and_kill,
    "redis": servers.redis_killed,
    "sentinel": sentinel.failover,
    "refusals": refusals.redis_refuses,
    "postgres": servers.postgres_stopped,
    "standby": standby.promoted,
    "pooler": pooler.pooler_killed,
    "readonly": servers.postgres_read_only,
    "frozen": servers.server_frozen,
    "partitions": partitions.partitions,
    "connections": connections.connections,
    "clocks": clocks.clocks,
    "frozen_host": frozen_host.frozen_host,
    "storage": receiver.storage_full,
    "orders": bursts.listener_killed,
    "jobs": bursts.interface_killed,
    "poison": poison.poison,
    "mutants": mutants.mutants,
    "bombs": bombs.bombs,
    "backup": lost_machine.restored_onto_nothing,
    "upgrade": upgrade.there_and_back,
    "rolling": workers.rolling_restarts,
    "identifiers": identifiers.identifiers,
}
COLUMNS = ("fault", "done", "figure", "must_show", "passed", "seconds")


def run(name: str, say: Say, *, quick: bool) -> Figure:
    """Do one row; a row that breaks is a figure too.

    Raises:
        NotPossibleHere: it cannot be done here.
    """
    started = time.monotonic()
    try:
        figure = ROWS[name](lambda line: say(f"{name}: {line}"), quick=quick)
    except (TimeoutError, AssertionError) as broken:
        figure = Figure(name, "", f"broken off: {broken}", "", passed=False)
    return replace(figure, seconds=time.monotonic() - started)


def main(arguments: Sequence[str] | None = None) -> int:
    asked = asked_of(
        "python -m benchmarks.faults",
        __doc__,
        ROWS,
        arguments,
        quick="small numbers: minutes instead of hours",
        out="write the figures to this JSON file, after each row",
    )
    figures: list[Figure] = []
    for name in asked.only or ROWS:
        say_on_stderr(f"{name}: starts")
        try:
            figures.append(run(name, say_on_stderr, quick=asked.quick))
        except NotPossibleHere as why:
            figures.append(Figure(name, f"not done: {why}", "", "", passed=False))
        say_on_stderr(f"{name}: {'kept' if figures[-1].passed else 'NOT KEPT'} after {figures[-1].seconds:.0f} s")
        if asked.out:
            asked.out.write_text(_as_json(figures))
    tell(
        figures,
        asked.format,
        _as_json,
        as_markdown,
        columns=COLUMNS,
        title="faults",
    )
    return 0 if all(figure.passed for figure in figures) else 1


def _as_json(figures: Sequence[Figure]) -> str:
    return json.dumps([asdict(figure) for figure in figures], indent=2) + "\n"


if __name__ == "__main__":
    sys.exit(main())
