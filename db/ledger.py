"""Every write of the ledger. Each takes a session, in whose transaction it writes; the caller commits.

Each is safe to repeat, and safe beside any number of other processes.
"""

from db.recording import record_refusal, record_study, set_worklist_place
from db.results import finish, register_model
from db.running import claim, current_priority, fail_attempt, release, requeue

__all__ = [
    "claim",
    "current_priority",
    "fail_attempt",
    "finish",
    "record_refusal",
    "record_study",
    "register_model",
    "release",
    "requeue",
    "set_worklist_place",
]
