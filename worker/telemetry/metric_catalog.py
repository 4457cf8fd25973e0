"""Every metric that is exported: its name, its labels and what it means. The documentation's tables are made from it.

No label ever holds an identifier, and each label has few values: words of this software, error codes, and the versions
of the models. Names follow https://prometheus.io/docs/practices/naming/.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]

DEVICE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZE_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
WAIT_BUCKETS = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14400.0, 86400.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. ``help`` says what one of it is, and its unit; ``buckets`` are a histogram's upper bounds."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


BATCH_SIZE = Metric("dlr_batch_lesions", "histogram", "Images of lesions per batch of both models", (), SIZE_BUCKETS)
DEVICE_TIME = Metric("dlr_device_seconds", "histogram", "Device time per batch, both models", (), DEVICE_BUCKETS)
DECODE_TIME = Metric(
    "dlr_decode_seconds",
    "histogram",
    "Time that a decoder took to read one file's header, or one frame with its lesions; result: ok or refused",
    ("result",),
    DEVICE_BUCKETS,
)
STUDIES_ENDED = Metric(
    "dlr_studies_ended_total",
    "counter",
    "Studies that a worker ended: done, partial or failed. A study that exhausted its attempts is only in dlr_studies",
    ("state", "priority"),
)
STUDY_TIME = Metric(
    "dlr_study_seconds",
    "histogram",
    "Time from a study's arrival to its committed result; of a requeued study, from its first arrival",
    ("priority",),
    WAIT_BUCKETS,
)
LESIONS_SCORED = Metric("dlr_lesions_scored_total", "counter", "Scored lesions, by outcome", ("outcome",))
LESIONS_FAILED = Metric("dlr_lesions_failed_total", "counter", "Lesions without scores, by error code", ("code",))
REFUSED = Metric("dlr_messages_refused_total", "counter", "Messages refused by the gate or by the contract", ("code",))
ATTEMPTS_FAILED = Metric(
    "dlr_attempts_failed_total",
    "counter",
    "Attempts at a study that ended without a result; defect: this counts as an attempt; away (an outage): it does not",
    ("reason",),
)

UP = Metric(
    "dlr_component_up",
    "gauge",
    "1: it answered in time; 0: it did not. postgresql, redis, workers, or the ledger aggregates totals and drift",
    ("component",),
)
READ_ONLY = Metric(
    "dlr_database_read_only",
    "gauge",
    "1: the PostgreSQL that `dlr metrics` queries refuses writes: it is a standby, or read-only",
)
STUDIES = Metric(
    "dlr_studies", "gauge", "Studies and refused messages of the ledger, in their last revision", ("state", "priority")
)
WORKLIST = Metric("dlr_worklist_studies", "gauge", "Ended studies by worklist class", ("worklist_class",))
OLDEST = Metric(
    "dlr_oldest_study_seconds",
    "gauge",
    "Age of the oldest study that is queued or running; 0: there is none",
    ("priority",),
)
TO_LOOK_AT = Metric(
    "dlr_failed_studies", "gauge", "Failures that need attention: the rows of `dlr failed list`", ("state", "code")
)
QUEUED = Metric(
    "dlr_queue_messages",
    "gauge",
    "Messages waiting in Redis; low is a priority below routine that a sender may give",
    ("queue", "priority"),
)
AT_WORK = Metric("dlr_messages_at_work", "gauge", "Messages that workers have taken but not acknowledged")
WORKERS = Metric("dlr_workers", "gauge", "Workers that answer, by queue", ("queue",))
OUTCOMES = Metric(
    "dlr_recent_lesions",
    "gauge",
    "Lesions scored within DLR_DRIFT_DAYS, by outcome and by the versions of both models",
    ("outcome", "lh_version", "bm_version"),
)
DRIFT = Metric(
    "dlr_model_drift_psi",
    "gauge",
    "Population stability index of the data within DLR_DRIFT_DAYS against the reference on the model's card; "
    "variable: age or probability. None without a reference, or for fewer than 200 lesions",
    ("model", "version", "variable"),
)
SITE_DRIFT = Metric(
    "dlr_site_drift_psi",
    "gauge",
    "The same of each site's lesions by themselves. None for a site with fewer than 200",
    ("model", "version", "variable", "site"),
)

WORKER = (
    BATCH_SIZE,
    DEVICE_TIME,
    DECODE_TIME,
    STUDIES_ENDED,
    STUDY_TIME,
    LESIONS_SCORED,
    LESIONS_FAILED,
    REFUSED,
    ATTEMPTS_FAILED,
)
"""Each worker counts for itself, from its start."""

SERVICE = (UP, READ_ONLY, STUDIES, WORKLIST, OLDEST, TO_LOOK_AT, QUEUED, AT_WORK, WORKERS, OUTCOMES, DRIFT, SITE_DRIFT)
"""`dlr metrics` asks PostgreSQL, Redis and the workers."""
