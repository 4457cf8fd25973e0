"""The whole service around the card: kept busy by worker processes, and with a worker whose card is lost to it."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from typing import Any

from benchmarks.end_to_end import jobs_of, push, pushed
from benchmarks.faults.service import FaultService, fault_service
from benchmarks.gpu.run import Row, Run
from benchmarks.gpu.spoiled_worker import SPOILED
from benchmarks.measuring import say_on_stderr
from benchmarks.samples import add_models

BUSY_GOAL = 0.9
LESIONS = 2
AT_HAND = 64

HELD_S = 0.2

_HELD = """
SELECT 1 FROM pg_stat_activity
WHERE state = 'idle in transaction' AND state_change < clock_timestamp() - make_interval(secs => %s)
"""
_SCORED = """
SELECT DISTINCT split_part(detail ->> 'worker', ':', 2)::integer AS process
FROM study_history JOIN study ON study.id = study_id WHERE event = 'claimed' AND state = 'done'
"""


class _Site:
    """The service, with intake at work, and a hospital that pushes JPEG studies of two lesions."""

    def __init__(self, run: Run, service: FaultService, intakes: int) -> None:
        self._run, self.service, self._written = run, service, 0
        if not run.at.simulated:
            add_models(service.services.settings.models_dir)
        for number in range(intakes):
            name = f"intake-{number}"
            service.start_module(name, "worker.cli.main", "worker", "--queue", "intake", "--name", name)

    def start(self, name: str, module: Sequence[str] = (), **environment: str) -> None:
        """Start an inference worker on the card."""
        module, *arguments = [*(module or self._run.at.module), "--name", name, "--concurrency", str(AT_HAND)]
        self.service.start_module(name, module, *arguments, **{**self._run.at.environment, **environment})

    def jobs(self, count: int) -> list[dict[str, Any]]:
        """Write so many studies."""
        made = list(jobs_of(self.service.services.settings.storage_root, count, self._written))
        self._written += count
        return made

    def rate(self, count: int) -> float:
        """Push so many studies; return how many lesions a second are done."""
        jobs = self.jobs(count)
        return pushed(self.service, jobs, self._run.left(f"{count} studies"))

    def have_all_scored(self, names: Sequence[str]) -> None:
        """Push studies one by one until each worker has scored one, and freeze who has; all of them are in the end."""
        waiting = {self.service.workers[name].pid: name for name in names}
        while waiting:
            self._run.left(f"{', '.join(waiting.values())} had scored nothing")
            push(self.service, self.jobs(1))
            self.service.until(self._is_idle, self._run.left(), f"the first studies of {', '.join(waiting.values())}")
            for row in self.service.sql(_SCORED):
                name = waiting.pop(row["process"], None)
                if name is not None:
                    self.service.until(lambda: self._is_frozen(name), self._run.left(), "a freeze outside of all locks")  # noqa: B023

    def _is_idle(self) -> bool:
        """Look whether all is done; a worker that has ended will never do it."""
        for name, process in self.service.workers.items():
            if process.poll() is not None:
                said = self.service.services.home.log_file(name).read_text(errors="replace").strip()
                raise RuntimeError(f"{name} ended with status {process.returncode}: {said.rpartition(chr(10))[2]}")
        return self.service.waiting() == 0

    def _is_frozen(self, name: str) -> bool:
        """Freeze a worker, and thaw it again if the others would wait for a transaction of its."""
        self.service.signal_workers(signal.SIGSTOP, [name])
        time.sleep(2 * HELD_S)
        is_idle = not self.service.sql(_HELD, HELD_S)
        if not is_idle:
            self.thaw([name])
        return is_idle

    def thaw(self, names: Sequence[str]) -> None:
        """Let workers go on."""
        self.service.signal_workers(signal.SIGCONT, names)


def feeding(run: Run) -> Iterator[Row]:
    """From jobs in Redis to their rows, with more and more worker processes on the card, which have scored before."""
    cores = len(os.sched_getaffinity(0))
    steps = (1, 2) if run.quick else [processes for processes in (1, 2, 4, 8) if processes <= 2 * cores]
    names = [f"inference-{number}" for number in range(max(steps))]
    intakes = max(1, min(len(names) // 2, cores // 4))
    with fault_service(say_on_stderr) as service:
        site = _Site(run, service, intakes)
        for name in names:
            site.start(name)
        site.have_all_scored(names)
        best: float | None = None
        for processes in steps:
            site.thaw(names[:processes])
            site.rate(8 * processes)  # who was frozen makes new connections first
            count, rate, share = _fed(run, site, 32 * processes)
            what = f"{processes} worker {'process' if processes == 1 else 'processes'}, {intakes} of intake"
            yield Row("feeding", f"{what}, {count} studies", rate, "lesions/s")
            yield Row("feeding", f"{what}: the card busy", share, "of the time", why=_unknown(share))
            best = max((one for one in (best, share) if one is not None), default=None)
        yield at_most(best)


def _fed(run: Run, site: _Site, count: int) -> tuple[int, float, float | None]:
    """Push more and more studies, until they take long enough; return how many, lesions a second, and the share."""
    while True:
        with run.at.busy() as busy:
            rate = site.rate(count)
        seconds = LESIONS * count / rate
        if seconds >= 3 * run.seconds:
            return count, rate, busy.share()
        count = int(count * 4 * run.seconds / seconds) + 1


def at_most(share: float | None) -> Row:
    """Say whether a card was kept busy; one of which nobody knows was not."""
    reached = share is not None and share >= BUSY_GOAL
    return Row("feeding", "the card busy, at most", share, "of the time", f">= {BUSY_GOAL}", reached, _unknown(share))


def _unknown(share: float | None) -> str:
    return "not measured: nothing says how busy the card is" if share is None else ""


def sticky(run: Run) -> Iterator[Row]:
    """A card that answers one of two workers no more, in the midst of its studies: it ends, and the other has them."""
    with fault_service(say_on_stderr) as service:
        site = _Site(run, service, 1)
        flag = service.services.home.path / "spoiled"
        site.start("spoiled", ["benchmarks.gpu.spoiled_worker"], **{SPOILED: str(flag)})
        site.start("beside")
        site.have_all_scored(["spoiled", "beside"])
        count = 40 if run.at.simulated else 1000
        jobs, before = site.jobs(count), _count(service, "done")
        flag.touch()
        site.thaw(["spoiled"])
        push(service, jobs)
        service.until(lambda: _count(service, "running"), run.left(), "a study at work on the spoiled card")
        site.thaw(["beside"])
        status = service.workers["spoiled"].wait(run.left("the end of the worker whose card is spoiled"))
        yield Row("faults", "CUDA answers no more: exit status of the worker", float(status), "", "above 0", status > 0)
        service.until(lambda: not _count(service, "queued", "running"), run.left(), "the studies' end")
        lost = count - (_count(service, "done") - before)
        what = f"{count} studies, done by the worker beside it: lost or failed"
        yield Row("faults", what, float(lost), "studies", "0", lost == 0)


def _count(service: FaultService, *states: str) -> int:
    [row] = service.sql("SELECT count(*) FROM study WHERE is_current AND state::text = ANY(%s)", list(states))
    return int(row["count"])
