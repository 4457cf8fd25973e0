"""``python -m benchmarks.timed_start`` is `dlr worker`, which says when it had done what until its first task.

It writes lines of JSON, ``{"step": ..., "seconds": ...}``, to the file that its variable names; seconds are counted
from the start of the process.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

STEPS = "BENCHMARK_STEPS"


def seconds_alive() -> float:
    """Return how long ago this process started, by the kernel's clock."""
    started = float(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def reached(step: str) -> None:
    with Path(os.environ[STEPS]).open("a") as file:
        file.write(json.dumps({"step": step, "seconds": seconds_alive()}) + "\n")


def telling(step: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def told(*arguments: Any, **options: Any) -> Any:
        result = function(*arguments, **options)
        reached(step)
        return result

    return told


def main() -> None:
    from worker.cli import services
    from worker.cli.main import main as dlr

    reached("Python and the command line")
    load_models = services.load_models

    def told() -> int:
        tell_steps()
        return load_models()

    services.load_models = told
    sys.argv[1:] = ["worker", *sys.argv[1:]]
    dlr()


def tell_steps() -> None:
    """Tell of each step from here on; what tells of it is imported no sooner than by a worker that tells nobody."""
    from celery.signals import task_prerun, worker_ready

    from worker.inference import loading

    loading.read_weights = telling("weights read and hashed", loading.read_weights)
    loading.by_openvino = telling("compiled by OpenVINO, and scored", loading.by_openvino)
    loading.by_another_process = telling("scored by PyTorch in another process", loading.by_another_process)
    loading.load_engine = telling("scores compared", loading.load_engine)
    worker_ready.connect(lambda **_: reached("Celery connected"), weak=False)
    task_prerun.connect(lambda **_: reached("first task taken"), weak=False)


if __name__ == "__main__":
    main()
