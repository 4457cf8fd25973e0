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
