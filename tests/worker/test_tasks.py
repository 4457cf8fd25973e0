"""What a task tells Celery when it cannot go on."""

import pytest
from celery.exceptions import Reject

from worker import tasks
from worker.outages.retry import Stopping


def test_a_worker_that_stops_gives_the_message_back() -> None:
    def away() -> None:
        raise Stopping

    with pytest.raises(Reject) as rejected:
        tasks._run(away)
    assert rejected.value.requeue is True


def test_a_defect_leaves_the_task_as_the_type_of_its_exception_alone() -> None:
    def broken() -> None:
        raise KeyError("Doe^Jane")

    with pytest.raises(RuntimeError) as raised:
        tasks._run(broken)
    assert str(raised.value) == "KeyError"
    assert raised.value.__cause__ is None
