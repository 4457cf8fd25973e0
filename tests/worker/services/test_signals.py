import signal
import subprocess
import sys

import pytest

STOPPED_AND_HURRIED = """
import signal, sys
from threading import Event
from worker.services.signals import Stopped, stopped_by_signals

number = int(sys.argv[1])
before, hurry, stopped = signal.getsignal(number), Event(), False
with stopped_by_signals(hurry):
    try:
        signal.raise_signal(number)
    except Stopped:
        stopped = True
    hurried_at_once = hurry.is_set()
    signal.raise_signal(number)
print(stopped, hurried_at_once, hurry.is_set(), signal.getsignal(number) == before)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_a_first_signal_stops_a_second_hurries_and_afterwards_it_is_as_before(number: signal.Signals) -> None:
    command = [sys.executable, "-c", STOPPED_AND_HURRIED, str(int(number))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "True False True True\n"), done.stderr
