"""What a command costs before it does anything: people at a prompt and cron jobs pay it each time."""

import json
import resource
import statistics
from collections.abc import Sequence

from benchmarks.faults.service import FaultService, fault_service
from benchmarks.faults.studies import ROIS
from benchmarks.measuring import Figure, Ratio, Say

LIBRARIES = ("-c", "import pydicom, sqlalchemy")
COMMAND = ("-m", "worker.cli.main")
GOALS = {"--help": 1.0, "submit": 2.5}


def start_up(say: Say, *, quick: bool) -> Figure:
    """Processor seconds of commands, each a process of its own, against Python with the two largest libraries."""
    rounds = 3 if quick else 15
    seconds: dict[str, list[float]] = {name: [] for name in ("libraries", "--help", "submit", "worklist", "show")}
    with fault_service(say) as service:
        studies = service.studies.make(rounds + 1, rois=ROIS[:1])
        jobs = service.services.home.path / "jobs"
        jobs.mkdir()
        for number, study in enumerate(studies):
            job = jobs / f"{number}.json"
            job.write_text(json.dumps(study.job))
            asked = {
                "libraries": LIBRARIES,
                "--help": (*COMMAND, "--help"),
                "submit": (*COMMAND, "submit", str(job)),
                "worklist": (*COMMAND, "worklist"),
                "show": (*COMMAND, "show", study.uid),
            }
            for name, arguments in asked.items():
                seconds[name].append(_processor_s(service, arguments))
    measured = {name: taken[1:] for name, taken in seconds.items()}  # the first round reads from the disk
    ratios = {name: Ratio(taken, measured["libraries"]) for name, taken in measured.items()}
    said = {name: f"{ratios[name].median:.2f} ({statistics.median(taken):.2f} s)" for name, taken in measured.items()}
    commands = [name for name in seconds if name != "libraries"]
    return Figure(
        "start-up",
        "processor seconds of `dlr submit` of a job, recorded and queued / `python -c 'import pydicom, sqlalchemy'`",
        ratios["submit"].median,
        ratios["submit"].spread,
        all(ratios[name].median <= goal for name, goal in GOALS.items()),
        ", ".join(f"{name} {said[name]}" for name in commands),
        f"{statistics.median(measured['libraries']):.2f} s",
        {"ratios": {name: round(ratio.median, 3) for name, ratio in ratios.items()}},
    )


def _processor_s(service: FaultService, arguments: Sequence[str]) -> float:
    """Return what a process takes of the processor, its system time included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    service.run(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
