"""Identifiers planted wherever a hospital can put them, and searched wherever they must not be."""

import base64
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit
from redis import Redis

from benchmarks.faults.other_systems import ROWS, OtherSystems, other_systems
from benchmarks.faults.planted import BIRTH, MARK, NAME, OTHER_DATE, PLANTED, full_of_identifiers, job_of
from benchmarks.faults.service import FaultService, Say, fault_service
from benchmarks.faults.simulated_device import QUOTES_WHAT_IT_GOT
from benchmarks.faults.table import Figure
from tests.worker.imaging.dicom_files import save
from worker.broker.queues import SUBMIT_STUDY

_PATIENCE_S = 90
_PAGES = (
    "/api/tasks?limit=10000", "/tasks", "/workers", "/broker", "/api/workers?refresh=1", "/api/queues/length",
    "/api/task/types", "/metrics",
)  # fmt: skip


def identifiers(say: Say, *, quick: bool) -> Figure:
    """Push studies that end in every way, each full of identifiers, and search."""
    del quick
    with fault_service(say) as service, other_systems(service) as others:
        _start_flower(service)
        service.start_workers()
        planted = 0
        for number, plant in enumerate(_WAYS):
            planted = max(planted, plant(service, number))
        service.until(lambda: service.sql("SELECT 1 FROM study"), _PATIENCE_S, "the first study")
        others.plant()
        unended = "SELECT 1 FROM study WHERE is_current AND state IN ('queued', 'running')"
        service.until(
            lambda: service.waiting() == 0 and not service.sql(unended), _PATIENCE_S, "the end of every study", 0.5
        )
        others.until_sent()
        ends = service.sql("SELECT coalesce(error_code, state::text) AS how FROM study WHERE is_current")
        places, found = _search(service, others)
        tries = 0
        while found and tries < 60:  # Redis's file forgets a second after the message is done with
            tries += 1
            service.until(lambda: True, 1, "a second", 0.5)
            places, found = _search(service, others)
        audited = len(others.collector.quoting)
        known = service.sql("SELECT count(*) AS n FROM study WHERE job::text LIKE %s", f"%{MARK}%")[0]["n"]
    for place in (*found, *others.defects):
        say(f"found in {place}")
    say(f"ends: {sorted(row['how'] for row in ends)}")
    how = ", ".join(sorted({row["how"] for row in ends}))
    return Figure(
        "identifiers planted in every identifying DICOM tag and job field, in HL7, HTTP and answers to both",
        f"{len(ends)} messages and studies that ended {how}; {planted:,} identifying values a file, in every "
        f"text, name, date, time and UID attribute of the DICOM dictionary; addresses, headers and bodies of requests "
        f"to `dlr api` and `dlr web`, orders to `dlr listen`, a work item of `dlr perform`, and every answer of "
        f"the archive, the sign-in service and destinations of five kinds; studies opened by the page and `dlr api`, "
        f"with a collector of audit messages that resets a connection in which it hears of them and is away afterwards",
        f"{len(found)} found in {places} places: Redis's keys and files, logs of all processes, addresses to which the "
        f"page leads, Flower's pages and API, metrics, stored exceptions, reasons of deliveries ({known} of them are "
        f"in the database and {audited} audit messages quote them, as they have to)",
        "0 found in Redis files, logs, URLs, metrics, Flower API, exceptions; each opening in an audit message",
        not found and not others.defects and known > 0 and len(ends) == len(_WAYS) + ROWS,
    )


def _start_flower(service: FaultService) -> None:
    child = service.services.flower()
    service.start_program("flower", child.argv, child.env)
    service.until(lambda: _page(service, "/healthcheck"), 60, "Flower")


def _file(service: FaultService, number: int, **elements: Any) -> tuple[Path, int]:
    made, count = full_of_identifiers(number, **elements)
    path = service.services.settings.storage_root / f"{MARK}-roe-{number}.dcm"
    return save(path, made), count


def _push(service: FaultService, job: object, task: str = SUBMIT_STUDY, **options: Any) -> None:
    service.sender().send_task(task, kwargs={"job": job}, queue="intake", **options)


def _good(service: FaultService, number: int) -> int:
    path, count = _file(service, number)
    _push(service, job_of(number, path.name))
    return count


def _named_by_its_sender(service: FaultService, number: int) -> int:
    """Everything that a sender can say of a task besides its arguments."""
    path, count = _file(service, number)
    _push(
        service,
        job_of(number, path.name),
        task_id=f"{MARK}-task",
        shadow=NAME,
        argsrepr=f"{MARK}args",
        kwargsrepr=f"{MARK}kwargs",
        headers={"patient": NAME},
        reply_to=f"{MARK}reply",
        correlation_id=f"{MARK}correlation",
        root_id=f"{MARK}root",
        group_id=f"{MARK}group",
    )
    return count


def _with_fields_of_its_own(service: FaultService, number: int) -> int:
    _push(service, job_of(number, f"{MARK}.dcm", patient_name=NAME, birth_date=BIRTH))
    return 0


def _no_job(service: FaultService, number: int) -> int:  # noqa: ARG001
    _push(service, f"{NAME} {BIRTH}")
    return 0


def _unknown_task(service: FaultService, number: int) -> int:
    _push(service, job_of(number, f"{MARK}.dcm"), task=f"{MARK}.task")
    return 0


def _no_message(service: FaultService, number: int) -> int:  # noqa: ARG001
    with Redis.from_url(service.redis.url()) as client:
        client.lpush("intake", f"no message at all, of {NAME} {BIRTH}")
    return 0


def _missing_file(service: FaultService, number: int) -> int:
    _push(service, job_of(number, f"{MARK}-missing.dcm"))
    return 0


def _truncated(service: FaultService, number: int) -> int:
    path, count = _file(service, number)
    path.write_bytes(path.read_bytes()[:-900])
    _push(service, job_of(number, path.name))
    return count


def _undecodable(service: FaultService, number: int) -> int:
    """A codestream that is text."""
    made, count = full_of_identifiers(number)
    made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    made.PixelData = encapsulate([f"{NAME} ".encode() * 20])
    made["PixelData"].VR, made["PixelData"].is_undefined_length = "OB", True
    path = save(service.services.settings.storage_root / f"{MARK}-roe-{number}.dcm", made)
    _push(service, job_of(number, path.name))
    return count


def _defect(service: FaultService, number: int) -> int:
    """A defect whose exception quotes what it was given."""
    path, count = _file(service, number)
    roi = {"x": 2, "y": 2, "width": QUOTES_WHAT_IT_GOT, "height": 24}
    _push(service, job_of(number, path.name, lesion={"roi": roi}))
    return count


def _values_that_warn(service: FaultService, number: int) -> int:
    """Values that pydicom warns of, with the value in the warning."""
    path, count = _file(service, number, PixelSpacing=None)
    data = path.read_bytes().replace(OTHER_DATE.encode(), NAME.encode())
    path.write_bytes(data)
    _push(service, job_of(number, path.name))
    return count


_WAYS = (
    _good, _named_by_its_sender, _with_fields_of_its_own, _no_job, _unknown_task, _no_message, _missing_file,
    _truncated, _undecodable, _defect, _values_that_warn,
)  # fmt: skip


def _search(service: FaultService, others: OtherSystems) -> tuple[int, list[str]]:
    """Return how many places were searched, and those where something planted is."""
    searched, found = 0, []
    for place, held in _places(service, others):
        searched += 1
        hit = PLANTED.search(held)
        if hit:
            found.append(f"{place}: {hit[0].decode()}")
    return searched, found


def _places(service: FaultService, others: OtherSystems) -> Iterator[tuple[str, bytes]]:
    home = service.services.home.path
    with Redis.from_url(service.redis.url()) as client:
        for key in client.scan_iter():
            yield f"Redis's key {key!r}", key + (client.dump(key) or b"")
    for folder in ("redis", "logs", "run"):
        for file in sorted((home / folder).rglob("*")):
            if file.is_file():
                yield str(file.relative_to(home)), file.read_bytes()
    for page in (*_PAGES, *_task_pages(service)):
        yield f"Flower's {page}", _page(service, page)
    for row in service.sql("SELECT event, detail::text AS detail FROM study_event"):
        yield f"study_event {row['event']}", str(row["detail"]).encode()
    for row in service.sql(
        "SELECT destination, concat_ws(' ', error_code, error_reason) AS reason FROM named_delivery"
    ):
        yield f"the reason of a delivery to {row['destination']}", str(row["reason"]).encode()
    for address in others.addresses:
        yield "an address to which the page or the interface led", address.encode()
    for port in _metrics_ports(home / "logs"):
        yield f"metrics at {port}", _fetched(f"http://127.0.0.1:{port}/metrics")


def _metrics_ports(logs: Path) -> set[str]:
    said = "".join(log.read_text() for log in logs.glob("*.log"))
    return set(re.findall(r"metrics at [^\s\"]*?:(\d+)", said))


def _task_pages(service: FaultService) -> list[str]:
    rows = service.sql("SELECT id FROM study")
    return [f"/task/{row['id']}" for row in rows] + [f"/api/task/info/{row['id']}" for row in rows]


def _page(service: FaultService, page: str) -> bytes:
    settings = service.services.settings
    password = settings.flower_password.get_secret_value() if settings.flower_password else ""
    token = base64.b64encode(f"{settings.flower_user}:{password}".encode()).decode()
    address = f"http://127.0.0.1:{service.services.flower_port}{page}"
    return _fetched(address, {"Authorization": f"Basic {token}"})


def _fetched(address: str, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
    request = urllib.request.Request(address, headers=dict(headers))  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        return bytes(error.read())
    except OSError:
        return b""
