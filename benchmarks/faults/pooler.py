"""PgBouncer in transaction mode, killed and started again while studies run."""

import time

from benchmarks.faults.pooler_process import PROGRAM, pooler
from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, not_installed, said
from benchmarks.faults.verify import verify
from benchmarks.measuring import Say

PATIENCE_S = 240
SESSIONS = 4
"""Of PostgreSQL, for all workers: fewer than they have connections, so that each transaction gets another one."""


def pooler_killed(say: Say, *, quick: bool) -> Figure:
    """Kill the pooler again and again while studies are pushed, in mid-transaction; the workers know only it."""
    row = "PgBouncer, transaction mode, killed and restarted"
    if PROGRAM is None:
        return not_installed(row, "pgbouncer")
    times, each = (2, 25) if quick else (10, 50)
    with fault_service(say, **{DEVICE_MS: "20"}) as service:
        own = service.services.settings.require_database_url()
        with pooler(own, "transaction", SESSIONS) as between:
            service.give_workers(DLR_DATABASE_URL=between.url)
            service.start_workers()
            studies: list[MadeStudy] = []
            for one in range(1, times + 1):
                more = service.studies.make(each)
                studies += more
                for study in more:
                    service.push(study)
                service.until(lambda: service.ended(more) > 0, PATIENCE_S, "the first study's end")  # noqa: B023  of this turn
                between.kill()
                time.sleep(0.5 * (one % 4))
                between.start()
                service.keep_alive()
                say(f"{one} of {times} kills, {service.ended(studies)} of {len(studies)} studies have ended")
            service.until_ended(studies, PATIENCE_S)
            verdict = verify(service, studies)
            left = _left_behind(service)
            service.kill_workers()
    return Figure(
        row,
        f"{times} times, {SESSIONS} sessions for all workers; {len(studies)} studies",
        f"{said(verdict)}; {left} of the pooler's sessions had a lock left",
        "0 lost, no lock left in a session",
        verdict.is_clean and left == 0,
    )


def _left_behind(service: FaultService) -> int:
    """Count sessions that hold an advisory lock outside of a transaction."""
    found = service.sql(
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND state = 'idle'"
    )
    return int(found[0]["count"])
