"""What the whole service is compared with: the same two models on tensors that are ready, in a loop and nothing else.

``python -m benchmarks.bare_loop`` prints a line when it is ready. For each number of seconds that it reads it then
scores for so long, and prints the lesions a second.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.faults.service import ROOT

BATCH = 16
READY = "ready"


@contextmanager
def bare_loop() -> Iterator[Callable[[float], float]]:
    """Run the loop in a process of its own; the function that is given lets it score for so many seconds."""
    process = subprocess.Popen(
        [sys.executable, "-m", __name__],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    reads, writes = process.stdout, process.stdin
    try:
        assert reads.readline().strip() == READY

        def rate(seconds: float) -> float:
            writes.write(f"{seconds}\n")
            writes.flush()
            return float(reads.readline())

        yield rate
    finally:
        process.kill()
        process.wait()


def main() -> None:
    from benchmarks.measuring import rate_of
    from benchmarks.models import pair
    from worker.inference.cpu import OpenVinoRunner

    made = pair()
    batch = made.inputs_of.noise(BATCH)
    runner = OpenVinoRunner(made.cards, made.weights(), streams=1)
    runner.run(*batch)
    print(READY, flush=True)
    for line in sys.stdin:
        print(rate_of(lambda: len(runner.run(*batch)), float(line)), flush=True)


if __name__ == "__main__":
    main()
