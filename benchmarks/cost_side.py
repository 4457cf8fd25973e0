"""``python -m benchmarks.cost_side``: one checkout's service, and what studies cost it, as often as it is asked.

It reads lines of JSON, ``{"kind": "JPEG", "lesions": 2, "count": 400}``, and answers each with seconds of processor
time a study, by part. `benchmarks.cost` copies it beside an earlier commit, so it uses nothing that is new.
"""

import json
import os
import signal
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import numpy as np
import psutil
import psycopg2
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from redis import Redis

from benchmarks.cost_worker import ASK
from benchmarks.faults.service import FaultService, fault_service
from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import SUBMIT_STUDY
from worker.demo.dicom import Header, write_ultrasound

KINDS = {"native": ExplicitVRLittleEndian, "JPEG": JPEGBaseline8Bit}
ROWS, COLUMNS = 480, 640
ROIS = ({"x": 200, "y": 120, "width": 180, "height": 140}, {"x": 60, "y": 200, "width": 120, "height": 160})
IN_FLIGHT = 64
FAST_GPU = {"BENCHMARK_FIXED_MS": "2", "BENCHMARK_PER_LESION_MS": "0.25", "DLR_BATCH_MAX": "64"}
_QUEUES = ("intake", "inference")
_PATIENCE_S = 1200
_UID = "1.2.826.0.1.3680043.10.779.{}"
_FIRST = 10_000_000


class Side:
    """A running service whose two workers are frozen but while they are measured."""

    def __init__(self, service: FaultService) -> None:
        self.service = service
        self.storage = service.services.settings.storage_root
        self._number = _FIRST
        self._templates = {kind: self._template(kind) for kind in KINDS}
        self._fifos = {queue: service.services.home.path / f"cost-{queue}" for queue in _QUEUES}
        self._connection = psycopg2.connect(service.postgres.url("postgres"))
        self._connection.autocommit = True
        self._told: dict[str, dict[str, float]] = {queue: {} for queue in _QUEUES}
        for queue, fifo in self._fifos.items():
            os.mkfifo(fifo)
            arguments = ["--concurrency", str(IN_FLIGHT)] if queue == "inference" else []
            environment = {ASK: str(fifo), **(FAST_GPU if queue == "inference" else {})}
            service.start_module(queue, "benchmarks.cost_worker", queue, *arguments, **environment)
        for queue in _QUEUES:
            self._told[queue] = self._parts(queue)
        with Redis.from_url(service.redis.url()) as client:
            self._until(lambda: client.scard("_kombu.binding.inference") > 0, "both workers")
            self._until(lambda: client.scard("_kombu.binding.intake") > 0, "both workers")
        service.signal_workers(signal.SIGSTOP, _QUEUES)

    def cost(self, kind: str, lesions: int, count: int) -> dict[str, float]:
        """Return seconds of processor time a study, by part."""
        jobs = [self.job(kind, lesions) for _ in range(count)]
        messages = [
            json.dumps(envelope(TaskMessage(SUBMIT_STUDY, uuid4(), [], {"job": job}), "intake")) for job in jobs
        ]
        with Redis.from_url(self.service.redis.url()) as client:

            def take_in() -> None:
                client.lpush("intake", *messages)
                self._until(lambda: self._waiting(client) >= count, "the studies' intake")

            into = self._measured("intake", take_in)
            out = self._measured("inference", lambda: self._until(lambda: not self._open(), "the studies' end"))
        spent = {
            "Redis in": into["redis"],
            "PostgreSQL in": into["postgres"],
            **{f"intake: {part}": seconds for part, seconds in into["parts"].items()},
            "intake: rest": into["worker"] - sum(into["parts"].values()),
            "Redis out": out["redis"],
            "PostgreSQL out": out["postgres"],
            "decoders": out["decoders"],
            **{f"worker: {part}": seconds for part, seconds in out["parts"].items()},
            "worker: rest": out["worker"] - sum(out["parts"].values()),
        }
        return {part: seconds / count for part, seconds in spent.items()}

    def job(self, kind: str, lesions: int) -> dict[str, Any]:
        """Write a study of one file, and return its job."""
        self._number += 1
        template, first, sop = self._templates[kind]
        uid, own_sop, path = _UID.format(self._number), f"{sop[:-8]}{self._number}", f"{self._number}.dcm"
        data = template.replace(first.encode(), uid.encode()).replace(sop.encode(), own_sop.encode())
        (self.storage / path).write_bytes(data)
        return {
            "schema_version": 1,
            "study_instance_uid": uid,
            "age_years": 20.5 + self._number % 60,
            "images": {"kind": "files", "paths": [path]},
            "lesions": [
                {"lesion_id": f"L{place}", "sop_instance_uid": own_sop, "frame": 1, "birads": "4A", "roi": roi}
                for place, roi in enumerate(ROIS[:lesions], start=1)
            ],
        }

    def _template(self, kind: str) -> tuple[bytes, str, str]:
        path, first = self.storage / "template.dcm", _UID.format(_FIRST)
        frame = np.clip(np.random.default_rng(0).rayleigh(60, (ROWS, COLUMNS)), 0, 255).astype(np.uint8)
        sop = write_ultrasound(path, Header(first, "", "", "", "20261124"), [frame], KINDS[kind])
        data = path.read_bytes()
        path.unlink()
        return data, first, sop

    def _measured(self, queue: str, work: Callable[[], None]) -> dict[str, Any]:
        """Thaw one worker, let it do some work, and return what that cost each part."""
        before = self._processes()
        self.service.signal_workers(signal.SIGCONT, [queue])
        work()
        self._until(lambda: not self._unacknowledged(), "the acknowledgements")
        ended = self._parts(queue)
        after = self._processes()
        self.service.signal_workers(signal.SIGSTOP, [queue])
        parts, self._told[queue] = self._told[queue], ended
        spent: defaultdict[str, float] = defaultdict(float)
        for process, seconds in after.items():
            spent[process[1]] += seconds - before.get(process, 0.0)
        return {
            **{part: spent[part] for part in ("redis", "postgres", "decoders")},
            "worker": spent[queue],
            "parts": {part: seconds - parts.get(part, 0.0) for part, seconds in ended.items()},
        }

    def _processes(self) -> dict[tuple[int, str], float]:
        """Return the processor time of each process of the service, by its number and part."""
        found = {}
        for process in psutil.Process().children(recursive=True):
            try:
                command, times = " ".join(process.cmdline()), process.cpu_times()
            except psutil.NoSuchProcess:
                continue
            words = {
                "decoder_process": "decoders",
                "cost_worker intake": "intake",
                "cost_worker inference": "inference",
                "postgres": "postgres",
                "valkey": "redis",
            }
            part = next((part for word, part in words.items() if word in command), None)
            if part is not None:
                found[process.pid, part] = times.user + times.system
        return found

    def _parts(self, queue: str) -> dict[str, float]:
        fifo = self._fifos[queue]
        answer = fifo.with_suffix(".json")
        answer.unlink(missing_ok=True)
        fifo.write_bytes(b"?")
        self._until(answer.exists, "the worker's totals")
        totals: dict[str, float] = json.loads(answer.read_text())
        return totals

    def _until(self, found: Callable[[], bool], what: str) -> None:
        self.service.until(found, _PATIENCE_S, what, every_s=0.1)

    def _open(self) -> int:
        with self._connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM study WHERE is_current AND state IN ('queued', 'running')")
            return int(cursor.fetchone()[0])

    @staticmethod
    def _waiting(client: "Redis") -> int:
        return sum(
            int(client.llen(name)) for name in ("inference", *(f"inference\x06\x16{step}" for step in (3, 6, 9)))
        )

    def _unacknowledged(self) -> int:
        with Redis.from_url(self.service.redis.url()) as client:
            return int(client.hlen("unacked"))


def main() -> None:
    with fault_service(lambda line: sys.stderr.write(line + "\n")) as service:
        side = Side(service)
        sys.stdout.write(json.dumps({"ready": True}) + "\n")
        sys.stdout.flush()
        for line in sys.stdin:
            asked = json.loads(line)
            if asked.pop("irreducible", False):
                from benchmarks.irreducible import irreducible

                said = irreducible(side, **asked)
            else:
                said = side.cost(**asked)
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
