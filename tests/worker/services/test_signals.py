import signal
from threading import Event

import pytest

from worker.services.signals import Stopped, stopped_by_signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=str)
def test_a_first_signal_stops_a_second_hurries_and_afterwards_it_is_as_before(number: signal.Signals) -> None:
    before, hurry = signal.getsignal(number), Event()
    with stopped_by_signals(hurry):
        with pytest.raises(Stopped):
            signal.raise_signal(number)
        assert not hurry.is_set()
        signal.raise_signal(number)
        assert hurry.is_set()
    assert signal.getsignal(number) == before
