"""What is written of studies on their way: recorded, claimed, ended, refused, put aside, queued again, purged.

Each function takes a session, in whose transaction it writes; the caller commits. Each is safe to repeat, and safe
beside any number of other processes. Other modules write pathology's results (`db.writes.pathology`), deliveries
(`db.writes.outbox`), scores by other versions (`db.writes.rescoring`) and which versions serve
(`db.writes.model_versions`).
"""

from db.writes.arrivals import record_new
from db.writes.claims import claim, count_open, extend_leases, fail_attempt, release, requeue_expired, requeue_lost
from db.writes.dead_letters import discard, on_record, purge, purge_these, purgeable, requeue
from db.writes.intake import record_refusal, record_study, retire_earlier
from db.writes.results import finish, hold, register_model

__all__ = [
    "claim",
    "count_open",
    "discard",
    "extend_leases",
    "fail_attempt",
    "finish",
    "hold",
    "on_record",
    "purge",
    "purge_these",
    "purgeable",
    "record_new",
    "record_refusal",
    "record_study",
    "register_model",
    "release",
    "requeue",
    "requeue_expired",
    "requeue_lost",
    "retire_earlier",
]
