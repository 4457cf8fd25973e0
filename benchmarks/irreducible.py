"""What a study costs at the least, measured beside it: the frame decoded, the rows copied, the messages moved.

No guarantee is kept here and no header read: it is what is left where everything else costs nothing.
"""

import json
import time
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import psycopg2
from PIL import Image
from pydicom import dcmread
from pydicom.encaps import generate_frames
from redis import Redis

from worker.broker.message_gate import TaskMessage, envelope
from worker.broker.queues import INFER_STUDY, SUBMIT_STUDY

if TYPE_CHECKING:
    from benchmarks.cost_side import Side

REPEATS = 200
STUDIES_A_TRANSACTION = 64
MESSAGES_A_STEP = 32
INPUT = 224
TABLES = {
    "study": "id",
    "lesion": "study_id",
    "marked_image": "lesion_id IN (SELECT id FROM lesion WHERE study_id = ANY(%s::uuid[]))",
    "study_event": "study_id",
    "worklist_entry": "study_id",
    "prediction": "lesion_id IN (SELECT id FROM lesion WHERE study_id = ANY(%s::uuid[]))",
    "image_prediction": "image_id IN (SELECT image.id FROM marked_image AS image JOIN lesion "
    "ON lesion.id = image.lesion_id WHERE study_id = ANY(%s::uuid[]))",
    "restratification": "lesion_id IN (SELECT id FROM lesion WHERE study_id = ANY(%s::uuid[]))",
}
"""The tables that have rows of a study, and its column in each or which rows those are."""

_POP = """
local messages = redis.call('RPOP', KEYS[1], ARGV[1])
for place, message in ipairs(messages) do redis.call('HSET', KEYS[2], ARGV[2] .. ':' .. place, message) end
return messages
"""
_ACKNOWLEDGE = "return redis.call('DEL', KEYS[1])"


def irreducible(side: "Side", kind: str, lesions: int) -> dict[str, float]:
    """Return seconds of processor time a study, by part: of studies that the side has scored."""
    job = side.job(kind, lesions)
    return {
        "decode": _repeated(_decoder(side.storage / job["images"]["paths"][0], kind)),
        "crop": lesions * _repeated(_cropper(side.storage / job["images"]["paths"][0], kind, job["lesions"][0]["roi"])),
        "COPY": _copied(side, lesions),
        "pop and acknowledge": _popped(side, job),
    }


def _repeated(work: Callable[[], object]) -> float:
    work()
    started = time.process_time()
    for _ in range(REPEATS):
        work()
    return (time.process_time() - started) / REPEATS


def _decoder(path: Path, kind: str) -> Callable[[], Any]:
    """Decode a frame whose place in its file is known, the file's bytes read each time."""
    dataset = dcmread(path)
    shape = dataset.Rows, dataset.Columns
    encoded = next(generate_frames(dataset.PixelData)) if kind == "JPEG" else dataset.PixelData
    start = path.read_bytes().index(encoded)

    def decode() -> Any:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(len(encoded))
        return np.asarray(Image.open(BytesIO(data))) if kind == "JPEG" else np.frombuffer(data, np.uint8).reshape(shape)

    return decode


def _cropper(path: Path, kind: str, roi: dict[str, int]) -> Callable[[], Any]:
    frame = _decoder(path, kind)()
    crop = frame[roi["y"] : roi["y"] + roi["height"], roi["x"] : roi["x"] + roi["width"]]
    return lambda: np.asarray(Image.fromarray(crop).resize((INPUT, INPUT), Image.Resampling.BILINEAR))


def _copied(side: "Side", lesions: int) -> float:
    """COPY the rows of studies that have ended into tables like theirs, indexes too, 64 studies a transaction."""
    with psycopg2.connect(side.service.postgres.url("postgres")) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT study_id::text FROM lesion JOIN study ON study.id = study_id WHERE study.state = 'done' "
            "GROUP BY study_id HAVING count(*) = %s ORDER BY study_id LIMIT %s",
            [lesions, 4 * STUDIES_A_TRANSACTION],
        )
        studies = [study for (study,) in cursor.fetchall()]
        columns = {}
        for table in TABLES:
            cursor.execute(f"DROP TABLE IF EXISTS bare_{table}; CREATE TABLE bare_{table} (LIKE {table} INCLUDING ALL)")
            cursor.execute(
                "SELECT string_agg(quote_ident(column_name), ', ' ORDER BY ordinal_position) "
                "FROM information_schema.columns WHERE table_name = %s AND is_generated = 'NEVER'",
                [table],
            )
            (columns[table],) = cursor.fetchone()
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
        connection.commit()
        spent, done = 0.0, 0
        for first in range(0, len(studies), STUDIES_A_TRANSACTION):
            some = studies[first : first + STUDIES_A_TRANSACTION]
            rows = {}
            for table, where in TABLES.items():
                of_studies = where if "%s" in where else f"{where} = ANY(%s::uuid[])"
                select = cursor.mogrify(f"SELECT {columns[table]} FROM {table} WHERE {of_studies}", [some]).decode()
                text = StringIO()
                cursor.copy_expert(f"COPY ({select}) TO STDOUT", text)
                rows[table] = text.getvalue()
            connection.commit()
            began, on_server = time.process_time(), _on_cpu(backend)
            for table, text in rows.items():
                cursor.copy_expert(f"COPY bare_{table} ({columns[table]}) FROM STDIN", StringIO(text))
            connection.commit()
            spent += time.process_time() - began + _on_cpu(backend) - on_server
            done += len(some)
        cursor.execute("; ".join(f"DROP TABLE bare_{table}" for table in TABLES))
        return spent / done


def _popped(side: "Side", job: dict[str, Any]) -> float:
    """Push, pop and acknowledge both messages of a study, 32 at once, the popped ones kept in a hash meanwhile."""
    study = str(uuid4())
    tasks = TaskMessage(SUBMIT_STUDY, uuid4(), [], {"job": job}), TaskMessage(INFER_STUDY, uuid4(), [study], {})
    messages = [json.dumps(envelope(task, "bare")) for task in tasks] * (MESSAGES_A_STEP // len(tasks))
    server = side.service.redis.url()
    with Redis.from_url(server) as client:
        number = int(client.info("server")["process_id"])
        pop, acknowledge = client.register_script(_POP), client.register_script(_ACKNOWLEDGE)
        began, on_server = time.process_time(), _on_cpu(number)
        for _ in range(REPEATS):
            client.lpush("bare", *messages)
            pop(keys=["bare", "bare.taken"], args=[MESSAGES_A_STEP, str(uuid4())])
            acknowledge(keys=["bare.taken"])
        spent = time.process_time() - began + _on_cpu(number) - on_server
    return spent / (REPEATS * MESSAGES_A_STEP / len(tasks))


def _on_cpu(process: int) -> float:
    """Return the processor time of a process's threads that are there, to the nanosecond."""
    threads = Path(f"/proc/{process}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9
