"""The queues, the tasks that they carry, and the order in which Redis gives their messages."""

from worker.clinical.categories import Priority

SUBMIT_STUDY = "dlr.submit_study"
INFER_STUDY = "dlr.infer_study"
RECORD_REFUSAL = "dlr.record_refusal"
QUEUE_OF_TASK = {SUBMIT_STUDY: "intake", INFER_STUDY: "inference", RECORD_REFUSAL: "intake"}
QUEUES = tuple(sorted(set(QUEUE_OF_TASK.values())))
TRACEPARENT = "traceparent"
"""The one header of a sender's that comes through, on a job: the trace that the study is a part of."""

REDIS_PRIORITY = {Priority.STAT: 0, Priority.URGENT: 3, Priority.ROUTINE: 6}
"""kombu keeps four lists a queue on Redis, at 0, 3, 6 and 9; the lowest number is taken first."""

STEPS = (0, 3, 6, 9)
_SEPARATOR = "\x06\x16"


def list_of(queue: str, step: int) -> str:
    """Return the name of the list that has a queue's messages of a step (``priority_steps``), without the prefix."""
    return f"{queue}{_SEPARATOR}{step}" if step else queue


def step_of_fetched(priority: Priority) -> int:
    """Return the step of a study that has to be fetched first: it holds up none of its priority that is here."""
    return REDIS_PRIORITY[priority] + 3
