"""A standby that is promoted in mid-work: synchronous, and asynchronous with what it had not received yet."""

import time
from collections import Counter
from collections.abc import Sequence

from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.standby_process import Standby, standby_of
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import Verdict, verify
from benchmarks.measuring import Say

PATIENCE_S = 240
BEHIND_S = 1.0
"""How much of the primary's work an asynchronous standby does not have when it is promoted, in seconds."""


def promoted(say: Say, *, quick: bool) -> Figure:
    """Promote it again and again, each time in another service, and look at every study."""
    times, each = (1, 30) if quick else (10, 50)
    verdicts: list[Verdict] = []
    pushed_again = {True: 0, False: 0}
    for one in range(1, times + 1):
        for synchronous in (True, False):
            with fault_service(say, **{DEVICE_MS: "20"}) as service, standby_of(service.postgres) as standby:
                studies = service.studies.make(each)
                again = _promote(service, standby, studies, synchronous=synchronous)
                service.until_ended(studies, PATIENCE_S)
                verdicts.append(verify(service, studies))
                service.kill_workers()
            pushed_again[synchronous] += again
            kind = "synchronous" if synchronous else "asynchronous"
            say(f"{one} of {times}, {kind}: {said(verdicts[-1])}, {again} pushed again")
    lost = [uid for verdict in verdicts for uid in verdict.lost]
    wrong = [line for verdict in verdicts for line in verdict.wrong]
    whole = Verdict(lost, wrong, sum((Counter(verdict.states) for verdict in verdicts), Counter()))
    return Figure(
        "standby promoted",
        f"{times} times synchronous, {times} times asynchronous without the last second; {2 * times * each} studies",
        f"{said(whole)}; jobs that the former primary alone had were pushed again: {pushed_again[True]} with a "
        f"synchronous one, {pushed_again[False]} with an asynchronous one",
        "0 lost, with a synchronous one without the sender's help",
        whole.is_clean and pushed_again[True] == 0,
    )


def _promote(service: FaultService, standby: Standby, studies: Sequence[MadeStudy], *, synchronous: bool) -> int:
    """Push half, promote, push the rest; return how many the sender had to push again."""
    standby.synchronous(on=synchronous)
    service.give_workers(DLR_DATABASE_URL=standby.url(service.services.settings.require_database_url()))
    service.start_workers()
    half = len(studies) // 2
    for study in studies[:half]:
        service.push(study)
    service.until(lambda: service.ended(studies) > 0, PATIENCE_S, "the first study's end")
    if not synchronous:
        standby.pause()
        time.sleep(BEHIND_S)  # what is committed now is lost
    standby.promote()
    for study in studies[half:]:
        service.push(study)
    service.keep_alive()
    return service.push_lost(studies)
