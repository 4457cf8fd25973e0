"""The loss of a whole machine: a backup that was made under load is restored onto nothing."""

import json
import shutil
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.faults.service import Say, fault_service
from benchmarks.faults.simulated_device import DEVICE_MS
from benchmarks.faults.studies import MadeStudy
from benchmarks.faults.table import Figure, said
from benchmarks.faults.verify import Verdict, verify

PATIENCE_S = 900
DEVICE_IS_SLOW_MS, PUSH_EVERY_S = "200", 0.3
"""A study has two lesions: they come faster than they are scored, and some are on their way at every moment."""

_WORKLIST = """
SELECT (to_jsonb(worklist) - 'position')::text AS line FROM worklist WHERE study_instance_uid = ANY(%s)
ORDER BY position
"""
"""All that it says of some studies, in their order; others may come between them."""

_DONE = "SELECT study_instance_uid AS uid FROM study WHERE state = 'done' AND study_instance_uid = ANY(%s)"


def restored_onto_nothing(say: Say, *, quick: bool) -> Figure:
    """Make a backup while studies are pushed and scored, lose the machine, and go on from the backup on another."""
    times, count = (1, 30) if quick else (3, 150)
    verdict, same, pushed, open_then, took = Verdict(), 0, 0, 0, 0.0
    for one in range(1, times + 1):
        with TemporaryDirectory(prefix="dlr-lost-") as folder:
            kept = Path(folder)
            studies, ended, before = _lose_a_machine(say, kept, count)
            found, as_it_was, waiting, seconds = _go_on(say, kept, studies, ended, before)
        verdict.lost += found.lost
        verdict.wrong += found.wrong
        for state, number in found.states.items():
            verdict.states[state] += number
        same, pushed, open_then = same + as_it_was, pushed + len(studies), open_then + waiting
        took = max(took, seconds)
        say(f"{one} of {times} times: {said(found)}")
    return Figure(
        "a backup under load, restored onto nothing",
        f"{times} times; {pushed} studies, {open_then} of them on their way in the backups",
        f"{said(verdict)}; the worklist of what had ended was the same {same} times of {times}; "
        f"`dlr backup restore` took {took:.1f} s at most; what was pushed after a backup was pushed again",
        "0 lost, 0 wrong, the same worklist",
        verdict.is_clean and same == times and open_then > 0,
    )


def _lose_a_machine(say: Say, kept: Path, count: int) -> tuple[list[MadeStudy], list[str], list[dict[str, Any]]]:
    """Push studies, and more while a backup is made; return all, those that had ended before it, and their worklist."""
    with fault_service(say, **{DEVICE_MS: DEVICE_IS_SLOW_MS}) as service:
        service.start_workers()
        studies = service.studies.make(count)
        for study in studies:
            service.push(study)
        service.until(lambda: service.ended(studies) >= count // 6, PATIENCE_S, "the first results")
        ended = [row["uid"] for row in service.sql(_DONE, [study.uid for study in studies])]
        before = service.sql(_WORKLIST, ended)
        service.start_module("backup", "worker.cli.main", "backup", "create", "--format", "json")
        backup = service.workers.pop("backup")
        while backup.poll() is None:
            studies += service.studies.make(1)
            service.push(studies[-1])
            time.sleep(PUSH_EVERY_S)
        home = service.services.home.path
        shutil.copytree(service.services.settings.storage_root, kept / "storage")
        [archive] = (home / "backups").iterdir()
        shutil.copy(archive, kept)
    return studies, ended, before


def _go_on(
    say: Say, kept: Path, studies: list[MadeStudy], ended: list[str], before: list[dict[str, Any]]
) -> tuple[Verdict, bool, int, float]:
    """Restore onto a new machine, whose storage is the old one's; say what became of all, and what was as it was."""
    with fault_service(say, **{DEVICE_MS: "5"}) as service:
        shutil.copytree(kept / "storage", service.services.settings.storage_root, dirs_exist_ok=True)
        [archive] = kept.glob("dlr-backup-*.zip")
        started = time.monotonic()
        told, _ = json.JSONDecoder().raw_decode(service.said_by("backup", "restore", str(archive), "--format", "json"))
        took = time.monotonic() - started
        as_it_was = service.sql(_WORKLIST, ended) == before
        service.start_workers()
        recorded = service.recorded(studies)
        for study in studies:
            if study.uid not in recorded:  # its sender never saw its result, and pushes it again
                service.push(study)
        service.until_ended(studies, PATIENCE_S)
        return verify(service, studies), as_it_was, told["restored"]["open"], took
