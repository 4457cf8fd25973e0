"""An upgrade while studies arrive: this version's workers and the former one's, side by side, there and back."""

import json
import signal
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.former_version import COMMIT, ROOT, SCHEMA, former_version
from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import Verdict, verify
from benchmarks.lock_probe import Waited, probing
from benchmarks.measuring import Say
from db.migrate import clear
from db.schema.impact import REVISION
from worker.broker.queues import QUEUES

PATIENCE_S = 300
STOPS_WITHIN_S = 60.0
PARTS = 7
"""In which the studies are pushed: each version alone, both side by side, one's intake before the other's inference."""


@dataclass(slots=True)
class _Seen:
    """What came of one order.

    Attributes:
        verdict: on all of its studies.
        handed_over: how many messages of the former version's intake this one's inference took up, and the other way.
        waited: the longest that somebody else waited for ``study`` while the schema was upgraded.
    """

    verdict: Verdict = field(default_factory=Verdict)
    handed_over: tuple[int, int] = (0, 0)
    waited: Waited = field(default_factory=Waited)


def there_and_back(say: Say, *, quick: bool) -> Figure:
    """Upgrade the workers first, and the schema first, under load; and go back to the former version's workers."""
    each = 30 if quick else 1000
    slow = {DEVICE_MS: "150" if quick else "30"}  # studies are queued faster than they are scored
    with former_version() as former, fault_service(say, **slow) as service:
        service.roots |= {"intake-former": former, "inference-former": former}
        seen = [_one(service, former, each, workers_first=first) for first in (True, False)]
    whole = Verdict(
        [uid for one in seen for uid in one.verdict.lost],
        [line for one in seen for line in one.verdict.wrong],
        sum((Counter(one.verdict.states) for one in seen), Counter()),
    )
    there, back = (sum(one.handed_over[way] for one in seen) for way in (0, 1))
    longest = 1000 * max(one.waited.longest for one in seen)
    return Figure(
        "upgrade from the version before, and back, under load",
        f"commit {COMMIT[:8]} (schema {SCHEMA}) to this one ({REVISION}), workers first and schema first; "
        f"{2 * each} studies",
        f"{said(whole)}; {there} studies that the former version had queued were taken up by this one, and {back} the "
        f"other way; while the schema was upgraded, nobody waited for `study` longer than {longest:.0f} ms",
        "0 lost, 0 wrong",
        whole.is_clean,
    )


def _one(service: FaultService, former: Path, count: int, *, workers_first: bool) -> _Seen:
    order, seen = "workers first" if workers_first else "schema first", _Seen()
    service.kill_workers()
    _schema_of(service, former)
    studies = service.studies.make(count)
    parts = [studies[place::PARTS] for place in range(PARTS)]

    for queue in QUEUES:
        service.start_worker(f"{queue}-former")
    _push(service, parts[0])
    if not workers_first:
        seen.waited = _upgrade(service)
    service.start_worker("inference-current")
    _push(service, parts[1])
    there = _hand_over(service, parts[2], "former", "current")
    _push(service, parts[3])
    if workers_first:
        seen.waited = _upgrade(service)
    service.say(f"{order}: {service.ended(studies)} of {count} studies have ended, this version alone is at work")

    service.start_worker("inference-former")
    _push(service, parts[4])
    back = _hand_over(service, parts[5], "current", "former")
    _push(service, parts[6])
    service.until_ended(studies, PATIENCE_S + count)
    seen.verdict, seen.handed_over = verify(service, studies), (there, back)
    service.say(f"{order}: {said(seen.verdict)}, handed over {there} and {back}")
    return seen


def _schema_of(service: FaultService, former: Path) -> None:
    """Have the schema that the former version makes of an empty database."""
    clear(service.services.settings.require_owner_url())
    _dlr(service, former, "db", "upgrade")


def _upgrade(service: FaultService) -> Waited:
    """Upgrade the schema as a person does: look at the plan, which has to say that workers go on, and do it."""
    plan = json.loads(_dlr(service, ROOT, "db", "upgrade", "--plan", "--format", "json"))
    assert plan["current"] == SCHEMA, plan
    assert plan["may_be_done_now"], plan
    with probing(service.postgres.url("postgres")) as waited:
        _dlr(service, ROOT, "db", "upgrade")
    return waited


def _push(service: FaultService, studies: Sequence[MadeStudy]) -> None:
    """Push studies, and wait until the intake that is there has queued them."""
    for study in studies:
        service.push(study)
    service.until(lambda: len(service.recorded(studies)) == len(studies), PATIENCE_S, "the studies in the ledger")


def _hand_over(service: FaultService, studies: Sequence[MadeStudy], before: str, after: str) -> int:
    """Have one version's intake queue studies for the other's inference alone; return how many it has queued.

    Its own inference ends before them, or it would take them up where it is the faster one; the rest of it after them.
    """
    _stop(service, f"inference-{before}")
    _push(service, studies)
    _stop(service, f"intake-{before}")
    service.start_worker(f"intake-{after}")
    return len(studies)


def _stop(service: FaultService, name: str) -> None:
    """Stop a worker as a person does, who lets it finish what it has at hand."""
    service.signal_workers(signal.SIGTERM, [name])
    service.workers.pop(name).wait(STOPS_WITHIN_S)


def _dlr(service: FaultService, root: Path, *arguments: str) -> str:
    """Run `dlr` of a version, and return what it prints."""
    done = service.dlr(*arguments, root=root)
    assert done.returncode == 0, done.stderr
    return done.stdout
